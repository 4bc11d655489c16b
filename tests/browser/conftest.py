"""The real page in a real browser: `app.py` as a child process, and Chromium driven by Playwright.

Chromium is found on the PATH or through SERDEMO_CHROMIUM, Firefox through SERDEMO_FIREFOX. Where one is
missing its tests are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile
from support import firefox, hub_server, pulse
from support.app_server import ROOT, App

from serdemo.inference.predictor import Predictor
from serdemo.nn import description
from serdemo.schema.types import Prediction
from serdemo.ui import build
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Without a window around its pages, which costs a third less; but what asks the user is never answered.
CHROMIUM_SHELL = "chromium-headless-shell"
OURS = str(ROOT / "serdemo")  # in every trace of what fails in the app
FAILED = pytest.StashKey[bool]()  # a test has, since the app was started
UNFETCHED = ("Unable to preload CSS", "Failed to fetch")  # as Vite and Chromium say it
# Speakers 07, 11, 20 and 22, whom the shipped checkpoint was never trained on.
CLIPS = (
    "03-01-05-02-02-01-11.*",
    "03-01-05-02-01-01-20.*",
    "03-01-04-02-01-01-22.*",
    "03-01-03-02-01-01-07.*",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.config.stash[FAILED] = True
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In CI these tests have a second try, and pytest's summary tells which of them took it: a real
    browser, its server and another test share whatever cores there are."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if os.environ.get("CI"):
                item.add_marker(pytest.mark.flaky(reruns=1))


def chromium(asks: bool) -> str:
    given = os.environ.get("SERDEMO_CHROMIUM")
    names = CHROMIUM_NAMES if asks else (CHROMIUM_SHELL, *CHROMIUM_NAMES)
    found = given or next(filter(None, map(shutil.which, names)), None)
    if not found or not Path(found).exists():
        pytest.skip("needs Chromium: install it, or name it in SERDEMO_CHROMIUM")
    return found


@pytest.fixture(scope="session")
def playwright() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("needs playwright: pip install playwright")
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def launch(playwright: Any) -> Iterator[Callable[..., Any]]:
    """A function that starts Chromium, with a fake microphone that plays a file over and over.

    Unless `allowed`, every page that asks for the microphone is refused. `proxy` is the address of the
    one that all requests pass, those to this machine too.
    """
    started = []

    def start(
        microphone: Path | None = None,
        allowed: bool = True,
        proxy: str | None = None,
        flags: tuple[str, ...] = (),
    ) -> Any:
        arguments = [
            *flags,
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--autoplay-policy=no-user-gesture-required",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream" if allowed else "--deny-permission-prompts",
        ]
        if microphone:
            arguments.append(f"--use-file-for-fake-audio-capture={microphone}")
        through: Any = {"server": proxy} if proxy else None
        path = chromium(asks=not allowed)
        started.append(
            playwright.chromium.launch(executable_path=path, args=arguments, proxy=through)
        )
        return started[-1]

    yield start
    for browser in started:
        browser.close()


@pytest.fixture(scope="session")
def launch_firefox(
    playwright: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """A function that starts Firefox; see `launch`. Its fake microphone plays a tone.

    Without a sound device its audio does not run at all, so it has one.
    """
    started = []
    with pulse.null_sink(tmp_path_factory.mktemp("pulse")) as environment:

        def start(proxy: str | None = None) -> Any:
            folder = tmp_path_factory.mktemp("firefox")
            device = {name: environment[name] for name in environment if name != "HOME"}
            started.append(firefox.launch(playwright, folder, proxy, device))
            return started[-1]

        yield start
        for browser in started:
            browser.close()


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Any]) -> Any:
    return launch()


@pytest.fixture(scope="session")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the app under test keeps what visitors send."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="session")
def hub() -> Iterator[hub_server.Hub]:
    """The only hub that the app under test can reach."""
    with hub_server.serving() as served:
        yield served


@pytest.fixture(scope="session")
def served(
    browser: Any,
    uploads: Path,
    hub: hub_server.Hub,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Iterator[Callable[[], str]]:
    """A function that gives the address of the app. It starts the app once, and anew after a test that
    failed: what that one left of runs, takes and models would fail the next."""
    started: list[App] = []

    def address() -> str:
        if pytestconfig.stash.get(FAILED, False) or not started:
            for app in started[-1:]:
                app.end()
            pytestconfig.stash[FAILED] = False
            folder = tmp_path_factory.mktemp("app")
            kept = {
                "GRADIO_TEMP_DIR": str(uploads),
                "SERDEMO_TRAINING": "on",
                "SERDEMO_IMPORT": "on",
                **hub.environment(folder / "hub", token=None),
            }
            started.append(App(folder, kept))
            started[-1].wait()
        return started[-1].address

    yield address
    # Of an app that a failed test has ended, that failure tells already.
    for app in started[-1:]:
        app.end()
        log = app.log.read_text()
        # gradio logs one of its own when a page that is being closed asks for what went with it.
        assert not any(OURS in trace for trace in log.split("Traceback")[1:]), log


@pytest.fixture
def url(served: Callable[[], str]) -> str:
    """The address of the page."""
    return served()


@pytest.fixture(scope="session")
def predictor() -> Predictor:
    return Predictor(device="cpu")


@pytest.fixture(scope="session")
def adapting(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page on the shipped model with a prior, so that it gets used to voices."""
    folder = tmp_path_factory.mktemp("adapting") / "adapting"
    shutil.copytree(predictor.folder, folder)
    means = {label: [0.0] * predictor.model.options.embedding for label in predictor.labels}
    directions = [[10.0] * predictor.model.options.embedding]
    prior = {"class_means": means, "discriminants": directions, "offset_scale": 1e-3}
    described = replace(description.read_description(folder), speaker_prior=prior)
    description.write_description(folder, described)
    served = build(lambda: Predictor(folder, device="cpu"))
    _, address, _ = served.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield address
    served.close()


