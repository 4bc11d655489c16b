"""Frames as square images, and the two-dimensional networks that turn those into one vector.

Each is a pooling of `serdemo.nn.model`: (B, F, D) frames and their (B, F) mask -> (B, width).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from serdemo.schema.errors import SerdemoError
from serdemo.schema.libraries import install_command

FILTERS = (32, 32, 64, 64, 128, 128, 256)
DEPTHS = (3, 5, 7)
MIN_EFFICIENTNET_SIDE = (
    64  # side that leaves EfficientNet, which halves it five times, more than one place
)


def pad_or_trim(wave: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(B, T) clips of (B,) samples, cut to `size` samples or padded with zeros; all count as sound."""
    wave = F.pad(wave[:, :size], (0, max(0, size - wave.shape[1])))
    inside = torch.arange(size, device=wave.device)[None, :] < lengths[:, None]
    return wave * inside, torch.full_like(lengths, size)


class ImagePooling(nn.Module):
    """Each clip's frames stretched over an image of `side` x `side`, then `read`."""

    width: int

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def image(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, F, D) frames and (B, F) mask -> (B, S, S) float32, time down, features across.

        Bilinear, of each clip's own frames alone.
        """
        counts = mask.sum(1).clamp_min(1).tolist()
        size = (self.side, self.side)
        rows = [
            F.interpolate(own[None, None, :count].float(), size, mode="bilinear")[0, 0]
            for own, count in zip(frames, counts, strict=True)
        ]
        return torch.stack(rows)

    def read(self, images: Tensor) -> Tensor:
        """(B, S, S) images -> (B, width)."""
        raise NotImplementedError

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.read(self.image(frames, mask))


class ImageCNN(ImagePooling):
    """3, 5 or 7 convolutions of 3 x 3 with batch norm and ReLU, max pooling after each pair.

    What comes out is the mean over time. The other axis keeps its places, (B, channels x places):
    unlike pixels, a feature is another one at another place. Each channel's means are brought to
    mean 0 and variance 1 over clips and places, which four clips are enough for, and all of them to a
    vector of length 1 or so, as a step of the layer behind grows with their number.
    """

    def __init__(self, side: int, layers: int, dropout: float) -> None:
        super().__init__(side)
        # Encoders' features differ a hundredfold in size; each is brought to unit variance.
        self.level = nn.BatchNorm1d(side, affine=False)
        parts: list[nn.Module] = []
        channels, places = 1, side
        for number, filters in enumerate(FILTERS[:layers], start=1):
            parts += [
                nn.Conv2d(channels, filters, 3, padding=1, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(inplace=True),
            ]
            channels = filters
            if number % 2 == 0:
                parts += [nn.MaxPool2d(2), nn.Dropout2d(dropout)]
                places //= 2
        self.layers = nn.Sequential(*parts)
        self.dropout = nn.Dropout(dropout)
        self.width = channels * places
        self.means = nn.BatchNorm1d(channels, affine=False)

    def read(self, images: Tensor) -> Tensor:
        images = F.layer_norm(images, images.shape[1:])  # bounded, whatever the encoder's scale
        x = self.level(images.transpose(1, 2)).transpose(1, 2)[:, None]
        if x.device.type in ("cpu", "cuda"):
            x = x.contiguous(memory_format=torch.channels_last)  # half the time
        means = self.means(self.layers(x).mean(2).float()).flatten(1)
        dropped: Tensor = self.dropout(means / math.sqrt(self.width))
        return dropped


class EfficientNet(ImagePooling):
    """EfficientNet-B0 (Tan and Le, arXiv 1905.11946) of torchvision, the image in three channels.

    Raises SerdemoError where torchvision is not installed.
    """

    def __init__(self, side: int, dropout: float) -> None:
        super().__init__(side)
        whole = torchvision().efficientnet_b0(weights=None)
        self.layers: nn.Module = whole.features
        self.dropout = nn.Dropout(dropout)
        self.width = int(whole.classifier[-1].in_features)

    def load_imagenet(self) -> None:
        """Take the weights learnt on ImageNet, which torchvision fetches and checks.

        Raises SerdemoError when they cannot be had.
        """
        try:
            weights = torchvision().EfficientNet_B0_Weights.IMAGENET1K_V1
            state = weights.get_state_dict(progress=False, check_hash=True)
        except (OSError, RuntimeError) as problem:
            raise SerdemoError(
                "EfficientNet's ImageNet weights could not be fetched: connect to the network, or"
                " begin without them by --no-imagenet."
            ) from problem
        inside = "features."
        self.layers.load_state_dict(
            {k.removeprefix(inside): v for k, v in state.items() if k.startswith(inside)}
        )

    def read(self, images: Tensor) -> Tensor:
        images = F.layer_norm(images, images.shape[1:])  # as ImageNet's own: mean 0, variance 1
        x = images[:, None].expand(-1, 3, -1, -1)
        found: Tensor = self.dropout(self.layers(x).mean((2, 3)))
        return found


def torchvision() -> Any:
    """The models of the optional package torchvision; raises SerdemoError where it is missing."""
    try:
        import torchvision.models as models
    except (ImportError, RuntimeError) as problem:  # RuntimeError: built for another torch
        raise SerdemoError(
            "--pooling efficientnet needs the package torchvision that fits torch:"
            f" {install_command('torch', 'torchvision')}"
        ) from problem
    return models
