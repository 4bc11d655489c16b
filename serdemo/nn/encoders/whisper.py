"""Whisper's encoder (Radford et al., arXiv 2212.04356) on clips of any length.

OpenAI's model pads every clip to 30 s; here a clip has as many frames as it is long, 50 a second,
and longer clips are encoded in pieces of 30 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.audio.waveform import SAMPLE_RATE
from serdemo.nn.checkpoint_files import read_tensors
from serdemo.nn.encoders import pretrained
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.encoders.pretrained import Pretrained
from serdemo.nn.padding import length_mask
from serdemo.schema.errors import SerdemoError

WINDOW, HOP, PIECE = 400, 160, 30 * SAMPLE_RATE
MAX_POSITIONS = PIECE // (2 * HOP)  # of every Whisper model
HEAD_WIDTH = 64  # in every Whisper model


def configure(kind: str, options: PretrainedOptions) -> dict[str, Any]:
    """Configuration that a checkpoint stores, from a bare `.safetensors` file or a whole model."""
    if not options.source.endswith(".safetensors"):
        return pretrained.configure(kind, options)
    path = Path(options.source)
    return {"architecture": infer_config(read_tensors(path), path.name), "normalise": False}


def infer_config(state: Mapping[str, Tensor], name: str) -> dict[str, Any]:
    """Architecture of Whisper encoder weights, inferred from the shapes of `state`.

    Raises SerdemoError, with the file's `name`, when they are not Whisper's encoder.
    """
    shapes = []
    axes_of = {"conv1.weight": 3, "embed_positions.weight": 2, "layers.0.fc1.weight": 2}
    for tensor, axes in axes_of.items():
        if tensor not in state or state[tensor].dim() != axes or not state[tensor].numel():
            problem = "lacks" if tensor not in state else "has an odd shape of"
            raise SerdemoError(
                f"{name} is not the encoder of a Whisper model: it {problem} tensor {tensor}."
            )
        shapes.append(state[tensor].shape)
    (width, mels, _), (positions, _), (inner, _) = shapes
    layers = len({key.split(".")[1] for key in state if key.startswith("layers.")})
    return dict(
        model_type="whisper",
        num_mel_bins=mels,
        d_model=width,
        encoder_layers=layers,
        encoder_attention_heads=max(1, width // HEAD_WIDTH),
        encoder_ffn_dim=inner,
        max_source_positions=positions,
    )


def piece_samples(config: Mapping[str, Any]) -> int:
    """Samples that the encoder of a checkpoint's configuration takes at once: as many as it has positions."""
    positions: int = config["architecture"].get("max_source_positions", MAX_POSITIONS)
    return min(PIECE, 2 * HOP * positions)


class MelPower(nn.Module):
    """Powers (B, M, N) in mel bands of samples (B, T), 100 a second with centred windows.

    `filters` (M, 201) weigh bins of 40 Hz.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, filters: Tensor) -> None:
        super().__init__()
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        spectrum = torch.stft(wave, WINDOW, HOP, window=self.window, return_complex=True)
        return self.filters @ spectrum.abs().square()


class WhisperEncoder(Pretrained):
    """Whisper's encoder; see `Pretrained`."""

    final_norm = "layer_norm"

    def __init__(self, kind: str, options: PretrainedOptions, config: dict[str, Any]) -> None:
        super().__init__(kind, options, config)
        from transformers.audio_utils import mel_filter_bank
        from transformers.models.whisper import modeling_whisper

        self.model: Any = modeling_whisper.WhisperEncoder(self.architecture)
        self.width = self.architecture.d_model
        if self.depth < self.total:
            self.model.add_module("layer_norm", nn.Identity())
        bank = mel_filter_bank(
            WINDOW // 2 + 1, self.architecture.num_mel_bins, 0.0, 8000.0, SAMPLE_RATE, "slaney",
            mel_scale="slaney",
        )  # fmt: skip
        self.mel_power: nn.Module = MelPower(torch.from_numpy(bank.T.astype(np.float32)))
        self._freeze_and_adapt(
            [self.model.conv1, self.model.conv2, self.model.embed_positions], self.model.layers
        )

    def constants(self) -> dict[str, Tensor]:
        """The position table that Whisper's encoders have, sinusoids, by its name in this module."""
        from transformers.models.whisper.modeling_whisper import sinusoids

        positions, width = self.architecture.max_source_positions, self.architecture.d_model
        if positions > MAX_POSITIONS or width < 4 or width % 2:  # not Whisper's
            return {}
        return {"model.embed_positions.weight": sinusoids(positions, width)}

    def source_state(self, source: str) -> dict[str, Tensor]:
        """Encoder tensors of a bare file or of a whole Whisper model."""
        if source.endswith(".safetensors"):
            return {name: value.float() for name, value in read_tensors(Path(source)).items()}
        state = super().source_state(source)
        prefix = "encoder."
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    def log_mel(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel features (B, mels, N), 100 a second, of samples (B, T), and their counts (B,).

        Zero beyond a clip's own frames, like the padding of the convolutions.
        """
        frames = torch.div(lengths, HOP, rounding_mode="floor").clamp_min(1)
        with torch.autocast(wave.device.type, enabled=False):
            # Trailing zeros stand for the silence after a clip.
            size = max(1, wave.shape[1] // HOP)
            mel = self.mel_power(F.pad(wave.float(), (0, WINDOW)))[..., :size]
        log = mel.clamp_min(1e-10).log10()
        mask = length_mask(frames, size)[:, None]
        peak = log.masked_fill(~mask, -10.0).amax((1, 2), keepdim=True)
        return (torch.maximum(log, peak - 8.0) + 4.0) / 4.0 * mask, frames

    def hidden(self, wave: Tensor, lengths: Tensor, top: int) -> tuple[list[Tensor], Tensor]:
        """Hidden states (B, F, D) after the convolutions and `top` layers, and frame counts (B,)."""
        if torch.compiler.is_exporting():  # a traced graph holds one piece of any length
            return self._encode_piece(wave, lengths, top)
        piece = piece_samples(self.config)
        pieces = [
            self._encode_piece(wave[:, at : at + piece], (lengths - at).clamp(0, piece), top)
            for at in range(0, wave.shape[1], piece)
        ]
        frames = torch.stack([count for _, count in pieces]).sum(0)
        return [torch.cat(layer, 1) for layer in zip(*(s for s, _ in pieces), strict=True)], frames

    def _encode_piece(self, wave: Tensor, lengths: Tensor, top: int) -> tuple[list[Tensor], Tensor]:
        model = self.model
        mel, frames = self.log_mel(wave, lengths)
        x = F.gelu(model.conv1(mel)) * length_mask(frames, mel.shape[2])[:, None]
        x = F.gelu(model.conv2(x)).transpose(1, 2)
        x = x + model.embed_positions.weight[: x.shape[1]]
        frames = torch.where(lengths > 0, (frames + 1) // 2, 0)
        mask = length_mask(frames, x.shape[1])
        bias = None
        if torch.compiler.is_exporting() or not bool(mask.all()):
            # The lowest finite value, so that a row without frames causes no division by zero.
            bias = torch.zeros_like(mask, dtype=x.dtype)
            bias = bias.masked_fill(~mask, torch.finfo(x.dtype).min)[:, None, None, :]
        states = [x]
        for layer in model.layers[:top]:
            output = layer(x, bias)
            x = output[0] if isinstance(output, tuple) else output
            states.append(x)
        if top == self.depth:
            states[-1] = model.layer_norm(x)
        return states, frames
