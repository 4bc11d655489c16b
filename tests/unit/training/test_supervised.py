"""Recipe `supervised`: positives across corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.recipes import losses_of, run_recipe

from serdemo.data.splits import Split


def test_positives_may_be_those_of_other_corpora_alone(
    tiny_values: dict[str, Any], two_split: Split, split: Split, tmp_path: Path
) -> None:
    losses = {
        (corpora, across): losses_of(
            run_recipe(
                "supervised",
                tmp_path / f"{corpora}-{across}",
                of,
                **{**tiny_values, "cross_corpus_positives": across},
            )
        )
        for corpora, of in (("one", split), ("two", two_split))
        for across in (False, True)
    }
    assert losses["two", True] != losses["two", False]
    assert losses["one", True] == losses["one", False]  # of a single corpus it means nothing
