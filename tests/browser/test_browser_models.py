"""The shipped models in a worker of a bare page, in Chromium and in Firefox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serdemo.experiments.browser import BarePage, answer, decoded, serving
from serdemo.inference.predictor import Predictor
from serdemo.nn.checkpoint_files import bundled_checkpoint

MAX_DIFFERENCE = 1e-3
MAX_MB = {"compact": 16, "base": 25}
SWIFTSHADER = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
# The embedding of a model is classified by the processor and by the graphics processor.
CLASSIFY = """async (gpu) => {
  const at = document.querySelector("script").textContent.match(/"\\.\\/(.*)remote\\.js"/)[1];
  const { OnnxRuntime, hasGpu } = await import(`./${at}onnx_runtime.js`);
  const { url } = models().start.manifest.models.compact;
  const fetched = async (name) => {
    const response = await fetch(new URL(`${url}${name}`, new URL(`./${at}../`, location)));
    return new Uint8Array(await response.arrayBuffer());
  };
  const runtime = await OnnxRuntime.start({ gpu, threads: 1 });
  const session = await runtime.createSession(await fetched("classifier.onnx"),
    { "model.safetensors": await fetched("model.safetensors") });
  const data = Float32Array.from({ length: 192 }, (_, i) => Math.sin(i));
  const { logits } = await session.run({ embedding: { data, dims: [1, 192] } });
  return { logits: [...logits.data], hasGpu: await hasGpu() };
}"""
FAULTS = """async (sounds) => {
  window.running ??= models();
  return (await running.recogniseAll(sounds.map(decoded), undefined, { model: "compact" })).answers
    .map(({ refusal }) => refusal);
}"""
# The worker ends without a word in the middle of a call, and the next call starts another.
VANISH = """async (sound) => {
  const running = models();
  await running.load(["compact"]);
  const voice = decoded(sound);
  const ended = running.recognise(decoded(sound), undefined, { model: "compact" })
    .then(() => "", (error) => error.message);
  running.worker.terminate();
  const { prediction } = await ended.then(() => running.recognise(voice, undefined, { model: "compact" }));
  return { message: await ended, label: prediction.label };
}"""
BESIDE = """async (sound) => {
  const running = models();
  const controller = new AbortController();
  const [voice] = decoded(sound).channels;
  const whole = Float32Array.from({ length: 16000 * 900 }, (_, i) => voice[i % voice.length]);
  let heardS = 0;
  const onProgress = ({ unit, done }) => { if (unit === "seconds") heardS = done; };
  const long = { name: "long", rate: 16000, channels: [whole], notes: [] };
  const options = { model: "compact", signal: controller.signal };
  const ended = running.recognise(long, onProgress, options).then(() => "", (error) => error.message);
  while (!heardS) await new Promise((go) => setTimeout(go, 20));
  const { stream } = await running.live({ call: "open", rate: 16000, model: "compact" });
  const delays = [];
  let answer;
  for (let sequence = 0; sequence < 40; sequence += 1) {
    const samples = Int16Array.from({ length: 1600 }, (_, i) => 32767 * voice[(1600 * sequence + i) % voice.length]);
    const began = performance.now();
    answer = await running.live({ call: "push", stream, samples, sequence, since: 0 });
    delays.push(performance.now() - began);
    await new Promise((go) => setTimeout(go, Math.max(0, began + 100 - performance.now())));
  }
  const beside = heardS;
  controller.abort();
  return { message: await ended, beside, answer, delays: delays.sort((a, b) => a - b) };
}"""


@pytest.fixture(params=[False, True], ids=["plain", "isolated"])
def bare(request: pytest.FixtureRequest) -> Iterator[BarePage]:
    """A page without the headers that allow threads, and one with them."""
    with serving(isolated=request.param) as served:
        yield served


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def either(request: pytest.FixtureRequest) -> Any:
    """One browser after the other."""
    name = "launch" if request.param == "chromium" else "launch_firefox"
    return request.getfixturevalue(name)()


@pytest.fixture
def open_page(either: Any) -> Iterator[Callable[[str], Any]]:
    """A function that opens a page; none may log an error, nor ask another machine."""
    context = either.new_context()
    context.set_default_timeout(120_000)
    faults: list[str] = []
    urls: list[str] = []

    def go(url: str) -> Any:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: line.type == "error" and faults.append(line.text))
        page.on("request", lambda sent: urls.append(sent.url))
        page.goto(url)
        page.wait_for_function("() => window.models !== undefined")
        return page

    yield go
    context.close()
    assert faults == []
    assert [
        url for url in urls if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
    ] == []


@pytest.mark.parametrize("name", MAX_MB)
def test_answers_are_those_of_python(
    bare: BarePage, open_page: Any, clips: list[Path], name: str
) -> None:
    page = open_page(bare.url)
    isolated = page.evaluate("() => crossOriginIsolated")
    assert bare.sent < 1_000_000  # nothing is loaded before it is needed
    ours = answer(page, clips[0], name)
    assert bare.sent < MAX_MB[name] * 1e6
    loaded = bare.sent
    predictor = Predictor(bundled_checkpoint(name), device="cpu")
    for clip in clips:
        theirs = predictor.predict(clip).to_json()
        ours = answer(page, clip, name)
        assert ours["label"] == theirs["label"]
        assert len(ours["segments"]) == len(theirs["segments"])
        for label, probability in theirs["probabilities"].items():
            assert abs(ours["probabilities"][label] - probability) < MAX_DIFFERENCE
    assert bare.sent == loaded  # all is there
    threads = page.evaluate("(name) => running.load([name])", name)["threads"]
    assert (threads > 1) == isolated


def test_what_is_no_sound_is_a_sentence_each(open_page: Any) -> None:
    with serving() as served:
        sounds = [
            {"name": "empty.wav", "rate": 16000, "channels": [""]},
            {"name": "odd.wav", "rate": 1, "channels": ["AAAAAAAAAAA="]},
        ]
        sentences = open_page(served.url).evaluate(FAULTS, sounds)
    for sentence, sound in zip(sentences, sounds, strict=True):
        assert sound["name"] in sentence and sentence.endswith(".")


def test_a_worker_that_the_browser_ends_is_missed(open_page: Any, clips: list[Path]) -> None:
    with serving() as served:
        result = open_page(served.url).evaluate(VANISH, decoded(clips[0]))
    assert "ended its own recognition" in result["message"]
    assert result["label"]


def test_live_sound_is_answered_while_a_long_recording_is_read(
    open_page: Any, clips: list[Path]
) -> None:
    """And the recording goes on meanwhile, until it is cancelled between two of its pieces."""
    with serving() as served:
        result = open_page(served.url).evaluate(BESIDE, decoded(clips[0]))
    assert result["answer"]["received"] == 64_000
    assert result["answer"]["segments"]
    assert 0 < result["beside"] < 900  # it had not ended
    assert "cancelled" in result["message"]
    print({share: round(result["delays"][share]) for share in (0, 20, 39)}, result["beside"])


def test_the_runtime_for_graphics_processors_gives_the_same_numbers(
    launch: Callable[..., Any],
) -> None:
    """On one that the processor imitates, which is too slow to be used for answers."""
    with serving() as served:
        page = launch(flags=SWIFTSHADER).new_page()
        page.goto(served.url)
        page.wait_for_function("() => window.models !== undefined")
        plain = page.evaluate(CLASSIFY, False)
        graphics = page.evaluate(CLASSIFY, True)
    assert not graphics["hasGpu"]
    assert len(plain["logits"]) == 7
    assert graphics["logits"] == pytest.approx(plain["logits"], abs=1e-4)
