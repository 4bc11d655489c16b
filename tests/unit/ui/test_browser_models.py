"""The shipped checkpoints in ONNX Runtime for browsers, run by Node, beside those of Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.corpora import real_clips
from support.node import run_module

from serdemo.audio import waveform
from serdemo.inference.predictor import Embedder
from serdemo.inference.speed import speech_samples
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.ui.browser import files

TOLERANCE = 1e-4
LENGTHS_S = (0.3, 1.0, 3.0, 3.0, 2.1, 3.0, 6.0, 0.05, 3.0)  # more than one batch, none in order

# Files in place of addresses: Node fetches none of its own disk.
READ_FILES = """
import { fileURLToPath, pathToFileURL } from "node:url";
globalThis.fetch = async (url) => {
  try {
    return new Response(readFileSync(fileURLToPath(url)));
  } catch {
    return new Response("", { status: 404 });
  }
};
const { OnnxRuntime } = await import("./ui/browser/onnx_runtime.js");
const { OnnxModel } = await import("./ui/browser/onnx_model.js");
const load = (folder, weights, onBytes) => OnnxModel.load({
  runtime: OnnxRuntime.start({ onBytes }), url: pathToFileURL(folder).href, weights, onBytes,
});
"""
EMBED = (
    READ_FILES
    + """
let bytes = 0;
const model = await load(given.folder, given.weights, (n) => { bytes += n; });
const whole = new Float32Array(readFileSync(given.sound).buffer.slice(0));
let at = 0;
const waves = given.lengths.map((length) => whole.slice(at, at += length));
const rows = await model.embeddings(waves);
const logits = model.classifier ? await model.logits(rows) : [];
done({ rows: rows.map((row) => [...row]), logits: logits.map((row) => [...row]), bytes,
  name: model.description.name, none: [await model.embeddings([]), await model.logits([])] });
"""
)
REFUSE = (
    READ_FILES
    + """
const sentences = [];
for (const folder of given.folders) {
  try {
    await load(folder, given.weights);
    sentences.push("");
  } catch (error) {
    sentences.push([error.constructor.name, error.message]);
  }
}
done(sentences);
"""
)


def weights(name: str) -> list[str]:
    return [file.name for file in files.contents()[name] if file.suffix == ".safetensors"]


def speech() -> np.ndarray:
    """Real speech where there is some, else the example voices."""
    if found := real_clips()[:12]:
        return np.concatenate([waveform.decode(path).samples for path in found])
    return np.concatenate([clip.samples for clip in speech_samples(3)])


@pytest.mark.slow
@pytest.mark.parametrize("name", files.MODELS)
def test_embeddings_and_logits_are_those_of_python(tmp_path: Path, name: str) -> None:
    lengths = [round(seconds * waveform.SAMPLE_RATE) for seconds in LENGTHS_S]
    sound = np.resize(speech(), sum(lengths)).astype("<f4")
    (tmp_path / "sound.f32").write_bytes(sound.tobytes())
    given = {
        "folder": str(bundled_checkpoint(name)),
        "weights": weights(name),
        "sound": str(tmp_path / "sound.f32"),
        "lengths": lengths,
    }
    answer = run_module(tmp_path, EMBED, given)
    embedder = Embedder(bundled_checkpoint(name), device="cpu")
    rows = embedder.embeddings(np.split(sound, np.cumsum(lengths)[:-1]))
    assert np.abs(np.array(answer["rows"]) - rows).max() < TOLERANCE
    if embedder.labels:
        assert np.abs(np.array(answer["logits"]) - embedder.logits(rows)).max() < 10 * TOLERANCE
    else:
        assert answer["logits"] == []
    assert answer["name"] == name
    assert answer["none"] == [[], []]
    manifest = files.manifest()
    loaded = manifest["models"][name]["bytes"] + manifest["runtime"]["bytes"]
    assert answer["bytes"] == loaded  # so that progress ends at its end


def test_what_is_loaded_before_the_first_answer_is_small() -> None:
    manifest = files.manifest()
    for name, megabytes in (("compact", 16), ("base", 25)):
        parts = (manifest["models"][name], manifest["vad"], manifest["runtime"])
        assert sum(part["bytes"] for part in parts) < megabytes * 1e6 - 500_000  # of scripts


@pytest.mark.slow
def test_damaged_and_missing_files_are_one_sentence(tmp_path: Path) -> None:
    names = [file.name for file in files.contents()["compact"]]
    folders = [tmp_path / "none"]
    for name in names:
        folder = tmp_path / f"without {name}"
        folder.mkdir()
        for file in files.contents()["compact"]:
            content = file.read_bytes()
            (folder / file.name).write_bytes(content[:100] if file.name == name else content)
        folders.append(folder)
    given = {"folders": [str(folder) for folder in folders], "weights": weights("compact")}
    answers = run_module(tmp_path, REFUSE, given)
    assert len(answers) == 1 + len(names)
    for kind, sentence in answers:
        assert kind == "SerdemoError"
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 250, sentence
