"""Log-mel features."""

from __future__ import annotations

import torch
import torchaudio

from serdemo.audio.waveform import SAMPLE_RATE


class LogMel(torch.nn.Module):
    """Log-mel features at 100 frames per second, normalised by each clip's mean power."""

    MELS = 80
    WINDOW = 400
    HOP = 160
    FLOOR = 1e-6  # relative to the clip's mean power: 60 dB below it
    CENTRE = -7.0
    SCALE = 4.0

    def __init__(self) -> None:
        super().__init__()
        n_fft = 512
        # This padding puts the window, centred in the FFT, exactly on its own 400 samples.
        with torch.device("cpu"):  # real tables even for a model on the meta device
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
        # Computed in full precision whenever a model is built, so no checkpoint holds them.
        for part, name in ((self.mel.spectrogram, "window"), (self.mel.mel_scale, "fb")):
            part.register_buffer(name, getattr(part, name), persistent=False)

    def forward(
        self, wave: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and frame counts of `wave` (B, T) float32 with `lengths` (B,) valid samples.

        Returns features (B, F, 80) float32 of about unit scale, zero beyond each clip's end, and
        frame counts (B,) int64. Samples beyond a clip's length are ignored, so its features do not
        depend on the rest of the batch. Mean power is normalised per clip, which removes loudness
        and keeps the spectrum and its course over time.
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
            # Level and floor follow the clip's mean power: a mean of logarithms would move by tens
            # of dB with the share of silence.
            mean = ((power * valid).sum(dim=(1, 2), keepdim=True) / count).clamp(min=1e-20)
            features = torch.log(power / mean + self.FLOOR)
            return (features - self.CENTRE) / self.SCALE * valid, frames
