"""Option names and values from before version 0.2.0, which are read for one release.

Former names occur as flags, in `config.json` and `job.json` of runs, in the protocol of a
cross-validation and in checkpoints of format 1. This table is the only place that knows them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from serdemo.schema.errors import UsageError

RENAMED: Mapping[str, str] = {
    "average": "ema_decay",
    "band": "bandlimit",
    "corrupt": "corruption",
    "crop_high": "max_crop",
    "crop_low": "min_crop",
    "frames": "feature_weight",
    "geometry": "similarity_weight",
    "hear_once": "cache_features",
    "hidden": "classifier_width",
    "mix": "layer_pooling",
    "positives": "cross_corpus_positives",
    "reduce": "bottleneck",
    "softened": "kd_weight",
    "softening": "kd_temperature",
    "start": "init_from",
}
RENAMED_VALUES: Mapping[str, Mapping[str, bool | str]] = {  # by the present name
    "cross_corpus_positives": {"across": True, "all": False},
    "freeze": {"lower": "lower-half"},
}
REMOVED: Mapping[str, type] = {  # measured and found of no use; the type of the former value
    "adversary": str,
    "adversary_weight": float,
    "mixup": float,
    "priors": bool,
}
MOVED: Mapping[str, tuple[str, ...]] = {"speaker_clusters": ("clusters_from", "corrupt")}
MOVED_TO = "the comparison of clusters moved to `serdemo bench papers`"  # of MOVED, by recipe


def current_options(values: Mapping[str, Any], declared: Collection[str] = ()) -> dict[str, Any]:
    """A flat table of options under their present names, with their present values.

    A name in `declared` is present by definition. Options that no longer exist are dropped. Raises
    UsageError where an option is given under both of its names.
    """
    current: dict[str, Any] = {}
    for name, value in values.items():
        present = name if name in declared else RENAMED.get(name, name)
        if present in REMOVED and present not in declared:
            continue
        if present != name and present in values:
            raise UsageError(
                f"{flag(name)} is the former name of {flag(present)}; give one of them, not both."
            )
        former = RENAMED_VALUES.get(present, {})
        current[present] = former.get(value, value) if isinstance(value, str) else value
    return current


def flag(name: str) -> str:
    """The command line's spelling of an option's name, `--learning-rate`."""
    return "--" + name.replace("_", "-")
