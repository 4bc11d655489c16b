"""What a visitor does on the page without a server, and what is read from it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

# For tests of what does not depend on the browser.
IN_CHROMIUM = pytest.mark.parametrize("kind", ["chromium"], indirect=True, scope="session")
CLOSE = 1e-3  # between a probability in the browser and Python's
# How long the page stood still at most, in ms: how late an animation frame or a timer came.
BLOCKED = """() => {
  window.longest = 0;
  let last = performance.now();
  setInterval(() => {
    const now = performance.now();
    window.longest = Math.max(window.longest, now - last);
    last = now;
  }, 20);
}"""


def drop(page: Any, *files: Path) -> None:
    page.set_input_files(".sd-drop input", [str(file) for file in files])


def live_part(page: Any, name: str) -> Any:
    """A part of the tab Live, by its name."""
    return page.locator(f".sd-live [data-part={name}]")


def open_live(open_page: Callable[..., Any], **options: Any) -> Any:
    """The page with the tab Live, where a microphone is allowed."""
    page = open_page("#live", **{"permissions": ["microphone"], "ready": False, **options})
    page.get_by_role("button", name="Start listening").wait_for()
    return page


def listen(page: Any, seconds: float) -> None:
    """Start, and wait until the sound of so many seconds has come."""
    page.get_by_role("button", name="Start listening").click()
    page.locator(".sd-live[data-state=live]").wait_for()
    page.wait_for_function(
        """(samples) => Number(document.querySelector("[data-part=detail-captured]")
             .textContent.replaceAll(",", "")) >= samples""",
        arg=seconds * 16_000,
    )


def stop(page: Any) -> None:
    """Stop the live run, and wait until it has stopped."""
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Start listening").wait_for()


def model(page: Any) -> str:
    """The name of the model that answers."""
    return str(page.get_by_label("Model").input_value())


def download(page: Any, folder: Path, link: Any) -> Path:
    with page.expect_download() as begun:
        link.click()
    path = folder / begun.value.suggested_filename
    begun.value.save_as(path)
    return path


def answers(page: Any, folder: Path) -> Any:
    """What "Save as JSON" gives."""
    several = page.locator("[data-pick]").count() > 1
    menu = "Save all answers as" if several else "Save this answer as"
    page.get_by_text(menu).click()
    path = download(page, folder, page.locator(".sd-save[open]").get_by_role("link", name="JSON"))
    return json.loads(path.read_text(encoding="utf-8"))


def differences(told: Any, expected: Any) -> float:
    """The largest difference of the probabilities of a prediction and of its segments, as JSON.

    It fails where a segment lies elsewhere, or a label is another one, though it was not a tie.
    """
    pairs = [(told, expected), *zip(told["segments"], expected["segments"], strict=True)]
    largest = 0.0
    for one, other in pairs:
        shares = other["probabilities"]
        first, second, *_ = sorted(shares.values(), reverse=True)
        assert one["label"] == other["label"] or first - second < 2 * CLOSE
        assert (one.get("start_s"), one.get("end_s")) == (other.get("start_s"), other.get("end_s"))
        distances = [abs(one["probabilities"][label] - share) for label, share in shares.items()]
        largest = max(largest, *distances)
    return largest


def convert(path: Path, to: Path, *arguments: str) -> Path:
    """A sound file as ffmpeg writes it in another format."""
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(path), *arguments, str(to)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return to


def as_wav(path: Path, to: Path) -> Path:
    """A sound file as 16-bit WAV of the same rate, decoded as `serdemo predict` does it."""
    samples, rate = soundfile.read(path)
    soundfile.write(to, samples, rate, subtype="PCM_16")
    return to
