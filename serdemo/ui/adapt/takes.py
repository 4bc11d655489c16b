"""The recordings ("takes") of one voice, in one folder with the model adapted to it.

The folder is that of a run, so that the command line, Models and Delete treat it as any other. A
local user has one that stays; that of a remote visitor goes with all that the visitor has here.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import make_folder, read_json, write_json
from serdemo.schema.settings import runs_root
from serdemo.schema.types import EMOTIONS, Utterance
from serdemo.ui.shell import visitor_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serdemo.audio.waveform import Clip
    from serdemo.inference.predictor import Predictor

NAME, RECORDINGS, SELECTION = "my-voice", "recordings", "choice.json"
MAX_TAKES = 5  # of an emotion
MAX_TAKE_S = 20.0
DEFAULT_EMOTIONS = ("neutral", "happy", "sad", "angry")  # recorded first, in this order

# The words carry no emotion, so that only the voice does.
SENTENCES = (
    "The bus to the station leaves at ten past four.",
    "My jacket is hanging behind the kitchen door.",
    "She puts the letters in the box on the left.",
    "We are going to the market again on Thursday.",
    "There are two cups and a plate on the table.",
)
HINTS = {
    "angry": "as if somebody had let you down for the third time",
    "disgust": "as if something on your plate had gone bad",
    "fear": "as if there were steps behind you in the dark",
    "happy": "as if you had just heard wonderful news",
    "neutral": "as you would say it on any other day",
    "sad": "as if you had lost something dear to you",
    "surprise": "as if you could hardly believe it",
}


@dataclass(frozen=True, slots=True)
class VoiceFolder:
    """The folder of one voice: its takes, and the model adapted to it."""

    folder: Path

    @property
    def recordings(self) -> Path:
        """The folder of the takes, `EMOTION/NUMBER.wav`."""
        return self.folder / RECORDINGS

    @property
    def checkpoint(self) -> Path:
        """The folder of the adapted model, which exists once it is trained."""
        return self.folder / "checkpoint"

    def takes(self) -> dict[str, list[Path]]:
        """The takes of each emotion, the oldest first."""
        return {name: sorted((self.recordings / name).glob("*.wav")) for name in EMOTIONS}

    def counts(self) -> dict[str, int]:
        """The number of takes of each emotion that has any."""
        return {name: len(paths) for name, paths in self.takes().items() if paths}

    def selected(self) -> list[str]:
        """The emotions that the visitor selected for recording, in the order of `EMOTIONS`."""
        names: Sequence[str] = DEFAULT_EMOTIONS
        with suppress(SerdemoError):
            stored = read_json(self.folder / SELECTION)
            names = stored if isinstance(stored, list) else names
        return [name for name in EMOTIONS if name in names]

    def select(self, emotions: Sequence[str]) -> None:
        """Select emotions for recording; raises SerdemoError when that cannot be stored."""
        make_folder(self.folder)
        write_json(self.folder / SELECTION, [name for name in EMOTIONS if name in emotions])

    def next_emotion(self) -> str | None:
        """The emotion to record next; None when all selected ones have their takes."""
        takes, selected = self.takes(), self.selected()
        order = [*(name for name in DEFAULT_EMOTIONS if name in selected), *selected]
        return next((name for name in order if len(takes[name]) < MAX_TAKES), None)

    def add(self, emotion: str, clip: Clip) -> None:
        """Store a take; raises UsageError for an emotion that is unknown or has all its takes,
        SerdemoError when the disk is full."""
        import soundfile

        from serdemo.audio.waveform import SAMPLE_RATE

        paths = self.takes().get(emotion)
        if paths is None or len(paths) >= MAX_TAKES:
            raise UsageError(f"No take of {emotion} is missing: choose another emotion.")
        folder = self.recordings / emotion
        make_folder(folder)
        number = 1 + max((int(p.stem) for p in paths if p.stem.isdecimal()), default=0)
        try:
            soundfile.write(folder / f"{number}.wav", clip.samples, SAMPLE_RATE, subtype="PCM_16")
        except (OSError, soundfile.LibsndfileError) as problem:
            (folder / f"{number}.wav").unlink(missing_ok=True)
            raise SerdemoError(f"The take could not be kept: {problem}.") from problem

    def remove_last(self, emotion: str) -> None:
        """Delete the last take of an emotion, if there is one."""
        if paths := self.takes().get(emotion):
            paths[-1].unlink(missing_ok=True)

    def utterances(self) -> list[Utterance]:
        """The takes as labelled clips, the same as `--corpus` finds in the folder."""
        from serdemo.data.corpora import class_folders

        return class_folders.read(self.recordings) if self.recordings.is_dir() else []

    def command(self) -> str:
        """The command that trains the same model in a terminal."""
        words = ("train", "personal", "--corpus", str(self.recordings), "--run", str(self.folder))
        return shlex.join(["serdemo", *words, "--resume"])

    def report(self) -> dict[str, Any] | None:
        """`AdaptationReport.to_json` of the adapted model; None while there is no such model."""
        with suppress(SerdemoError, KeyError, TypeError):
            report = read_json(self.checkpoint / DESCRIPTION)["metrics"]["voice"]
            return report if isinstance(report, dict) else None
        return None

    def delete(self) -> None:
        """Delete takes and model; raises SerdemoError when files are left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise SerdemoError(
                f"Not all of {self.folder} could be deleted: close what still uses it, then try"
                " again."
            )


def voice_of(owner: str | None) -> VoiceFolder:
    """The voice folder of a local user (`owner` None), or of a visitor, by the token of the browser."""
    if owner is None:
        return VoiceFolder(runs_root().absolute() / NAME)
    return VoiceFolder(visitor_store.folder_of(owner) / visitor_store.VOICE / NAME)


def begun_voice_of(owner: str | None) -> VoiceFolder:
    """The same, to record in: raises UsageError for a visitor without a token, SerdemoError when the
    visitors' quota is spent."""
    if owner is not None:
        visitor_store.made_folder_of(owner)
        if not voice_of(owner).recordings.exists():
            visitor_store.check_quota("voice")
    return voice_of(owner)


def take_from_samples(samples: NDArray[Any], rate: int) -> Clip:
    """Samples (N,) at `rate` Hz as a clip; raises SerdemoError for what is no sound or too long."""
    from serdemo.audio import waveform

    clip = waveform.from_array(samples, rate, "The recording")
    if clip.duration_s > MAX_TAKE_S:
        raise UsageError(
            f"The recording is longer than {MAX_TAKE_S:.0f} s: say the one sentence only."
        )
    return clip


def recording_fault(predictor: Predictor, clip: Clip) -> tuple[str, bool]:
    """A fault of a take in a sentence, "" for a good one, and whether it may be kept nevertheless."""
    from serdemo.audio import quality, vad

    speech = predictor.speech.probabilities(clip.samples)
    faults = quality.warnings(clip, speech)
    too_short = (
        clip.duration_s < quality.SHORT_CLIP_S
        or vad.speech_duration_s(speech) < quality.SHORT_SPEECH_S
    )
    return (faults[0], not too_short) if faults else ("", True)
