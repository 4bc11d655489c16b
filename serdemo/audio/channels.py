"""Down-mixing: which channels of a recording hold the voice, and whether they may be added.

The mean of all channels is silent where one is the other's negative, and mostly noise where one holds
noise. So the channels that hold a voice are averaged: found by speech probability and level, those that
hold the same voice out of phase or later left out. Two voices on two channels both count.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serdemo.audio.samples import SAMPLE_RATE, Block, Resampler, Samples

if TYPE_CHECKING:
    from serdemo.audio.vad import SpeechSession

EQUAL = 1e-4  # energy of the difference between channels, relative to theirs, that is no difference
SPEECH = 0.5  # probability; clear speech tells voice from music and noise
MIN_SPEECH_S = 0.3
SPEECH_SHARE = 0.1  # of the speech of the channel with most, for a channel to count
VOICE_DB, SOUND_DB, SILENT_DB = -30.0, -40.0, -70.0  # below the loudest channel, and full scale

SEGMENT = 4 * SAMPLE_RATE  # samples that are compared for phase and delay at once
N_SEGMENTS = 8
MAX_LAG = SAMPLE_RATE // 3
ALIKE_DB = 3.0
IN_PHASE = 8  # samples (0.5 ms)
OPPOSED, RELATED = -0.2, 0.5  # correlation

STEP_S = 0.25  # of live sound
RAMP_S = 0.01
MAX_WAIT_S = 10.0
_CHUNK = 512

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """Weights (C,) of the channels in the down-mix; None for their plain mean. `note` says why."""

    weights: Samples | None = None
    note: str | None = None

    def apply(self, frames: Block) -> Samples:
        """Down-mix frames (n, C) to mono (n,)."""
        if frames.shape[1] == 1:
            return frames[:, 0]
        return frames.mean(axis=1) if self.weights is None else frames @ self.weights


class ChannelAnalysis:
    """Speech, level and phase of the channels of a sound that arrives in pieces, in bounded memory.

    Nothing is measured until the channels first differ, unless `always`: that many files hold one
    sound twice costs nothing.
    """

    def __init__(self, rate: int, channels: int, *, always: bool = False) -> None:
        self._rate, self._channels = rate, channels
        self._resamplers: list[Resampler] = []
        self._sessions: list[SpeechSession] = []
        self._powers: list[NDArray[np.float64]] = []  # (n, C) of each 32 ms
        self._speech: list[NDArray[np.float32]] = []  # (n, C)
        self._rest = np.zeros((0, channels), np.float32)
        self._segment: list[Samples] = []
        self._segment_score = self._segment_length = 0.0
        self._best: list[tuple[float, int, Samples]] = []  # a heap of segments (n, C)
        if always:
            self._begin()

    @property
    def differs(self) -> bool:
        """Whether the channels are not equal so far."""
        return bool(self._resamplers)

    def push(self, frames: Block) -> None:
        """Measure the next frames (n, C)."""
        if not self._resamplers:
            rest = frames[:, 1:] - frames[:, :1]
            energy = float(np.einsum("ij,ij->", frames, frames))
            if float(np.einsum("ij,ij->", rest, rest)) <= EQUAL * energy:
                return
            self._begin()
        columns = [
            r.push(np.ascontiguousarray(c)) for r, c in zip(self._resamplers, frames.T, strict=True)
        ]
        sound = np.concatenate([self._rest, np.stack(columns, 1)])
        whole = len(sound) // _CHUNK * _CHUNK
        self._rest, sound = sound[whole:], sound[:whole]
        if whole:
            self._measure(sound)

    @property
    def speech_s(self) -> float:
        """Seconds of speech on the channel that holds most."""
        return float(self._seconds().max(initial=0.0))

    @property
    def level_db(self) -> float:
        """Level of the loudest channel in dB of full scale."""
        powers = np.concatenate(self._powers) if self._powers else np.zeros((1, 1))
        return float(_decibels(powers.mean(0)).max())

    def decide(self) -> Mix:
        """Weights of the channels by all that was measured."""
        if not self._powers:
            return Mix()
        powers = np.concatenate(self._powers)
        seconds, level = self._seconds(), _decibels(powers.mean(0))
        reasons = ["" for _ in range(self._channels)]
        loudest = level.max()
        if loudest < SILENT_DB:
            return Mix()
        speech = np.concatenate(self._speech) >= SPEECH
        if seconds.max() >= MIN_SPEECH_S:
            spoken = np.where(speech, powers, 0).sum(0) / np.maximum(1, speech.sum(0))
            voice_db = _decibels(spoken)
            least = max(MIN_SPEECH_S, SPEECH_SHARE * seconds.max())
            holds = (seconds >= least) & (voice_db >= voice_db.max() + VOICE_DB)
            order = np.lexsort((np.round(-voice_db / ALIKE_DB), seconds < 0.9 * seconds.max()))
        else:
            holds = level >= loudest + SOUND_DB
            order = np.lexsort((np.round(-level / ALIKE_DB),))
        for c in np.flatnonzero(~holds):
            silent = level[c] < max(SILENT_DB, loudest - 60)
            reasons[c] = "is silent" if silent else "holds no voice"
        reference = next(int(c) for c in order if holds[c])
        for c in np.flatnonzero(holds):
            if c != reference:
                reasons[c] = self._conflict(reference, int(c))
        used = np.array([not reason for reason in reasons])
        if used.all():
            return Mix()
        return Mix((used / used.sum()).astype(np.float32), _describe(reasons))

    def _begin(self) -> None:
        from serdemo.audio.vad import SpeechDetector, SpeechSession  # loads a network

        detector = SpeechDetector()
        self._resamplers = [Resampler(self._rate) for _ in range(self._channels)]
        self._sessions = [SpeechSession(detector) for _ in range(self._channels)]

    def _measure(self, sound: Samples) -> None:
        """Add whole chunks (512 n, C) at 16 kHz."""
        chunks = sound.reshape(-1, _CHUNK, self._channels)
        self._powers.append(np.einsum("ijk,ijk->ik", chunks, chunks).astype(np.float64) / _CHUNK)
        columns = [
            s.push(np.ascontiguousarray(c)) for s, c in zip(self._sessions, sound.T, strict=True)
        ]
        speech = np.stack(columns, 1)
        self._speech.append(speech)
        for first in range(0, len(sound), SEGMENT // 4):
            part = sound[first : first + SEGMENT // 4]
            self._segment.append(part)
            self._segment_length += len(part)
            rows = speech[first // _CHUNK : (first + len(part)) // _CHUNK]
            self._segment_score += float(rows.sum()) + 1e-3 * float(np.abs(part).sum())
            if self._segment_length >= SEGMENT:
                entry = self._segment_score, -len(self._speech), np.concatenate(self._segment)
                if len(self._best) < N_SEGMENTS:
                    heapq.heappush(self._best, entry)
                elif entry[:2] > self._best[0][:2]:
                    heapq.heapreplace(self._best, entry)
                self._segment, self._segment_score, self._segment_length = [], 0.0, 0

    def _seconds(self) -> NDArray[np.float64]:
        """Seconds of clear speech (C,)."""
        if not self._speech:
            return np.zeros(self._channels)
        count = (np.concatenate(self._speech) >= SPEECH).sum(0)
        return np.asarray(count * _CHUNK / SAMPLE_RATE, np.float64)

    def _conflict(self, reference: int, other: int) -> str:
        """Why a channel may not be added to the reference; "" where it may."""
        segments = [segment for _, _, segment in self._best]
        if self._segment:
            segments.append(np.concatenate(self._segment))
        size = 1 << (max(len(s) for s in segments) + MAX_LAG).bit_length()
        products, energies = np.zeros(size // 2 + 1, complex), np.zeros(2)
        for segment in segments:
            pair = segment[:, [reference, other]].astype(np.float64)
            a, b = np.fft.rfft(pair, size, axis=0).T
            products += a.conj() * b
            energies += np.square(pair).sum(0)
        scale = float(np.sqrt(energies.prod()))
        if not scale:
            return ""
        correlation = np.fft.irfft(products, size) / scale
        nearby = np.concatenate([correlation[-MAX_LAG:], correlation[: MAX_LAG + 1]])
        lag = int(np.abs(nearby).argmax()) - MAX_LAG
        around = nearby[MAX_LAG - IN_PHASE : MAX_LAG + IN_PHASE + 1]
        strongest = float(nearby[lag + MAX_LAG])
        if around[np.abs(around).argmax()] < OPPOSED and strongest < 0:
            return "is the same sound out of phase"
        if abs(strongest) >= RELATED and abs(lag) > IN_PHASE:
            return f"is the same sound {abs(lag) / SAMPLE_RATE * 1000:.0f} ms {'later' if lag > 0 else 'earlier'}"
        return ""


class StreamMixer:
    """Down-mix of live sound: the channels that have held the voice so far.

    The weights change every quarter of a second at most, at the same samples however the sound was
    cut, and over 10 ms, so that no step is heard.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._analysis = ChannelAnalysis(rate, channels)
        self.channels = channels
        self._step, self._ramp = max(1, round(STEP_S * rate)), max(1, round(RAMP_S * rate))
        self._max_wait = round(MAX_WAIT_S * rate)
        self._first: Block | None = None
        self._waiting: list[Block] = []
        self._n_waiting = 0
        self._position = 0  # frames
        self._next = 0  # the frame at which the next decision is due
        self._old = self._mix = Mix()
        self._changed = -self._ramp  # the frame since which the mix changes

    @property
    def note(self) -> str | None:
        """Which channels are used, None while all are."""
        return self._mix.note

    def apply(self, frames: Block) -> Samples:
        """Down-mix the next frames (n, C) to mono (n,)."""
        if self.channels == 1:
            return frames[:, 0]
        if not len(frames):
            return np.zeros(0, np.float32)
        if self._first is None:
            self._first = frames[:1].copy()  # offsets would jump when the weights change
        frames = frames - self._first
        result = np.empty(len(frames), np.float32)
        start = 0
        while start < len(frames):
            part = frames[start : start + self._step - self._n_waiting]
            result[start : start + len(part)] = self._faded(part)
            self._waiting.append(part)
            self._n_waiting += len(part)
            self._position += len(part)
            start += len(part)
            if self._n_waiting == self._step:
                self._analysis.push(np.concatenate(self._waiting))
                self._waiting, self._n_waiting = [], 0
                self._decide()
        return result

    def _decide(self) -> None:
        if not self._analysis.differs or self._position < self._next:
            return
        self._next = self._position + min(self._position // 4, self._max_wait)
        self._old, self._mix = self._mix, self._analysis.decide()
        self._changed = self._position

    def _faded(self, frames: Block) -> Samples:
        done = self._position - self._changed
        mono = self._mix.apply(frames)
        n = min(len(frames), self._ramp - done)
        if n > 0:
            share = (np.arange(done, done + n, dtype=np.float32) + 1) / self._ramp
            mono = np.array(mono)
            mono[:n] = share * mono[:n] + (1 - share) * self._old.apply(frames[:n])
        return mono


def _decibels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-12))
    return result


def ordinal(number: int) -> str:
    """ "first" for 0, up to "eighth"; then "number 9"."""
    return _ORDINALS[number] if number < len(_ORDINALS) else f"number {number + 1}"


def _describe(reasons: list[str]) -> str:
    """A sentence about the channels that are used and those that are not, each for its reason."""
    used = [ordinal(c) for c, reason in enumerate(reasons) if not reason]
    verb = "is" if len(used) == 1 else "are"
    left = [f"the {ordinal(c)} {reason}" for c, reason in enumerate(reasons) if reason]
    distinct = {reason for reason in reasons if reason}
    if len(left) > 1 and len(distinct) == 1:
        reason = distinct.pop().replace("is ", "are ").replace("holds ", "hold ")
        left = [f"the others {reason}"]
    return f"Of the {len(reasons)} channels the {_listed(used)} {verb} used: {_listed(left)}."


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
