"""What the documents say is so: their commands run, their flags exist, their links lead somewhere.

Code blocks marked `console` show commands after `$` with what they print; those marked
`bash runnable` show commands alone. Both are run, in a folder that looks like the repository.

    PYTHONPATH=tests python tests/project/test_readme.py

writes what the commands print today into the `console` blocks of the root README.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.command import ROOT, Ran, furnish, here

from serdemo.cli.main import COMMANDS
from serdemo.data.corpora import CORPORA

README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "checkpoints/README.md",
    "serdemo/README.md",
    "serdemo/data/README.md",
    "serdemo/embeddings/README.md",
    "serdemo/runs/README.md",
    "serdemo/training/README.md",
    "serdemo/ui/README.md",
    "tests/README.md",
)
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
# Without the diffs, which are code (test_contributing.py).
PROSE = {
    page: re.sub(r"^```diff\n.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for page, text in TEXTS.items()
}
MAX_WORDS = 1500  # of the root README
COMMAND_ONE = "python -m pip install -r requirements.txt -e . && python app.py"
COMMAND_TWO = 'python -m pip install -r requirements.txt -e ".[test]" && python -m pytest'
FLAGS_OF_OTHERS = {
    "--array",
    "--cpus-per-task",
    "--detach",
    "--flavor",
    "--generate",
    "--gpus-per-task",
    "--head",
    "--requeue",
    "--timeout",
    "--resolution",
    "--test",
    "--upgrade",
    "--extra",
    "--index-url",
    "--directory",
    "--num-processes",
    "--num-machines",
    "--nodes",
    "--ntasks-per-node",
    "--gpus-per-node",
    "--machine-rank",
    "--main-process-ip",
    "--main-process-port",
    "--rdzv",
    "--multi-gpu",
    "--repo-type",
    "--extra-index-url",
    "--no-project",
    "--python",
}


def blocks(mark: str, text: str) -> list[str]:
    """The bodies of the code blocks with that mark."""
    return re.findall(rf"^```{mark}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def console() -> list[tuple[str, str]]:
    """(command, what it prints) of every `$` in a `console` block."""
    return [
        (command, printed)
        for body in blocks("console", TEXT)
        for command, printed in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE)
    ]


def runnable(page: str) -> list[str]:
    return [line for body in blocks("bash runnable", TEXTS[page]) for line in body.splitlines()]


RUNNABLE = [page for page in PAGES if runnable(page)]


def headings(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the commands name, and the present folder while the tests run."""
    before, folder = Path.cwd(), tmp_path_factory.mktemp("readme")
    furnish(folder)
    os.chdir(folder)
    yield folder
    os.chdir(before)


def run(line: str) -> Ran:
    """Run a `serdemo` command of the README; training only for a second, on one core."""
    program, *arguments = shlex.split(line)
    assert program == "serdemo"
    if arguments[0] == "train":
        arguments += ["--stop-after", "1", "--workers", "0", "--threads", "1", "--batch-size", "8"]
    return here(*arguments)


def in_outline(printed: str) -> list[str]:
    """The lines without figures and bars, in order of the alphabet: alike on every machine."""
    plain = re.sub(r"[█▏]+", "", re.sub(r"\d+(\.\d+)?", "0", printed))
    return sorted(" ".join(line.split()) for line in plain.splitlines() if line.strip())


@pytest.mark.parametrize(("command", "printed"), console())
def test_the_commands_print_what_is_shown(workplace: Path, command: str, printed: str) -> None:
    ran = run(command)
    assert (ran.code, ran.err) == (0, "")
    assert in_outline(ran.out) == in_outline(printed)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE)
def test_the_commands_run_one_after_another(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SERDEMO_RUNS", raising=False)
    for line in runnable(page):
        ran = run(line)
        assert ran.code == 0, f"{line}: {ran.err}"


def test_commands_of_every_kind_are_run() -> None:
    assert len(RUNNABLE) >= 5 and sum(len(runnable(page)) for page in PAGES) >= 20


@pytest.mark.parametrize("page", [page for page in PAGES if blocks("python", TEXTS[page])])
def test_the_python_example_runs(
    page: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python", TEXTS[page])
    exec(compile(code, page, "exec"), {})
    assert "angry" in capsys.readouterr().out


def flags(table: dict[str, click.Command]) -> Iterator[str]:
    yield from ("--help", "--version")
    for command in table.values():
        for parameter in command.params:
            yield from (*parameter.opts, *parameter.secondary_opts)
        if isinstance(command, click.Group):
            context = click.Context(command)
            inner = {n: command.get_command(context, n) for n in command.list_commands(context)}
            yield from flags({name: each for name, each in inner.items() if each})


@pytest.mark.parametrize("page", PAGES)
def test_every_flag_exists(page: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", PROSE[page])) - FLAGS_OF_OTHERS
    assert named - set(flags(COMMANDS)) == set()


def test_every_command_is_named() -> None:
    for name in COMMANDS:
        assert f"`serdemo {name} " in TEXTS["serdemo/README.md"]
    benchmarks = COMMANDS["bench"]
    assert isinstance(benchmarks, click.Group)
    for name in benchmarks.list_commands(click.Context(benchmarks)):
        assert f"`serdemo bench {name} " in TEXTS["serdemo/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_exists(page: str) -> None:
    for mark in ("bash", "bash runnable"):
        for line in "\n".join(blocks(mark, TEXTS[page])).splitlines():
            assert not line.startswith("serdemo ") or line.split()[1] in COMMANDS


def test_the_two_commands_stand_first_and_are_what_the_tests_run() -> None:
    plain = blocks("bash", TEXT)
    assert plain[:2] == [f"{COMMAND_ONE}\n", f"{COMMAND_TWO}\n"]
    run_all = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert all(f"\n    {part}\n" in run_all for part in COMMAND_TWO.split(" && "))
    assert f"run: {COMMAND_TWO}\n" in (ROOT / ".github/workflows/tests.yml").read_text("utf-8")


def test_the_readme_is_short() -> None:
    assert len(TEXT.split()) <= MAX_WORDS


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PROSE[page]):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in headings(path.read_text(encoding="utf-8")), target


def test_every_corpus_is_cited() -> None:
    lines = TEXTS["serdemo/data/README.md"].splitlines()
    for corpus in CORPORA.values():
        row = next(line for line in lines if line.startswith(f"| `{corpus.name}` |"))
        assert corpus.citation in row and corpus.licence in row and corpus.title in row


def write_what_is_printed() -> None:
    """Put what the commands print today into the `console` blocks."""
    text = TEXT
    with tempfile.TemporaryDirectory() as name:
        furnish(Path(name))
        os.chdir(name)
        for command, printed in console():
            ran = run(command)
            assert ran.code == 0, ran.err
            output = "".join(f"{line.rstrip()}\n" for line in ran.out.splitlines())
            text = text.replace(f"$ {command}\n{printed}", f"$ {command}\n{output}")
        os.chdir(ROOT)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_what_is_printed()
