"""To begin with a checkpoint: the run has its encoder, without being told which that is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.small_encoders import save

from serdemo.data import corpora
from serdemo.data.protocols import Fold
from serdemo.data.splits import Split, by_speakers
from serdemo.nn import checkpoint
from serdemo.nn.description import read_description
from serdemo.nn.encoders import load_pretrained
from serdemo.nn.encoders.options import EncoderOptions, PretrainedOptions
from serdemo.runs import crossval
from serdemo.runs.training_run import train
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.training.events import Finished, Stopped
from serdemo.training.options import resolve_recipe
from serdemo.training.recipes.ssl_cnn import SslCnn
from serdemo.training.recipes.supervised import Supervised


@pytest.fixture(scope="module")
def split(corpus_root: Path) -> Split:
    return by_speakers(corpora.load(str(corpus_root)), valid=["cleo"])


@pytest.fixture(scope="module")
def source(
    tiny_values: dict[str, Any], split: Split, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A trained checkpoint with a pretrained encoder whose source is gone."""
    folder = tmp_path_factory.mktemp("begun")
    save("wavlm", folder / "source")
    network = {
        "encoder": "wavlm",
        "source": str(folder / "source"),
        "bottleneck": 8,
        "freeze": "lower-half",
    }
    list(train("supervised", {**tiny_values, **network, "epochs": 1}, split, folder / "run"))
    shutil.rmtree(folder / "source")
    return folder / "run" / "checkpoint"


def test_a_run_has_the_encoder_of_the_checkpoint_it_begins_with(
    source: Path, tiny_values: dict[str, Any], split: Split, tmp_path: Path
) -> None:
    first, description_of_source = checkpoint.load(source)
    values = {**tiny_values, "init_from": str(source), "encoder_learning_rate": 0.0, "epochs": 2}
    stopped = list(train("supervised", values, split, tmp_path / "run", stop_after=0.0))
    assert isinstance(stopped[-1], Stopped)
    ended = list(train("supervised", values, split, tmp_path / "run", resume=True))
    assert isinstance(ended[-1], Finished)
    second, description = checkpoint.load(tmp_path / "run" / "checkpoint")
    assert description.encoder == "wavlm"
    assert description.encoder_config == description_of_source.encoder_config
    assert (description.encoder_options["bottleneck"], description.encoder_options["freeze"]) == (
        8,
        "lower-half",
    )
    frozen = [n for n, p in first.encoder.named_parameters() if not p.requires_grad]
    assert frozen
    state, before = second.encoder.state_dict(), first.encoder.state_dict()
    assert all(torch.equal(state[name], before[name]) for name in frozen)


def test_what_is_given_comes_before_what_the_checkpoint_has(source: Path) -> None:
    recipe, options = resolve_recipe("supervised", {"init_from": str(source), "bottleneck": 4})
    assert recipe.options(EncoderOptions).encoder == "wavlm"
    assert recipe.options(PretrainedOptions).bottleneck == 4
    assert recipe.options(PretrainedOptions).freeze == "lower-half"
    assert options.init_from == str(source)
    assert resolve_recipe("supervised", {})[0].options(EncoderOptions).encoder == "compact"


def test_a_start_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(SerdemoError, match="There is no checkpoint gone"):
        resolve_recipe("supervised", {"init_from": str(tmp_path / "gone")})


def test_a_checkpoint_of_ours_is_a_source_too(source: Path, split: Split) -> None:
    network = {"encoder": "wavlm", "source": str(source)}
    description = Supervised.from_values(network).describe(split)
    model = checkpoint.build(description)
    load_pretrained(model.encoder)
    initial = checkpoint.load(source)[0].encoder.state_dict()
    weights = model.encoder.state_dict()
    names = [name for name in weights if name.startswith("model.")]
    assert names
    assert all(torch.equal(weights[name], initial[name]) for name in names)
    with pytest.raises(UsageError, match="checkpoint has the encoder wavlm, not hubert"):
        Supervised.from_values({**network, "encoder": "hubert"}).describe(split)


def test_whom_a_source_heard_is_not_hidden(
    source: Path, tiny_values: dict[str, Any], corpus_root: Path, tmp_path: Path
) -> None:
    """The source was trained on anna, bert and dora and chosen by cleo."""
    values = {**tiny_values, "encoder": "wavlm", "source": str(source), "epochs": 1}
    split = by_speakers(corpora.load(str(corpus_root)), valid=["bert"], test=["dora"])
    list(train("supervised", values, split, tmp_path / "run"))
    description_of_run = read_description(tmp_path / "run" / "checkpoint")
    speakers = set(description_of_run.trained_on["simple"])
    assert "dora" in speakers
    assert {"bert", "cleo"} <= set(description_of_run.selected_on["simple"])
    (report,) = description_of_run.metrics["test"].values()
    assert report["unseen_speakers"] is False
    given = {"recipe": "supervised", "options": values, "seeds": 1, "command": ""}
    with pytest.raises(UsageError, match="begins with was made with the speaker simple/dora"):
        crossval.run_protocol(given, [Fold("unseen", "", split, "")], tmp_path / "crossval")
    frozen = {"encoder": "wavlm", "source": str(source), "freeze": "all", "pooling": "cnn"}
    with pytest.raises(UsageError, match="made with the speaker simple/dora, who is to be tested"):
        SslCnn.from_values(frozen).describe(split)


def test_a_damaged_checkpoint_as_a_source_is_told(
    source: Path, split: Split, tmp_path: Path
) -> None:
    broken = shutil.copytree(source, tmp_path / "broken")
    (broken / "model.json").write_text("[]")
    with pytest.raises(SerdemoError, match="broken is damaged"):
        Supervised.from_values({"encoder": "wavlm", "source": str(broken)}).describe(split)
