"""Encoders cut off after a layer, and the hidden states that become frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.small_encoders import KINDS, describe, make_encoder, noise, run

from serdemo.nn import checkpoint, encoders
from serdemo.nn.checkpoint_files import WEIGHTS, read_tensors
from serdemo.nn.description import Description
from serdemo.nn.encoders.options import PretrainedOptions
from serdemo.nn.model import HeadOptions
from serdemo.schema.errors import SerdemoError, UsageError

CUTTABLE = [name for name in KINDS if name != "xvector"]
HEADS = HeadOptions(pooling="mean-std", embedding=8, projection=8)


@torch.inference_mode()
@pytest.mark.parametrize("name", CUTTABLE)
def test_a_cut_encoder_has_the_hidden_states_of_the_full_one(
    sources: dict[str, Path], name: str
) -> None:
    waves = noise(9000, 12000)
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    sound = padded, torch.tensor([9000, 12000])
    full, _ = make_encoder(sources, name).hidden_states(*sound)
    for kept in (1, 3):
        cut = make_encoder(sources, name, keep_layers=kept)
        states, mask = cut.hidden_states(*sound)
        assert len(states) == kept + 1
        for state, wanted in zip(states, full, strict=False):
            torch.testing.assert_close(state[mask], wanted[mask], atol=1e-6, rtol=1e-6)
        assert not [n for n in cut.model.state_dict() if f".layers.{kept}." in f".{n}"]
    whole = make_encoder(sources, name, keep_layers=4).hidden_states(*sound)[0]
    torch.testing.assert_close(whole[4], full[4])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["hubert", "xlsr", "xvector", "whisper"])
def test_hidden_states_side_by_side_averaged_or_the_last(
    sources: dict[str, Path], name: str
) -> None:
    wave = noise(9000)
    states, _ = make_encoder(sources, name).hidden_states(wave[0][None], torch.tensor([9000]))
    made = {
        pooling: make_encoder(sources, name, hidden_states=" 3,1", layer_pooling=pooling)
        for pooling in ("concat", "weighted", "last")
    }
    frames = {pooling: run(encoder, wave)[0] for pooling, encoder in made.items()}
    assert made["concat"].width == 2 * made["last"].width == frames["concat"].shape[2]
    torch.testing.assert_close(frames["concat"], torch.cat([states[1], states[3]], -1))
    torch.testing.assert_close(frames["weighted"], (states[1] + states[3]) / 2)
    torch.testing.assert_close(frames["last"], states[3])


@torch.inference_mode()
@pytest.mark.parametrize("name", ["wavlm", "xlsr", "whisper"])
def test_layers_above_the_last_state_used_are_not_computed(
    sources: dict[str, Path], name: str
) -> None:
    encoder = make_encoder(sources, name, hidden_states="2", layer_pooling="last")
    layers = (encoder.model if name == "whisper" else encoder.body.encoder).layers
    layers[2].attention = layers[2].self_attn = None  # would fail if called
    frames, _ = run(encoder, noise(9000))
    assert frames.isfinite().all()
    with pytest.raises((TypeError, AttributeError)):
        encoder.hidden_states(noise(9000)[0][None], torch.tensor([9000]))


def saved(sources: dict[str, Path], name: str, folder: Path, **options: Any) -> Path:
    """A serdemo checkpoint of one of `KINDS`."""
    kind, values, config = describe(sources[name], name, **options)
    description = Description(
        ("angry", "sad"), kind, values, HEADS.to_json(), encoder_config=config
    )
    model = checkpoint.build(description)
    encoders.load_pretrained(model.encoder)
    checkpoint.save(folder, model, description, bits=32)
    return folder


@torch.inference_mode()
@pytest.mark.parametrize("name", ["hubert", "xlsr", "whisper"])
def test_a_cut_checkpoint_is_a_source(sources: dict[str, Path], name: str, tmp_path: Path) -> None:
    folder = saved(sources, name, tmp_path / "three", keep_layers=3)
    wave = noise(9000)[0][None], torch.tensor([9000])
    full = make_encoder(sources, name).hidden_states(*wave)[0]
    for kept, states in ((0, 4), (3, 4), (2, 3)):
        cut = make_encoder({name: folder}, name, keep_layers=kept)
        found = cut.hidden_states(*wave)[0]
        assert len(found) == states
        torch.testing.assert_close(found[-1], full[states - 1], atol=1e-6, rtol=1e-6)
    again = saved({name: folder}, name, tmp_path / "two", keep_layers=2)  # a cut of a cut
    assert len(make_encoder({name: again}, name).states) == 3
    with pytest.raises(UsageError, match="--keep-layers must be at most 2, the layers of this"):
        make_encoder({name: again}, name, keep_layers=3)
    model, _ = checkpoint.load(folder)
    stored = set(model.state_dict()) - set(checkpoint.constants(model))
    assert set(read_tensors(folder / WEIGHTS)) == stored


@torch.inference_mode()
def test_a_bare_file_is_cut(sources: dict[str, Path], tmp_path: Path) -> None:
    full = make_encoder(sources, "whisper")
    bare = {"whisper": tmp_path / "encoder.safetensors"}
    save_file(full.model.state_dict(), bare["whisper"])
    wave = noise(9000)[0][None], torch.tensor([9000])
    cut = make_encoder(bare, "whisper", keep_layers=2, hidden_states="2")
    wanted = full.hidden_states(*wave)[0][2]
    torch.testing.assert_close(cut(*wave)[0], wanted, atol=1e-6, rtol=1e-6)
    state = {k: v for k, v in full.model.state_dict().items() if k != "layers.1.fc1.weight"}
    save_file(state, bare["whisper"])
    with pytest.raises(SerdemoError, match=r"lacks tensor layers\.1\.fc1\.weight"):
        make_encoder(bare, "whisper", keep_layers=2)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("hubert", dict(keep_layers=5), "--keep-layers must be at most 4, .* not 5"),
        ("whisper", dict(keep_layers=2, hidden_states="3"), "--hidden-states 3 is above .* of 2"),
        ("whisper", dict(hidden_states="0,5"), "--hidden-states 5 is above the last of 4"),
        ("wavlm", dict(hidden_states="2;3"), "must be numbers with commas .* not '2;3'"),
        ("wavlm", dict(hidden_states="-1"), "must be numbers with commas"),
        ("wavlm", dict(hidden_states="1,,2"), "must be numbers with commas"),
        ("xvector", dict(keep_layers=2), "--keep-layers does not cut the encoder xvector"),
    ],
)
def test_layers_that_cannot_be_are_refused(
    sources: dict[str, Path], name: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence) as problem:
        describe(sources[name], name, **options)
    assert str(problem.value).count(". ") == 0


@pytest.mark.parametrize("layers", ["3", 0, 9, True])
def test_a_damaged_number_of_layers_is_refused(sources: dict[str, Path], layers: object) -> None:
    kind, options, config = describe(sources["whisper"], "whisper")
    with pytest.raises(UsageError, match=r"cannot have .* of 4 layers"):
        encoders.build(kind, options, {**config, "layers": layers})


def test_options_of_former_checkpoints_mean_the_same() -> None:
    former = PretrainedOptions.from_json({"layer_pooling": "weighted", "freeze": "all"})
    assert former.keep_layers == 0 and former.states_of(6) == tuple(range(7))
