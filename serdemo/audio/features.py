"""Log-mel features."""

from __future__ import annotations

import torch
import torchaudio

from serdemo.audio.waveform import SAMPLE_RATE


class LogMel(torch.nn.Module):
    """Log-mel features at 100 frames a second, each clip freed of its overall gain."""

    MELS = 80
    WINDOW = 400
    HOP = 160
    FLOOR = 1e-6  # of the clip's own mean power, 60 dB below it
    CENTRE = -7.0
    SCALE = 4.0

    def __init__(self) -> None:
        super().__init__()
        n_fft = 512
        # This padding puts the window, centred in the FFT, exactly on its own 400 samples.
        with torch.device("cpu"):  # tables of numbers, even where a model is made of shapes alone
            self.mel = torchaudio.transforms.MelSpectrogram(
                sample_rate=SAMPLE_RATE,
                n_fft=n_fft,
                win_length=self.WINDOW,
                hop_length=self.HOP,
                pad=(n_fft - self.WINDOW) // 2,
                f_min=20.0,
                f_max=7600.0,
                n_mels=self.MELS,
                power=2.0,
                center=False,
            )
        # Made anew, in full precision, wherever a model is built: no checkpoint holds them.
        for part, name in ((self.mel.spectrogram, "window"), (self.mel.mel_scale, "fb")):
            part.register_buffer(name, getattr(part, name), persistent=False)

    def forward(
        self, wave: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn `wave` (B, T) float32 with `lengths` (B,) into features and frame counts.

        Returns features (B, F, 80) float32 around unit scale, zero beyond each clip's end, and
        frames (B,) int64. What lies in `wave` beyond a clip's length does not count, so a
        clip's features do not depend on its batch mates. Each clip is set to the same mean
        power: loudness goes, the shape of the spectrum and of the course over time stays.
        """
        with torch.autocast(device_type=wave.device.type, enabled=False):
            wave = wave.float()
            inside = torch.arange(wave.shape[1], device=wave.device) < lengths[:, None]
            wave = wave * inside
            wave = torch.nn.functional.pad(wave, (0, max(0, self.WINDOW - wave.shape[1])))
            power = self.mel(wave).transpose(1, 2)
            frames = (lengths.clamp(min=self.WINDOW) - self.WINDOW) // self.HOP + 1
            valid = torch.arange(power.shape[1], device=wave.device) < frames[:, None]
            valid = valid[:, :, None]
            count = frames[:, None, None] * self.MELS
            # Both the level and the floor are set by the clip's mean power. (A mean of logarithms
            # would move by tens of dB with the share of silence.)
            mean = ((power * valid).sum(dim=(1, 2), keepdim=True) / count).clamp(min=1e-20)
            features = torch.log(power / mean + self.FLOOR)
            return (features - self.CENTRE) / self.SCALE * valid, frames
