"""What a visitor records to teach the model a voice: takes, in one folder with what they taught.

That folder is a run's, so that the command line, Models and Delete treat it as any other. Whoever
sits at this machine has one that stays; any other visitor has one for as long as the session lasts.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serdemo.nn.checkpoint_files import DESCRIPTION
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.schema.files import read_json, write_json
from serdemo.schema.settings import runs_root
from serdemo.schema.types import EMOTIONS, Utterance
from serdemo.ui.shell import visitor_store
from serdemo.ui.shell.visitor_store import VOICE_SESSIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serdemo.audio.waveform import Clip
    from serdemo.inference.predictor import Predictor

NAME, RECORDINGS, CHOICE = "my-voice", "recordings", "choice.json"
MAX_TAKES = 5  # of an emotion
MAX_TAKE_S = 20.0  # of a take
DEFAULT_EMOTIONS = (
    "neutral",
    "happy",
    "sad",
    "angry",
)  # what is asked for until the visitor chooses

# What they say carries no emotion, so that only the voice does.
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
class Voice:
    """One voice: the folder of its takes and of the model they taught."""

    folder: Path

    @property
    def recordings(self) -> Path:
        """Where the takes lie, in a folder for each emotion."""
        return self.folder / RECORDINGS

    @property
    def checkpoint(self) -> Path:
        """Where the model lies, once it is taught."""
        return self.folder / "checkpoint"

    def takes(self) -> dict[str, list[Path]]:
        """The takes of each emotion, the oldest first."""
        return {name: sorted((self.recordings / name).glob("*.wav")) for name in EMOTIONS}

    def counts(self) -> dict[str, int]:
        """How many takes there are of each emotion that has any."""
        return {name: len(paths) for name, paths in self.takes().items() if paths}

    def chosen(self) -> list[str]:
        """The emotions that are asked for, in the order of the list."""
        with suppress(SerdemoError):
            kept = read_json(self.folder / CHOICE)
            if isinstance(kept, list):
                return [name for name in EMOTIONS if name in kept]
        return [name for name in EMOTIONS if name in DEFAULT_EMOTIONS]

    def choose(self, emotions: Sequence[str]) -> None:
        """Ask for these emotions; raises SerdemoError when that cannot be kept."""
        self._make(self.folder)
        write_json(self.folder / CHOICE, [name for name in EMOTIONS if name in emotions])

    def due(self) -> str | None:
        """The emotion that is asked for next; None when all is recorded."""
        takes, chosen = self.takes(), self.chosen()
        order = [*(name for name in DEFAULT_EMOTIONS if name in chosen), *chosen]
        return next((name for name in order if len(takes[name]) < MAX_TAKES), None)

    def keep(self, emotion: str, clip: Clip) -> None:
        """Keep one more take; raises UsageError for an emotion that has all of its own,
        SerdemoError when there is no room."""
        import soundfile

        from serdemo.audio.waveform import SAMPLE_RATE

        paths = self.takes().get(emotion)
        if paths is None or len(paths) >= MAX_TAKES:
            raise UsageError(f"No take of {emotion} is missing: choose another emotion.")
        folder = self.recordings / emotion
        self._make(folder)
        number = 1 + max((int(p.stem) for p in paths if p.stem.isdecimal()), default=0)
        try:
            soundfile.write(folder / f"{number}.wav", clip.samples, SAMPLE_RATE, subtype="PCM_16")
        except (OSError, soundfile.LibsndfileError) as problem:
            (folder / f"{number}.wav").unlink(missing_ok=True)
            raise SerdemoError(f"The take could not be kept: {problem}.") from problem

    def take_back(self, emotion: str) -> None:
        """Delete the last take of an emotion, if there is one."""
        if paths := self.takes().get(emotion):
            paths[-1].unlink(missing_ok=True)

    def utterances(self) -> list[Utterance]:
        """The takes as the command line finds them."""
        from serdemo.data.corpora import class_folders

        return class_folders.read(self.recordings) if self.recordings.is_dir() else []

    def command(self) -> str:
        """The command that teaches the same in a terminal."""
        told = ("train", "personal", "--corpus", str(self.recordings), "--run", str(self.folder))
        return shlex.join(["serdemo", *told, "--resume"])

    def taught(self) -> dict[str, Any] | None:
        """What `model.json` says of the teaching; None while there is no model."""
        with suppress(SerdemoError, KeyError, TypeError):
            told = read_json(self.checkpoint / DESCRIPTION)["metrics"]["voice"]
            return told if isinstance(told, dict) else None
        return None

    def delete(self) -> None:
        """Delete takes and model; raises SerdemoError when something of it is left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.folder.exists():
            raise SerdemoError(
                f"Not all of {self.folder} could be deleted: close what still uses it, then try"
                " again."
            )
        if self.folder.parent.parent.name == VOICE_SESSIONS:
            with suppress(OSError):
                self.folder.parent.rmdir()

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise SerdemoError(f"{folder} could not be made: {problem.strerror}.") from problem


def voice_of(owner: str | None, session: str | None) -> Voice:
    """The voice of whoever sits at this machine (`owner` None), or that of a session, which is told
    in its folder to be alive.

    Raises UsageError for a visitor without a session, who would share it with others.
    """
    runs = runs_root().absolute()
    if owner is None:
        return Voice(runs / NAME)
    if not session:
        raise UsageError("This page does not know your visit yet: reload it, then try again.")
    folder = _session(runs, session)
    with suppress(OSError):
        os.utime(folder)
    return Voice(folder / NAME)


def delete_session(session: str) -> Path:
    """Delete what a session that ends leaves; returns the folder of it."""
    folder = _session(runs_root().absolute(), session)
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def check_voice_quota(voice: Voice) -> None:
    """Raise SerdemoError where visitors' takes have filled what they may fill."""
    place = voice.folder.parent.parent
    if place.name == VOICE_SESSIONS and not voice.recordings.exists():
        visitor_store.check_quota(place, "voice")


def take_from_samples(samples: NDArray[Any], rate: int) -> Clip:
    """Samples (N,) of a take at `rate` Hz as a clip; raises SerdemoError for what is no take."""
    from serdemo.audio import waveform

    clip = waveform.from_array(samples, rate, "The recording")
    if clip.duration_s > MAX_TAKE_S:
        raise UsageError(
            f"The recording is longer than {MAX_TAKE_S:.0f} s: say the one sentence only."
        )
    return clip


def recording_fault(predictor: Predictor, clip: Clip) -> tuple[str, bool]:
    """What is wrong with a take, in a sentence ("" for a good one), and whether it may be kept all
    the same."""
    from serdemo.audio import quality, vad

    speech = predictor.speech.probabilities(clip.samples)
    told = quality.warnings(clip, speech)
    useless = (
        clip.duration_s < quality.SHORT_CLIP_S
        or vad.speech_duration_s(speech) < quality.SHORT_SPEECH_S
    )
    return (told[0], not useless) if told else ("", True)


def _session(runs: Path, session: str) -> Path:
    return runs / VOICE_SESSIONS / hashlib.sha256(session.encode()).hexdigest()[:32]
