"""Encoders WavLM, HuBERT, wav2vec 2.0 and the WavLM of an x-vector model."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.encoders.pretrained import Pretrained
from serdemo.nn.padding import length_mask


class _EnoughStatesError(Exception):
    """Ends a forward pass before the layers that nobody uses."""


class Wav2VecEncoder(Pretrained):
    """WavLM, HuBERT, wav2vec 2.0, or the WavLM of an x-vector model."""

    def __init__(self, kind: str, options: PretrainedOptions, config: dict[str, Any]) -> None:
        super().__init__(kind, options, config)
        self.model: Any = self._model_class(self.architecture)
        self.width = self.architecture.hidden_size
        if self.architecture.do_stable_layer_norm:
            self.final_norm = "encoder.layer_norm"
            if self.depth < self.total:
                self.body.encoder.layer_norm = nn.Identity()
        self._freeze_and_adapt(
            [self.body.feature_extractor, self.body.feature_projection], self.body.encoder.layers
        )

    @property
    def body(self) -> Any:
        """The model without its heads."""
        return self.model.wavlm if self.kind == "xvector" else self.model

    def hidden(self, wave: Tensor, lengths: Tensor, top: int) -> tuple[list[Tensor], Tensor]:
        """Hidden states (B, F, D) before the first and after `top` layers, and frame counts (B,)."""
        features, frames = self._convolved(wave, lengths)
        projected = self.body.feature_projection(features)
        x = projected[0] if isinstance(projected, tuple) else projected  # HuBERT: one tensor
        mask = length_mask(frames, x.shape[1])
        states: list[Tensor] = []

        def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            states.append(inputs[0])
            if len(states) > top:
                raise _EnoughStatesError

        hooks = [layer.register_forward_pre_hook(record) for layer in self.body.encoder.layers]
        try:
            # The encoder's own output: large models end in a layer norm behind the last layer.
            states.append(self.body.encoder(x, attention_mask=mask)[0])
        except _EnoughStatesError:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return states, frames

    def _convolved(self, wave: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Convolution features (B, F, C) and frame counts (B,)."""
        min_samples = _samples_per_frame(self.architecture)
        wave = nn.functional.pad(wave, (0, max(0, min_samples - wave.shape[1])))
        lengths = lengths.clamp_min(min_samples)
        frames = self.body._get_feat_extract_output_lengths(lengths).long()
        extract = self.body.feature_extractor
        if self.architecture.feat_extract_norm != "group":
            return extract(wave).transpose(1, 2), frames
        # A group norm averages over the whole length, padding included: clips go one by one.
        features = [
            extract(row[None, :n]).transpose(1, 2)[0]
            for row, n in zip(wave, lengths.tolist(), strict=True)
        ]
        return nn.utils.rnn.pad_sequence(features, batch_first=True), frames


def _samples_per_frame(architecture: Any) -> int:
    """Receptive field of the convolutions: the minimum number of samples for one frame."""
    samples = 1
    layers = zip(architecture.conv_kernel, architecture.conv_stride, strict=True)
    for kernel, stride in reversed(list(layers)):
        samples = (samples - 1) * stride + kernel
    return samples
