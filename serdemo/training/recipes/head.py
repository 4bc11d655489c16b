"""Recipe `head`: a new head on the lower layers of a frozen pretrained encoder, in minutes.

Mean and standard deviation over time of two hidden states, computed once for each clip and some
augmented crops of it, one linear layer to the embedding and one to the classes. The lower layers
of Whisper tell emotions of unseen speakers and languages apart better than its last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from serdemo.nn.checkpoint_files import ENCODER_CHECKPOINT
from serdemo.schema.options import Value
from serdemo.training.recipes.supervised import Supervised


class Head(Supervised):
    """The recipe `head`."""

    name: ClassVar[str] = "head"
    summary: ClassVar[str] = "2 minutes: a head on a pretrained encoder."
    defaults: ClassVar[Mapping[str, Value]] = {
        "encoder": "whisper",
        "source": ENCODER_CHECKPOINT,
        "freeze": "all",
        "keep_layers": 3,
        "hidden_states": "2,3",
        "layer_pooling": "concat",
        "pooling": "mean-std",
        "embedding": 256,
        "head_dropout": 0.3,
        "contrastive": 0.0,
        "cache_features": True,
        "views": 2,
        "max_crop": 3.0,
        "learning_rate": 2e-3,
        "epochs": 15,
        "ema_decay": 0.99,
    }
