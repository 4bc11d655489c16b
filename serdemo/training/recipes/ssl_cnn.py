"""Recipe `ssl_cnn`: features of a self-supervised encoder, seen by a CNN (arXiv 2309.12714).

| paper says | here | why |
|---|---|---|
| clips of 7 s at 16 kHz, padded with zeros | the same: the first 7 s (`--image-seconds`); a longer clip is answered by the mean of its windows of 7 s | what comes later counts too |
| features of wav2vec 2.0 XLSR-53, 349 x 1024 | the last hidden layer of any encoder of the table, frozen; XLSR-53 unless another is named | which layer is not stated; its question of other encoders |
| reshaped to 300 x 300 | bilinear interpolation, in half precision on disk | not stated how; a quarter of the frames' size |
| a CNN of 7 convolutions, batch norm, max pooling, dropout | 32-32-64-64-128-128-256 filters of 3 x 3, each with batch norm and ReLU, pooling and dropout (0.2) after each pair | counts, sizes and rates are not stated |
| (what follows them is not stated) | the mean over time, each channel with batch norm, scaled to length 1, one linear layer to the embedding, one to the classes | features are no pixels: each keeps its place, where a mean over both axes would mix them |
| (how features are scaled is not stated) | each image to mean 0 and variance 1, then each feature by batch norm | encoders' features differ a hundredfold in size |
| categorical cross-entropy, Adam at 1e-3, batches of 4 | the same; AdamW without decay is Adam. The rate rises over 5 % of the steps and falls as a cosine | the loop of all recipes |
| batches as they come | emotions in balance | the score is the mean of the recalls |
| accuracy on 5 emotions of ShEMO, beside SVM and EfficientNet | UAR and accuracy on held-out speakers; `--baselines` trains both, and what answers the commonest emotion, on the same clips | clips of one speaker on both sides flatter |

Its first experiments: `--encoder mfcc`, and `--cnn-layers` 3, 5 or 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from serdemo.data.array_cache import CacheOptions
from serdemo.data.dataset import Batch
from serdemo.data.sampling import BatchOptions
from serdemo.data.splits import Split
from serdemo.nn import checkpoint, encoders, losses, provenance
from serdemo.nn.checkpoint_files import SMALLEST, bundled_checkpoint
from serdemo.nn.description import Description, read_description
from serdemo.nn.encoders.conformer import ConformerOptions
from serdemo.nn.encoders.options import PRETRAINED, EncoderOptions, PretrainedOptions
from serdemo.nn.image_pooling import EfficientNet, torchvision
from serdemo.nn.model import HeadOptions, Model
from serdemo.schema.errors import UsageError
from serdemo.schema.options import Options, Value, option
from serdemo.training.recipes.base import Recipe, Stage, Validation
from serdemo.training.recipes.stages import ClipsStage, labelled_clips
from serdemo.training.recipes.validation import ClassOptions, validate

XLSR = "facebook/wav2vec2-large-xlsr-53"
SPECTROGRAM: Mapping[str, Value] = {  # EfficientNet's own size of an image
    "encoder": "mel",
    "source": "",
    "pooling": "efficientnet",
    "image_side": 224,
    "batch_size": 16,
    "learning_rate": 5e-4,
    "init_from": "",
    "baselines": False,
}
VALID_BATCH_SIZE = 16  # images per forward pass


@dataclass(frozen=True)
class SslCnnOptions(Options):
    """How the network is trained, and what it is compared with."""

    epochs: int = option(30, "passes over the training clips", low=1, high=10_000, advanced=False)
    learning_rate: float = option(1e-3, "peak learning rate", low=1e-7, high=1.0, advanced=False)
    baselines: bool = option(
        False, "score SVM, EfficientNet and the commonest emotion on the same clips", advanced=False
    )
    imagenet: bool = option(True, "begin an EfficientNet with the weights learnt on ImageNet")


class ImageStage(ClipsStage):
    """The one stage: the network on cached images of the frozen encoder's features."""

    name = "cnn"

    def __init__(self, recipe: SslCnn, model: Model, split: Split, seed: int) -> None:
        options = recipe.options(SslCnnOptions)
        self.epochs, rate = options.epochs, options.learning_rate
        train, valid = labelled_clips(recipe, split, model.labels)
        super().__init__(recipe, model, train, valid, seed, learning_rate=rate)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All but the encoder."""
        return [self.group(self.model.pooling, self.model.embedding, self.model.classifier)]

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Cross-entropy."""
        embedding, batch = self.embed(batch)
        loss = losses.cross_entropy(self.model.classify(embedding), batch.emotion)
        return loss, {"cross_entropy": loss.item()}

    def validate(self, model: Model) -> Validation | None:
        """Recall of the emotions on the validation speakers."""
        return validate(model, self.valid, VALID_BATCH_SIZE)


