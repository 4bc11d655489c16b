"""Recipe `head`: a head on the lower layers of a frozen encoder, from the shipped checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_encoders import describe

from serdemo.data.splits import Split
from serdemo.nn import checkpoint, checkpoint_files, encoders
from serdemo.nn.checkpoint_files import ENCODER_CHECKPOINT
from serdemo.nn.description import Description
from serdemo.nn.model import HeadOptions
from serdemo.runs import training_run
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import Finished
from serdemo.training.options import resolve_recipe
from serdemo.training.recipes.head import Head


@pytest.fixture
def base(sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint of a small Whisper cut after layer 3, in place of the shipped one."""
    cut = {"keep_layers": 3, "hidden_states": "2,3", "layer_pooling": "concat"}
    kind, options, config = describe(sources["whisper"], "whisper", **cut)
    heads = HeadOptions(pooling="mean-std", embedding=8, projection=8)
    description = Description(
        ("angry", "happy"),
        kind,
        options,
        heads.to_json(),
        encoder_config=config,
        trained_on={"ravdess": ["01"]},
    )
    model = checkpoint.build(description)
    encoders.load_pretrained(model.encoder)
    checkpoint.save(tmp_path / "shipped", model, description, bits=32)
    monkeypatch.setattr(
        checkpoint_files, "bundled_checkpoint", lambda name: {"base": tmp_path / "shipped"}[name]
    )
    return tmp_path / "shipped"


def test_a_head_on_the_shipped_encoder(
    base: Path, tiny_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    own = {name: tiny_values[name] for name in ("device", "precision", "workers")}
    values = {**own, "epochs": 2, "embedding": 16, "cache": str(tmp_path / "cache")}
    events = list(training_run.train("head", values, split, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    model, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    shipped, _ = checkpoint.load(base)
    assert description.encoder_options["source"] == ENCODER_CHECKPOINT
    assert description.trained_on["ravdess"] == ["01"]
    assert model.encoder.depth == 3 and model.embedding.in_features == 4 * 64
    for name, value in shipped.encoder.state_dict().items():
        torch.testing.assert_close(model.encoder.state_dict()[name], value, atol=1e-3, rtol=1e-3)
    cached = list((tmp_path / "cache").glob("statistics-*/*.f32.npy"))
    assert len(cached) == 3 * len(split.train) + len(split.valid) + len(split.test)


def test_the_head_of_a_checkpoint_is_trained_on_with_its_encoder_frozen(
    base: Path, split: Split, tmp_path: Path
) -> None:
    description = checkpoint.read_description(base)
    assert description.encoder_options["freeze"] == "features"
    recipe, _ = resolve_recipe("head", {"init_from": str(base), "cache": str(tmp_path)})
    model = checkpoint.build(recipe.describe(split))
    assert not list(model.encoder.trainable())  # type: ignore[operator]
    recipe, _ = resolve_recipe("supervised", {"init_from": str(base), "pooling": "mean-std"})
    assert recipe.describe(split).encoder_options["freeze"] == "features"


def test_without_the_shipped_encoder_it_says_so(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Path:
        raise SerdemoError(f"This installation holds no checkpoint {name!r}.")

    monkeypatch.setattr(checkpoint_files, "bundled_checkpoint", missing)
    with pytest.raises(SerdemoError, match="holds no checkpoint 'base'"):
        Head.from_values({}).describe(split)


def test_another_encoder_than_that_of_the_source_is_refused(base: Path, split: Split) -> None:
    with pytest.raises(UsageError, match="has the encoder whisper, not wavlm"):
        Head.from_values({"encoder": "wavlm"}).describe(split)
