"""Models of transformers: equal to its pipeline, or refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from support.transformers_models import KINDS, LABELS, change_json, save

from serdemo.nn import checkpoint
from serdemo.nn.description import read_description
from serdemo.nn.loading import load_model
from serdemo.nn.transformers_model import TransformersModel, check
from serdemo.schema.errors import SerdemoError

# Of two lengths, and one too short for a frame of some models
WAVES = [
    np.random.default_rng(number).standard_normal(size).astype(np.float32) * 0.1
    for number, size in enumerate((15_900, 9_000, 300))
]


def loaded(folder: Path, label_map: dict[str, str] | None = None) -> TransformersModel:
    model = load_model(folder, label_map=label_map)[0]
    assert isinstance(model, TransformersModel)
    return model


def embeddings(model: TransformersModel, waves: list[Any]) -> torch.Tensor:
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(w) for w in waves], True)
    with torch.inference_mode():
        return model.embed(padded, torch.tensor([len(w) for w in waves]))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name in KINDS:
        save(name, root / name)
    return root


@pytest.fixture
def folder(folders: Path, tmp_path: Path) -> Path:
    """A small HuBERT of the test's own, called `mine`."""
    return save("hubert", tmp_path / "mine")


@pytest.mark.parametrize("name", KINDS)
def test_probabilities_are_those_of_the_pipeline_in_any_batch(name: str, folders: Path) -> None:
    model = loaded(folders / name)
    assert model.labels == ("angry", "happy", "neutral", "sad")
    pipeline = transformers.pipeline(  # type: ignore[call-overload]
        "audio-classification", model=str(folders / name), device="cpu"
    )
    rows = embeddings(model, WAVES)
    assert rows.shape == (3, model.options.embedding)
    shares = model.classify(rows).softmax(1)
    for wave, row in zip(WAVES[:2], shares, strict=False):
        theirs = {each["label"]: each["score"] for each in pipeline(wave.copy(), top_k=4)}
        assert row.tolist() == pytest.approx([theirs[label] for label in LABELS], abs=1e-5)
    assert float((shares[0] - shares[1]).abs().max()) > 1e-3, "the head does not tell clips apart"


def test_outputs_of_one_emotion_are_summed_and_strange_ones_keep_their_names(
    tmp_path: Path,
) -> None:
    folder = save("hubert", tmp_path / "m", ("ang", "hap", "exc", "Contempt", "other"))
    description = read_description(folder)
    assert description.labels == ("angry", "happy", "Contempt", "other")
    assert description.options["labels"]["happy"] == ["hap", "exc"]
    model = loaded(folder)
    rows = embeddings(model, WAVES[:1])
    native = model.head(rows).softmax(1)[0].tolist()
    own = model.classify(rows).softmax(1)[0].tolist()
    assert own == pytest.approx([native[0], native[1] + native[2], native[3], native[4]], abs=1e-6)


def test_labels_that_say_nothing_need_a_map(tmp_path: Path) -> None:
    folder = save("wav2vec2", tmp_path / "m", ("LABEL_0", "LABEL_1", "2"))
    with pytest.raises(SerdemoError, match="LABEL_0 means: give --label-map"):
        read_description(folder)
    names = {"label_0": "angry", "LABEL_1": "contempt", "2": ""}
    assert loaded(folder, names).labels == ("angry", "contempt")
    (folder / "label_map.json").write_text(json.dumps(names))
    assert read_description(folder).labels == ("angry", "contempt")
    assert read_description(folder, {"LABEL_1": "sad"}).labels == ("angry", "sad")


def test_sigmoid_and_regression_are_known_by_the_configuration(tmp_path: Path) -> None:
    multi = save("hubert", tmp_path / "a", problem_type="multi_label_classification")
    assert read_description(multi).output == "sigmoid"
    values = save("hubert", tmp_path / "b", ("Arousal", "Dominance", "Valence"))
    description = read_description(values)
    assert (description.output, description.labels) == ("regression", ())
    assert description.dimensions == ("arousal", "dominance", "valence")
    one = save("hubert", tmp_path / "c", ("intensity",), problem_type="regression")
    assert read_description(one).dimensions == ("intensity",)
    model = loaded(one)
    rows = embeddings(model, WAVES[:1])
    assert model.classify(rows).tolist() == model.head(rows).tolist()