class SslCnn(Recipe):
    """The recipe of the table."""

    name: ClassVar[str] = "ssl_cnn"
    summary: ClassVar[str] = "A CNN on the features of a frozen encoder (arXiv 2309.12714)."
    groups: ClassVar[tuple[type[Options], ...]] = (
        SslCnnOptions,
        CacheOptions,
        ClassOptions,
        BatchOptions,
        *encoders.OPTION_GROUPS,
        HeadOptions,
    )
    defaults: ClassVar[Mapping[str, Value]] = {
        "encoder": "wav2vec2",
        "layer_pooling": "last",
        "freeze": "all",
        "pooling": "cnn",
        "batch_size": 4,
        "weight_decay": 0.0,
        "ema_decay": 0.0,  # batch norm's statistics are those of the weights themselves
    }

    source_encoders: ClassVar[tuple[str, ...]] = (*PRETRAINED, "compact")

    @property
    def origin(self) -> Path:
        """The checkpoint whose frozen encoder `compact` means: `--source`, or the shipped one."""
        source = self.options(PretrainedOptions).source
        return Path(source) if source else bundled_checkpoint(SMALLEST)

    @property
    def baseline_runs(self) -> Mapping[str, Mapping[str, Value]]:
        """With `--baselines`, EfficientNet on the log-mel spectrogram."""
        if not self.options(SslCnnOptions).baselines:
            return {}
        return {
            "efficientnet-imagenet": {**SPECTROGRAM, "imagenet": True},
            "efficientnet-scratch": {**SPECTROGRAM, "imagenet": False},
        }

    @property
    def caches_features(self) -> bool:
        """Always: it trains on cached images."""
        return True

    def describe(self, split: Split) -> Description:
        """The model; raises UsageError, too, for an encoder trained on a speaker to be tested."""
        description = super().describe(split)
        if self._is_compact:
            description = provenance.merge(description, read_description(self.origin))
        else:
            description = provenance.include_source(description)
        provenance.refuse_overlap(description, "The frozen encoder", split)
        return description

    def describe_encoder(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The paper's encoder unless another is named, or that of a checkpoint."""
        if not self._is_compact:
            return encoders.describe(self._options)
        source, given = read_description(self.origin), self.options(ConformerOptions)
        usual = ConformerOptions()
        if given != usual and given.to_json() != {**usual.to_json(), **source.encoder_options}:
            raise UsageError(
                f"The encoder of {source.name} is taken as it is: leave its size and dropout away."
            )
        return source.encoder, dict(source.encoder_options), dict(source.encoder_config)

    @property
    def _is_compact(self) -> bool:
        return self.options(EncoderOptions).encoder == "compact"

    def _options(self, kind: type[Any]) -> Any:
        """Options as `options` gives them; without a source wav2vec 2.0 is the paper's."""
        group = self.options(kind)
        is_wav2vec2 = self.options(EncoderOptions).encoder == "wav2vec2"
        if is_wav2vec2 and isinstance(group, PretrainedOptions) and not group.source:
            return replace(group, source=XLSR)
        return group

    def check(self, split: Split) -> None:
        """Raise UsageError for options that contradict the method."""
        pretrained, heads = self.options(PretrainedOptions), self.options(HeadOptions)
        if not heads.image:
            raise UsageError("--pooling must be cnn or efficientnet for ssl_cnn.")
        if heads.pooling == "efficientnet":
            torchvision()  # where it is missing, raise before a run begins
        if pretrained.freeze != "all" or pretrained.bottleneck or pretrained.lora_rank:
            raise UsageError(
                "ssl_cnn trains nothing of its encoder: leave --freeze, --bottleneck and --lora-rank"
                " away, or take the recipe supervised with --pooling cnn."
            )
        batching, usual = self.options(BatchOptions), BatchOptions()
        if (batching.min_crop, batching.max_crop) != (usual.min_crop, usual.max_crop):
            raise UsageError(
                "ssl_cnn takes the beginning of every clip: give --image-seconds in place of"
                " --min-crop and --max-crop."
            )

    def labels(self, split: Split) -> tuple[str, ...]:
        """The classes of the training clips."""
        return self.options(ClassOptions).labels(split.train)

    def init_weights(self, model: Model) -> None:
        """The encoder's weights, and ImageNet's where `--imagenet` asks for them."""
        if self._is_compact:
            source, _ = checkpoint.load(self.origin)
            model.encoder.load_state_dict(source.encoder.state_dict())
        else:
            super().init_weights(model)
        if isinstance(model.pooling, EfficientNet) and self.options(SslCnnOptions).imagenet:
            model.pooling.load_imagenet()

    def stages(self, model: Model, split: Split, seed: int) -> list[Stage]:
        """The one stage."""
        return [ImageStage(self, model, split, seed)]
