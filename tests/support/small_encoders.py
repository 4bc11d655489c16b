"""Small pretrained encoders of random weights, as transformers' own classes save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from serdemo.nn import encoders
from serdemo.nn.encoders.options import PretrainedOptions

SMALL: dict[str, Any] = dict(
    hidden_size=24,
    num_hidden_layers=4,
    num_attention_heads=2,
    intermediate_size=32,
    conv_dim=(16, 16),
    conv_kernel=(10, 4),
    conv_stride=(40, 8),
    num_conv_pos_embeddings=8,
    num_conv_pos_embedding_groups=2,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    activation_dropout=0.0,
    feat_proj_dropout=0.0,
    layerdrop=0.0,
)
TDNN: dict[str, Any] = dict(
    tdnn_dim=(16, 16, 24),
    tdnn_kernel=(3, 2, 1),
    tdnn_dilation=(1, 2, 1),
    xvector_output_dim=8,
    classifier_proj_size=16,
    use_weighted_layer_sum=True,
)
WHISPER: dict[str, Any] = dict(
    d_model=64,
    encoder_layers=4,
    encoder_attention_heads=1,
    encoder_ffn_dim=96,
    decoder_layers=1,
    decoder_attention_heads=1,
    decoder_ffn_dim=16,
    num_mel_bins=20,
    max_source_positions=50,
    vocab_size=40,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
    dropout=0.0,
)
LAYER_NORM = dict(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True)
KINDS = {
    "wavlm": ("wavlm", transformers.WavLMModel, SMALL),
    "hubert": ("hubert", transformers.HubertModel, SMALL),
    "hubert-large": ("hubert", transformers.HubertModel, SMALL | LAYER_NORM),
    "wav2vec2": ("wav2vec2", transformers.Wav2Vec2Model, SMALL),
    "xlsr": ("wav2vec2", transformers.Wav2Vec2Model, SMALL | LAYER_NORM),
    "xvector": ("xvector", transformers.WavLMForXVector, SMALL | TDNN),
    "whisper": ("whisper", transformers.WhisperModel, WHISPER),
}


def save_all(folder: Path) -> dict[str, Path]:
    """Save all of `KINDS`, each in a folder of its name."""
    return {name: save(name, folder / name) for name in KINDS}


def save(name: str, folder: Path) -> Path:
    """Save one of `KINDS` by `save_pretrained`."""
    _, kind, values = KINDS[name]
    torch.manual_seed(0)
    kind(kind.config_class(**values)).save_pretrained(folder)
    return folder


def describe(source: Path, name: str, **options: Any) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name, options and configuration of one of `KINDS`, read from `source`."""
    kind = KINDS[name][0]
    values = PretrainedOptions(source=str(source), **options)
    return kind, values.to_json(), encoders.ENCODERS[kind].configure(values)


def make_encoder(sources: dict[str, Path], name: str, **options: Any) -> Any:
    """Encoder of one of `KINDS` with the weights of its source, in evaluation mode."""
    torch.manual_seed(1)
    encoder = encoders.build(*describe(sources[name], name, **options))
    encoders.load_pretrained(encoder)
    return encoder.eval()


def noise(*sizes: int) -> list[torch.Tensor]:
    """Clips of white noise of these lengths, the same each time."""
    return [torch.randn(n, generator=torch.Generator().manual_seed(n)) * 0.1 for n in sizes]


def run(encoder: Any, waves: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames and mask of clips as one padded batch."""
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    frames, mask = encoder(padded, torch.tensor([len(wave) for wave in waves]))
    return frames, mask
