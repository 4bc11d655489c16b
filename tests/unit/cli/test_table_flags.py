"""The flags `--columns` and `--label-map` reach the tables and folders of `--corpus`."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from serdemo.cli.options import CORPUS, CORPUS_LABEL_MAP, LABEL_MAP
from serdemo.data.corpora.spec import split_spec


@pytest.mark.parametrize("label_map", [LABEL_MAP, CORPUS_LABEL_MAP])
@pytest.mark.parametrize("first", [True, False])
def test_flags_become_options_of_tables_in_any_order(tmp_path: Path, label_map, first) -> None:
    (tmp_path / "m.json").write_text('{"0": "sad"}')

    @click.command()
    @CORPUS
    @label_map
    def show(corpus: str, **values: object) -> None:
        click.echo(corpus)

    flags = ["--columns", "path=f,emotion=y", "--label-map", str(tmp_path / "m.json")]
    corpus = ["--corpus", "emodb,own,t.csv?audio=g"]
    ran = CliRunner().invoke(show, [*flags, *corpus] if first else [*corpus, *flags])
    assert ran.exit_code == 0, ran.output
    known, folder, table = ran.output.strip().split(",")
    assert known == "emodb"
    assert split_spec(folder)[1].label_map == str(tmp_path / "m.json")
    options = split_spec(table)[1]
    assert (options.audio, options.emotion) == ("g", "y")
    assert options.label_map == str(tmp_path / "m.json")
