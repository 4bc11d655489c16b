"""The community's head on the mean frame of wav2vec 2.0, HuBERT or WavLM, which transformers does not have.

Its checkpoints name the architecture `...ForSpeechClassification`; audEERING's model of arousal, dominance
and valence (Wagner et al., arXiv 2203.07378) is one of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    HubertModel,
    HubertPreTrainedModel,
    Wav2Vec2Model,
    Wav2Vec2PreTrainedModel,
    WavLMModel,
    WavLMPreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from serdemo.schema.errors import SerdemoError


class Head(nn.Module):
    """Two layers with tanh between them: (B, D) -> (B, outputs)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.out_proj(torch.tanh(self.dense(pooled)))
        return logits


class _SpeechClassification:
    """`forward` of the classes below: frames, their mean (sum or maximum by `pooling_mode`), head."""

    config: Any
    classifier: nn.Module
    base_model_prefix: str

    def forward(self, input_values: Tensor, **kwargs: Any) -> SequenceClassifierOutput:
        """Logits (B, outputs) of normalised samples (B, T) without padding."""
        frames = getattr(self, self.base_model_prefix)(input_values).last_hidden_state
        match getattr(self.config, "pooling_mode", None) or "mean":
            case "mean":
                pooled = frames.mean(dim=1)
            case "sum":
                pooled = frames.sum(dim=1)
            case "max":
                pooled = frames.amax(dim=1)
            case mode:
                raise SerdemoError(
                    f"There is no pooling_mode {mode!r} of frames: mean, sum or max."
                )
        return SequenceClassifierOutput(logits=self.classifier(pooled))


class Wav2Vec2ForSpeechClassification(_SpeechClassification, Wav2Vec2PreTrainedModel):
    """wav2vec 2.0 with the head."""

    def __init__(self, config: Any) -> None:
        Wav2Vec2PreTrainedModel.__init__(self, config)
        self.wav2vec2, self.classifier = Wav2Vec2Model(config), Head(config)
        self.post_init()


class HubertForSpeechClassification(_SpeechClassification, HubertPreTrainedModel):
    """HuBERT with the head."""

    def __init__(self, config: Any) -> None:
        HubertPreTrainedModel.__init__(self, config)
        self.hubert, self.classifier = HubertModel(config), Head(config)
        self.post_init()


class WavLMForSpeechClassification(_SpeechClassification, WavLMPreTrainedModel):
    """WavLM with the head."""

    def __init__(self, config: Any) -> None:
        WavLMPreTrainedModel.__init__(self, config)
        self.wavlm, self.classifier = WavLMModel(config), Head(config)
        self.post_init()


CLASSES: dict[str, Any] = {
    "wav2vec2": Wav2Vec2ForSpeechClassification,
    "hubert": HubertForSpeechClassification,
    "wavlm": WavLMForSpeechClassification,
}
