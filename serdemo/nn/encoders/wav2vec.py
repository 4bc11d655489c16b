"""WavLM, HuBERT, wav2vec 2.0 and x-vectors behind the contract of an encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from serdemo.nn.encoders.conformer import length_mask
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.encoders.pretrained import Pretrained, normalised


class Wav2VecEncoder(Pretrained):
    """WavLM, HuBERT, wav2vec 2.0, or the WavLM of an x-vector model."""

    def __init__(self, kind: str, options: PretrainedOptions, config: dict[str, Any]) -> None:
        super().__init__(kind, options, config)
        self.model: Any = self._model_class(self.architecture)
        self.width, self.depth = (
            self.architecture.hidden_size,
            self.architecture.num_hidden_layers,
        )
        self.finish(
            [self.body.feature_extractor, self.body.feature_projection], self.body.encoder.layers
        )

    @property
    def body(self) -> Any:
        """The model without what stands on it."""
        return self.model.wavlm if self.kind == "xvector" else self.model

    def hidden(self, wave: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Hidden states before the layers and after each of them."""
        features, frames = self._convolved(wave, lengths)
        x, _ = _pair(self.body.feature_projection(features))
        mask = length_mask(frames, x.shape[1])
        states: list[Tensor] = []

        def keep(layer: nn.Module, given: tuple[Tensor, ...], found: Any) -> None:
            if not states:
                states.append(given[0])
            states.append(found[0] if isinstance(found, tuple) else found)

        hooks = [layer.register_forward_hook(keep) for layer in self.body.encoder.layers]
        try:
            states[self.depth :] = [self.body.encoder(x, attention_mask=mask)[0]]
        finally:
            for hook in hooks:
                hook.remove()
        return states, frames

    def _convolved(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, C) convolution features and (B,) frame counts."""
        least = _samples_of_a_frame(self.architecture)
        wave = nn.functional.pad(wave, (0, max(0, least - wave.shape[1])))
        lengths = lengths.clamp_min(least)
        frames = self.body._get_feat_extract_output_lengths(lengths).long()
        extract = self.body.feature_extractor
        if self.architecture.feat_extract_norm != "group":
            return extract(wave).transpose(1, 2), frames
        # A group norm averages over the whole length, padding and all: each clip goes by itself.
        alone = [
            extract(row[None, :n]).transpose(1, 2)[0]
            for row, n in zip(wave, lengths.tolist(), strict=True)
        ]
        return nn.utils.rnn.pad_sequence(alone, batch_first=True), frames

    def speaker_embedding(self, wave: Tensor, lengths: Tensor) -> Tensor:
        """The x-vectors (B, E) of a batch of clips; for the kind `xvector` alone."""
        if self.normalise:
            wave = normalised(wave, lengths)
        rows = [
            self.model(row[None, :n]).embeddings[0]
            for row, n in zip(wave, lengths.tolist(), strict=True)
        ]
        return torch.stack(rows)


def _pair(found: Any) -> tuple[Tensor, Tensor]:
    """HuBERT's projection gives one tensor where the others give two."""
    return found if isinstance(found, tuple) else (found, found)


def _samples_of_a_frame(architecture: Any) -> int:
    """The fewest samples that give one frame of convolution features."""
    samples = 1
    pairs = zip(architecture.conv_kernel, architecture.conv_stride, strict=True)
    for kernel, stride in reversed(list(pairs)):
        samples = (samples - 1) * stride + kernel
    return samples