@pytest.fixture(scope="session")
def clips() -> list[Path]:
    """Recordings of people, from SERDEMO_DATA; where there are none, the example voices."""
    data = os.environ.get("SERDEMO_DATA")
    found = [next(Path(data).rglob(name), None) for name in CLIPS] if data else []
    return [clip for clip in found if clip] or [EXAMPLES_DIR / name for name in EXAMPLES.values()]


@pytest.fixture(scope="session")
def surest(clips: list[Path], predictor: Predictor) -> tuple[Path, Prediction]:
    """The clip whose answer a small change of the sound is least likely to tip, and the answer."""
    answered = [(clip, predictor.predict(clip)) for clip in clips]
    return max(answered, key=lambda pair: pair[1].confidence)


@pytest.fixture
def visit(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the page and waits for its first answer.

    No page may raise a script error, nor ask any other machine for anything. A page that is `cut` off
    from its server may fail to fetch what gradio wants only then.
    """
    contexts, errors, hosts = [], [], set()

    def go(width: int = 1280, height: int = 900, **options: Any) -> Any:
        with_browser = options.pop("browser", browser)
        cut = options.pop("cut", False)
        context = with_browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on(
            "pageerror",
            lambda error: (
                (cut and any(words in str(error) for words in UNFETCHED))
                or errors.append(str(error))
            ),
        )
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.goto(url)
        page.wait_for_selector(".sd-says")
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []
    assert {host for host in hosts if host} <= {url.split("/")[2]}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.wav"
    path.write_bytes(b"this is no sound at all")
    return path


@pytest.fixture
def as_wav(tmp_path: Path) -> Callable[[Path], Path]:
    """A function that turns a clip into the 16-bit WAV that Chromium's fake microphone plays."""

    def convert(clip: Path) -> Path:
        samples, rate = soundfile.read(clip)
        path = tmp_path / "microphone.wav"
        soundfile.write(path, samples, rate, subtype="PCM_16")
        return path

    return convert
