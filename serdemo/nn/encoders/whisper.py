"""Whisper's encoder on clips of any length: its convolutions, position table and layers.

OpenAI's model pads every clip to 30 s; here a clip takes the frames it has, 50 a second, and
longer ones are cut into pieces of 30 s that are read one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn.checkpoint_files import read_tensors
from serdemo.nn.encoders.conformer import length_mask
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.encoders.pretrained import Pretrained
from serdemo.schema.errors import SerdemoError

WINDOW, HOP, PIECE = 400, 160, 30 * SAMPLE_RATE
WIDTH_OF_A_HEAD = 64  # in every Whisper there is


def configuration_of(state: Mapping[str, Tensor], where: str) -> dict[str, Any]:
    """The architecture that a bare file of encoder weights has, told by its shapes.

    Raises SerdemoError, with the file's name `where`, when it is not Whisper's encoder.
    """
    shapes = []
    for name, axes in (
        ("conv1.weight", 3),
        ("embed_positions.weight", 2),
        ("layers.0.fc1.weight", 2),
    ):
        if name not in state or state[name].dim() != axes or not state[name].numel():
            problem = "lacks" if name not in state else "has an odd shape of"
            raise SerdemoError(
                f"{where} is not the encoder of a Whisper model: it {problem} tensor {name}."
            )
        shapes.append(state[name].shape)
    (width, mels, _), (positions, _), (inner, _) = shapes
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    return dict(
        model_type="whisper",
        num_mel_bins=mels,
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=max(1, width // WIDTH_OF_A_HEAD),
        encoder_ffn_dim=inner,
        max_source_positions=positions,
    )


class WhisperEncoder(Pretrained):
    """Whisper's encoder behind the contract."""

    filters: Tensor
    window: Tensor

    def __init__(self, kind: str, options: PretrainedOptions, config: dict[str, Any]) -> None:
        super().__init__(kind, options, config)
        from transformers.audio_utils import mel_filter_bank
        from transformers.models.whisper.modeling_whisper import WhisperEncoder as Theirs

        self.model: Any = Theirs(self.architecture)
        self.width, self.depth = self.architecture.d_model, self.architecture.encoder_layers
        bank = mel_filter_bank(
            WINDOW // 2 + 1, self.architecture.num_mel_bins, 0.0, 8000.0, SAMPLE_RATE, "slaney",
            mel_scale="slaney",
        )  # fmt: skip
        self.register_buffer(
            "filters", torch.from_numpy(bank.T.astype(np.float32)), persistent=False
        )
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.finish(
            [self.model.conv1, self.model.conv2, self.model.embed_positions], self.model.layers
        )

    def source_state(self, source: str) -> dict[str, Tensor]:
        """The encoder's tensors out of a bare file, or of a whole Whisper model."""
        if source.endswith(".safetensors"):
            return {name: value.float() for name, value in read_tensors(Path(source)).items()}
        whole = super().source_state(source)
        inside = "encoder."
        return {k.removeprefix(inside): v for k, v in whole.items() if k.startswith(inside)}

    def log_mel(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) samples -> (B, mels, N) log-mel features, 100 a second, and counts (B,).

        Zero beyond a clip's own frames, as its convolutions are padded.
        """
        frames = torch.div(lengths, HOP, rounding_mode="floor").clamp_min(1)
        with torch.autocast(wave.device.type, enabled=False):
            # The zeros behind stand for the silence that follows every clip.
            padded = F.pad(wave.float(), (0, WINDOW))
            spectrum = torch.stft(padded, WINDOW, HOP, window=self.window, return_complex=True)
            size = max(1, wave.shape[1] // HOP)
            mel = self.filters @ spectrum[..., :size].abs().square()
        log = mel.clamp_min(1e-10).log10()
        mask = length_mask(frames, size)[:, None]
        peak = log.masked_fill(~mask, -10.0).amax((1, 2), keepdim=True)
        return (torch.maximum(log, peak - 8.0) + 4.0) / 4.0 * mask, frames

    def hidden(self, wave: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Hidden states behind the convolutions and every layer, the last one normalised."""
        piece = min(PIECE, 2 * HOP * self.architecture.max_source_positions)
        pieces = [
            self._piece(wave[:, at : at + piece], (lengths - at).clamp(0, piece))
            for at in range(0, wave.shape[1], piece)
        ]
        frames = torch.stack([count for _, count in pieces]).sum(0)
        return [torch.cat(layer, 1) for layer in zip(*(s for s, _ in pieces), strict=True)], frames

    def _piece(self, wave: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        model = self.model
        mel, frames = self.log_mel(wave, lengths)
        x = F.gelu(model.conv1(mel)) * length_mask(frames, mel.shape[2])[:, None]
        x = F.gelu(model.conv2(x)).transpose(1, 2)
        x = x + model.embed_positions.weight[: x.shape[1]]
        frames = torch.where(lengths > 0, (frames + 1) // 2, 0)
        mask = length_mask(frames, x.shape[1])
        added = None
        if not bool(mask.all()):
            # The lowest finite number, so that a row without any frame is no division by zero.
            added = torch.zeros_like(mask, dtype=x.dtype)
            added = added.masked_fill(~mask, torch.finfo(x.dtype).min)[:, None, None, :]
        states = [x]
        for layer in model.layers:
            found = layer(x, added)
            x = found[0] if isinstance(found, tuple) else found
            states.append(x)
        states[-1] = model.layer_norm(x)
        return states, frames
