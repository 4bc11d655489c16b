"""A pretrained encoder as it is, made a checkpoint that embeds: the mean of its frames."""

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
    """The checkpoint folder, under `folder`, of a pretrained encoder of a kind.

    An embedding is the mean over time of the plain mean of all its layers, (E,) as wide as the
    encoder. `source` is a hub id, a folder or a file, the kind's usual id where empty. Raises
    SerdemoError when it cannot be read or the folder cannot be written.
    """
    options = {EncoderOptions: EncoderOptions(encoder=kind), PretrainedOptions: _read(source)}
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
    with torch.no_grad():  # nothing stands between the mean and who asks for it
        nn.init.eye_(model.embedding.weight)
        nn.init.zeros_(model.embedding.bias)
        for parameter in model.projection.parameters():
            nn.init.zeros_(parameter)
    made = folder / f"encoder-{kind}-{digest(source)[:16]}"
    checkpoint.save(made, model, strip_folders(description))
    return made


def _read(source: str) -> Any:
    """Every layer alike, nothing trained."""
    return PretrainedOptions(source=source, layer_pooling="weighted", freeze="all")
