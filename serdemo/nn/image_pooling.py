"""Image pooling: frames resized to square images, and 2-D networks that embed them.

Each class is a pooling of `serdemo.nn.model`: frames (B, F, D), mask (B, F) -> (B, width).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import install_command

CNN_FILTERS = (32, 32, 64, 64, 128, 128, 256)
CNN_LAYERS = (3, 5, 7)
MIN_EFFICIENTNET_SIDE = 64  # five halvings must leave more than one position


class ImagePooling(nn.Module, ABC):
    """Resizes each clip's frames to an image of `side` x `side`; `forward_image` embeds it."""

    width: int

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def image(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Images (B, S, S) float32 of the valid frames (B, F, D), bilinear: time down, features across."""
        size = (self.side, self.side)
        if torch.compiler.is_exporting():  # all clips have the length of an image
            return F.interpolate(frames[:, None].float(), size, mode="bilinear")[:, 0]
        counts = mask.sum(1).clamp_min(1).tolist()
        rows = [
            F.interpolate(row[None, None, :count].float(), size, mode="bilinear")[0, 0]
            for row, count in zip(frames, counts, strict=True)
        ]
        return torch.stack(rows)

    @abstractmethod
    def forward_image(self, images: Tensor) -> Tensor:
        """Embed images (B, S, S) -> (B, width)."""

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.forward_image(self.image(frames, mask))


class ImageCNN(ImagePooling):
    """3, 5 or 7 convolutions of 3 x 3 with batch norm and ReLU, max pooling after each pair.

    The output is the mean over time, (B, channels x bins): unlike the pixels of a photograph,
    features at different positions mean different things. Each channel is normalised over clips
    and bins, and the vector scaled to length about 1: the next layer's gradient grows with its width.
    """

    def __init__(self, side: int, layers: int, dropout: float) -> None:
        super().__init__(side)
        # Features of one encoder differ a hundredfold in scale; each gets unit variance.
        self.input_norm = nn.BatchNorm1d(side, affine=False)
        parts: list[nn.Module] = []
        channels, bins = 1, side
        for number, filters in enumerate(CNN_FILTERS[:layers], start=1):
            parts += [
                nn.Conv2d(channels, filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(inplace=True),
            ]
            channels = filters
            if number % 2 == 0:
                parts += [nn.MaxPool2d(2), nn.Dropout2d(dropout)]
                bins //= 2
        self.layers = nn.Sequential(*parts)
        self.dropout = nn.Dropout(dropout)
        self.width = channels * bins
        self.output_norm = nn.BatchNorm1d(channels, affine=False)

    def forward_image(self, images: Tensor) -> Tensor:
        images = F.layer_norm(images, images.shape[1:])  # bounded, whatever the encoder's scale
        x = self.input_norm(images.transpose(1, 2)).transpose(1, 2)[:, None]
        if x.device.type in ("cpu", "cuda"):
            x = x.contiguous(memory_format=torch.channels_last)  # half the time
        means = self.output_norm(self.layers(x).mean(2).float()).flatten(1)
        embedding: Tensor = self.dropout(means / math.sqrt(self.width))
        return embedding


class EfficientNet(ImagePooling):
    """EfficientNet-B0 (Tan and Le, arXiv 1905.11946) of torchvision; the image is repeated in 3 channels.

    Raises SerdemoError where torchvision is not installed.
    """

    def __init__(self, side: int, dropout: float) -> None:
        super().__init__(side)
        network = torchvision().efficientnet_b0(weights=None)
        self.layers: nn.Module = network.features
        self.dropout = nn.Dropout(dropout)
        self.width = int(network.classifier[-1].in_features)

    def load_imagenet(self) -> None:
        """Load ImageNet weights, downloaded by torchvision; raises SerdemoError where that fails."""
        try:
            weights = torchvision().EfficientNet_B0_Weights.IMAGENET1K_V1
            state = weights.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as problem:
            raise SerdemoError(
                "EfficientNet's ImageNet weights could not be fetched: connect to the network, or"
                " begin without them by --no-imagenet."
            ) from problem
        prefix = "features."
        self.layers.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )

    def forward_image(self, images: Tensor) -> Tensor:
        images = F.layer_norm(images, images.shape[1:])  # as ImageNet's own: mean 0, variance 1
        x = images[:, None].expand(-1, 3, -1, -1)
        embedding: Tensor = self.dropout(self.layers(x).mean((2, 3)))
        return embedding


def torchvision() -> Any:
    """Models of the optional package torchvision; raises SerdemoError where it is missing."""
    try:
        import torchvision.models as models
    except (ImportError, RuntimeError) as problem:  # RuntimeError: built for another torch
        raise SerdemoError(
            "--pooling efficientnet needs the package torchvision that fits torch:"
            f" {install_command('torch', 'torchvision')}"
        ) from problem
    return models