def test_the_head_on_the_mean_frame_is_that_of_its_paper(folders: Path, tmp_path: Path) -> None:
    """audEERING's layout: mean of the frames, a layer, tanh, a layer; computed here by hand."""
    base = transformers.Wav2Vec2Model.from_pretrained(folders / "wav2vec2").eval()
    width = base.config.hidden_size
    generator = torch.Generator().manual_seed(0)
    head = {
        "classifier.dense.weight": torch.randn(width, width, generator=generator),
        "classifier.dense.bias": torch.randn(width, generator=generator),
        "classifier.out_proj.weight": torch.randn(3, width, generator=generator),
        "classifier.out_proj.bias": torch.randn(3, generator=generator),
    }
    folder = tmp_path / "audeering"
    base.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    state = {f"wav2vec2.{name}": v for name, v in load_file(folder / "model.safetensors").items()}
    save_file({**state, **head}, folder / "model.safetensors", {"format": "pt"})
    change_json(
        folder / "config.json",
        architectures=["Wav2Vec2ForSpeechClassification"],
        id2label={"0": "arousal", "1": "dominance", "2": "valence"},
        label2id={"arousal": 0, "dominance": 1, "valence": 2},
        problem_type="regression",
        finetuning_task="wav2vec2_reg",
        pooling_mode=None,
    )
    model = loaded(folder)
    wave = WAVES[0]
    normal = torch.from_numpy((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))[None]
    with torch.inference_mode():
        pooled = base(normal).last_hidden_state.mean(1)
        inner = torch.tanh(
            pooled @ head["classifier.dense.weight"].T + head["classifier.dense.bias"]
        )
        expected = inner @ head["classifier.out_proj.weight"].T + head["classifier.out_proj.bias"]
    rows = embeddings(model, [wave])
    assert rows[0].tolist() == pytest.approx(pooled[0].tolist(), abs=1e-5)
    assert model.classify(rows)[0].tolist() == pytest.approx(expected[0].tolist(), abs=1e-4)


def test_the_rate_and_length_are_those_of_the_extractor(folders: Path, tmp_path: Path) -> None:
    slow = loaded(save("wav2vec2", tmp_path / "slow", rate=8_000))
    plain = loaded(folders / "wav2vec2")
    tone = np.sin(np.arange(16_000) * 0.1).astype(np.float32)
    half = np.sin(np.arange(8_000) * 0.2).astype(np.float32)
    assert embeddings(slow, [tone])[0].tolist() == pytest.approx(
        embeddings(plain, [half])[0].tolist(), abs=0.02
    )
    assert [loaded(folders / n).max_s for n in ("wav2vec2", "whisper")] == [30.0, 1.0]
    assert loaded(folders / "audio-spectrogram-transformer").max_s == pytest.approx(1.28)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def quantized(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    name = "hubert.encoder.layers.0.attention.k_proj.weight"
    save_file({**state, name: state[name].to(torch.int8)}, folder / "model.safetensors")


def tensors(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        state = {**load_file(folder / "model.safetensors"), **changes}
        kept = {name: value for name, value in state.items() if value is not None}
        save_file(kept, folder / "model.safetensors", {"format": "pt"})

    return change


def config(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change_json(folder / "config.json", **values)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (pickled, "holds its weights as a pickle"),
    "code": (config(auto_map={"AutoModel": "x.Y"}), "brings Python code of its own"),
    "extractor's code": (
        lambda folder: change_json(folder / "preprocessor_config.json", auto_map={"A": "x.Y"}),
        "brings Python code of its own",
    ),
    "words": (config(architectures=["HubertForCTC"]), "does not classify sound"),
    "encoder": (config(architectures=["HubertModel"]), "does not classify sound"),
    "text": (
        config(architectures=["BertForSequenceClassification"], model_type="bert"),
        "'bert', for which transformers .* has no audio classification",
    ),
    "unknown type": (config(architectures=None, model_type="future"), "of type 'future'"),
    "quantised": (config(quantization_config={"bits": 4}), "is quantised"),
    "integers": (quantized, "weights of type I8"),
    "no extractor": (lambda f: (f / "preprocessor_config.json").unlink(), "no preprocessor_config"),
    "another extractor": (
        lambda f: transformers.WhisperFeatureExtractor().save_pretrained(f),
        "is of another model; that makes input_features",
    ),
    "missing": (tensors(**{"projector.bias": None}), "lacks tensor projector.bias"),
    "unexpected": (tensors(more=torch.zeros(2)), "unexpected tensor more"),
    "shape": (tensors(**{"projector.bias": torch.zeros(3)}), r"projector.bias is \(3,\)"),
    "not finite": (tensors(**{"projector.bias": torch.full((16,), torch.nan)}), "not finite"),
    "large": (config(hidden_size=150_000), "mine"),
    "larger": (config(num_hidden_layers=10**9), "beyond measure"),
    "labels": (config(id2label={"0": "a", "7": "b"}), "id2label"),
    "no object": (lambda folder: (folder / "config.json").write_text("[]"), "no JSON object"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
    "cut off": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:900]
        ),
        "damaged",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_trusted_is_one_sentence(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    check(folder)
    capfd.readouterr()
    change, sentence = FAULTS[name]
    change(folder)
    with pytest.raises(SerdemoError, match=sentence) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dropped", [True, False])
def test_tensors_of_training_alone_may_lack_or_be_left(dropped: bool, folder: Path) -> None:
    expected = embeddings(loaded(folder), WAVES)
    if dropped:
        tensors(**{"hubert.masked_spec_embed": None})(folder)
    else:
        config(mask_time_prob=0.0, mask_feature_prob=0.0)(folder)
        tensors(**{"quantizer.codevectors": torch.zeros(2), "project_q.bias": torch.ones(1)})(
            folder
        )
    assert torch.equal(embeddings(loaded(folder), WAVES), expected)


def test_a_model_of_transformers_is_not_trained(folder: Path) -> None:
    with pytest.raises(SerdemoError, match="mine is a model of transformers"):
        checkpoint.load(folder)
