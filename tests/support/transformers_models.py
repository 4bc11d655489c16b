"""Small audio classification models of random weights, saved as transformers' own classes save them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    ASTFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from support.small_encoders import LAYER_NORM, SMALL, WHISPER

LABELS = ("ang", "hap", "neu", "sad")
HEAD: dict[str, Any] = {"classifier_proj_size": 16}
AST: dict[str, Any] = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=48,
    patch_size=16,
    frequency_stride=10,
    time_stride=10,
    max_length=128,
    num_mel_bins=32,
)
BERT: dict[str, Any] = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=48,
    feature_projection_input_dim=160,
    conv_depthwise_kernel_size=7,
)


def plain(**options: Any) -> Any:
    return Wav2Vec2FeatureExtractor(**options)


# name -> class, configuration, feature extractor
KINDS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", SMALL | HEAD, plain),
    "wav2vec2-layer-norm": (
        "Wav2Vec2ForSequenceClassification",
        SMALL | HEAD | LAYER_NORM | {"use_weighted_layer_sum": True},
        lambda: plain(return_attention_mask=True),
    ),
    "hubert": ("HubertForSequenceClassification", SMALL | HEAD, plain),
    "wavlm": ("WavLMForSequenceClassification", SMALL | HEAD, plain),
    "data2vec-audio": ("Data2VecAudioForSequenceClassification", SMALL | HEAD, plain),
    "unispeech-sat": ("UniSpeechSatForSequenceClassification", SMALL | HEAD, plain),
    "sew": ("SEWForSequenceClassification", SMALL | HEAD | {"squeeze_factor": 2}, plain),
    "wav2vec2-bert": (
        "Wav2Vec2BertForSequenceClassification",
        BERT | HEAD,
        SeamlessM4TFeatureExtractor,
    ),
    "whisper": (
        "WhisperForAudioClassification",
        WHISPER | HEAD,
        lambda: WhisperFeatureExtractor(feature_size=20, chunk_length=1),
    ),
    "audio-spectrogram-transformer": (
        "ASTForAudioClassification",
        AST,
        lambda: ASTFeatureExtractor(num_mel_bins=32, max_length=128),
    ),
}


def save(
    name: str, folder: Path, labels: tuple[str, ...] = LABELS, *, rate: int = 16_000, **config: Any
) -> Path:
    """Save one of `KINDS` with these labels; further options go into the configuration."""
    class_name, values, extractor = KINDS[name]
    kind = getattr(transformers, class_name)
    numbered = {
        "id2label": dict(enumerate(labels)),
        "label2id": {x: i for i, x in enumerate(labels)},
    }
    torch.manual_seed(0)
    model = kind(kind.config_class(**{**values, **numbered, **config})).eval()
    last = getattr(model.classifier, "dense", model.classifier)
    torch.nn.init.normal_(last.weight, std=0.2 if last is not model.classifier else 20.0)
    model.save_pretrained(folder)
    features = extractor()
    features.sampling_rate = rate
    features.save_pretrained(folder)
    return folder


def change_json(path: Path, **values: Any) -> None:
    """Replace entries of a JSON file; None removes one."""
    table = {**json.loads(path.read_text()), **values}
    path.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))
