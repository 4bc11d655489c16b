"""The answer of Check: the clips of each part of the split, and how long the run takes here."""

from __future__ import annotations

from collections import Counter

from markupsafe import Markup

from serdemo.data.splits import Split
from serdemo.runs.request import TrainingRequest
from serdemo.schema.text import counted
from serdemo.ui.shell import zerogpu
from serdemo.ui.shell.templates import render

USES = {"train": "to train on", "valid": "to choose by", "test": "to test on"}


def split_html(split: Split) -> Markup:
    """The clips of each emotion, clips and speakers of each part, and what is doubtful about them."""
    from serdemo.runs import preflight

    clips = [clip for part in split.parts.values() for clip in part]
    parts = [
        f"{counted(len(part), 'clip')} of {counted(len(split.speakers(name)), 'speaker')} {USES[name]}"
        for name, part in split.parts.items()
    ]
    durations = [clip.duration_s for clip in clips if clip.duration_s]
    return render(
        "finetune/check.html",
        parts=parts,
        emotions=Counter(clip.emotion for clip in clips).most_common(),
        durations=(min(durations), max(durations)) if durations else None,
        warnings=preflight.preflight_warnings(split),
    )


def estimate_html(request: TrainingRequest, split: Split) -> Markup:
    """How long a run takes on this machine, and how many epochs fit into its time."""
    from serdemo.runs import estimate

    minutes = float(request.options["budget_minutes"])
    lent = zerogpu.is_zerogpu()
    return render(
        "finetune/estimate.html",
        minutes=minutes,
        estimate=None
        if lent
        else estimate.estimate_duration(request.recipe, request.options, split),
    )
