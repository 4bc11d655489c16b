"""`listen`: live predictions for the local microphone, or for a file played in real time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from serdemo.cli.options import CHECKPOINT, PATH, check_seconds, print_json
from serdemo.schema.errors import SerdemoError, UsageError

if TYPE_CHECKING:
    from serdemo.audio.microphone import Device, Microphone
    from serdemo.audio.waveform import Clip, Samples

BLOCK_S = 0.1
LOST_SOUND = "Some sound was lost, since this machine is too busy: close other programs."


@click.command()
@click.option("--device", help="Microphone, by number or part of its name [default: the system's].")
@click.option("--list", "only_list", is_flag=True, help="List the microphones and exit.")
@click.option("--file", type=PATH, help="Sound file to use instead, in real time.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    callback=check_seconds,
    help="Stop after so many seconds.",
)
@click.option(
    "--adapt/--no-adapt", default=True, help="Get used to the voice, where the model can."
)
@CHECKPOINT
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each answer.")
def listen(
    device: str | None,
    only_list: bool,
    file: Path | None,
    seconds: float | None,
    adapt: bool,
    checkpoint: Path | None,
    as_json: bool,
) -> None:
    """Recognise the emotion of the voice at the microphone, while it speaks. Ctrl-C ends."""
    from serdemo.audio import microphone, waveform
    from serdemo.cli.views.live import Screen
    from serdemo.inference.live_service import LiveService
    from serdemo.inference.live_services import load_speaker_model
    from serdemo.inference.predictor import Predictor

    if file is not None and (device is not None or only_list):
        raise UsageError("Give --file, or a microphone, not both.")
    if only_list:
        _list(microphone.devices(), as_json)
        return
    source: Microphone | _Replay
    if file is None:  # opened once the model is loaded, or its sound would overflow
        source = microphone.Microphone(microphone.find(device))
    else:
        source = _Replay(waveform.decode(file))
    predictor = Predictor(checkpoint)
    failure: SerdemoError | None = None
    received = 0
    screen = Screen(source.name, as_json, predictor.unsure_below)
    service = LiveService(predictor, max_streams=1, speaker_model=load_speaker_model)
    with service, screen, source:
        handle = service.open(source.rate, adapt=adapt)
        try:
            for block in _until(source, source.rate, seconds):
                service.push(handle, block)
                received += len(block)
                screen.state(service.state(handle))
        except KeyboardInterrupt:
            pass
        except SerdemoError as problem:
            failure = problem
        try:
            state = replace(service.state(handle), received_samples=received)
            screen.end(state, service.finish(handle, name=source.name))
        except SerdemoError as problem:
            failure = failure or problem
    if source.lost_samples or source.overflows:
        click.echo(f"serdemo: {LOST_SOUND}", err=True)
    if failure:
        raise failure


def _until(blocks: Iterable[Samples], rate: int, seconds: float | None) -> Iterator[Samples]:
    """The first `seconds` of the blocks (n,) or (n, C)."""
    left = None if seconds is None else max(1, round(seconds * rate))
    for block in blocks:
        yield block[:left]
        if left is not None:
            left -= len(block)
            if left <= 0:
                return


class _Replay:
    """Blocks (n,) of a clip in real time, with the interface of `Microphone`."""

    lost_samples = overflows = 0

    def __init__(self, clip: Clip) -> None:
        from serdemo.audio.waveform import SAMPLE_RATE

        self.name, self.rate = clip.name, SAMPLE_RATE
        self._samples = clip.samples

    def __enter__(self) -> _Replay:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Samples]:
        size = round(BLOCK_S * self.rate)
        began = time.monotonic()
        for start in range(0, len(self._samples), size):
            block = self._samples[start : start + size]
            time.sleep(max(0.0, began + (start + len(block)) / self.rate - time.monotonic()))
            yield block


def _list(devices: list[Device], as_json: bool) -> None:
    if as_json:
        print_json([asdict(device) for device in devices])
        return
    for device in devices:
        default = "  (default)" if device.default else ""
        click.echo(
            f"{device.number:>3}  {device.name}, {device.rate} Hz, {device.channels} channels{default}"
        )
    if not devices:
        click.echo("There is no microphone on this machine.")
