"""Untrained checkpoint of a pretrained encoder, whose embedding is the mean of its frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from serdemo.data.array_cache import digest
from serdemo.nn import checkpoint, encoders
from serdemo.nn.description import Description, strip_folders
from serdemo.nn.encoders.options import EncoderOptions, PretrainedOptions
from serdemo.nn.model import HeadOptions


def raw_encoder_embeddings(kind: str, source: str, folder: Path) -> Path:
    """Write a checkpoint of a pretrained encoder under `folder` and return its folder.

    The embedding (E,), as wide as the encoder, is the mean over time and layers. `source` is a hub
    id, a folder or a file; empty for the default of the `kind`.
    """
    options: dict[type[Any], Any] = {
        EncoderOptions: EncoderOptions(encoder=kind),
        PretrainedOptions: PretrainedOptions(source=source, layer_pooling="weighted", freeze="all"),
    }
    encoder, encoder_options, config = encoders.describe(lambda group: options[group])
    network = encoders.build(encoder, encoder_options, config)
    encoders.load_pretrained(network)
    width: int = network.width  # type: ignore[assignment]
    description = Description(
        labels=(),
        encoder=encoder,
        encoder_options=encoder_options,
        head_options=HeadOptions(pooling="mean", embedding=width).to_json(),
        encoder_config=config,
        name=kind,
    )
    model = checkpoint.build(description)
    model.encoder.load_state_dict(network.state_dict())
    with torch.no_grad():  # identity: the embedding is the pooled mean itself
        nn.init.eye_(model.embedding.weight)
        nn.init.zeros_(model.embedding.bias)
        for parameter in model.projection.parameters():
            nn.init.zeros_(parameter)
    path = folder / f"encoder-{kind}-{digest(source)[:16]}"
    checkpoint.save(path, model, strip_folders(description))
    return path
