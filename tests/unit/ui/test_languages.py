"""The table of the page's texts is complete, and holds what templates, scripts and handlers show."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from support.node import run_module

from serdemo.ui import default_page
from serdemo.ui.languages import table
from serdemo.ui.shell import theme

Find = Callable[[set[str]], list[str]]
UI = Path(table.__file__).parent.parent
FOREIGN = [language for language in table.LANGUAGES if language != "en"]
ATTRIBUTES = {"aria-label", "title", "placeholder", "alt", "aria-description"}
UNTRANSLATED = {"code", "pre", "script", "style"}
HOLE = "\0"  # in place of what a template or a script puts in
# Parts of the page's code that speak to programs, operators and logs, in English.
TECHNICAL = (
    "shell/health.py",
    "shell/metrics.py",
    "live/route.py",
    *("api/", "browser/", "static_space/build", "shell/gradio_settings", "shell/serving"),
    *(
        "hosting/",
        "shell/rpc.py",
        "shell/call_errors",
        "shell/address",
        "languages/",
        "static_space/card",
    ),
)
# Names, and what is put together before it is shown.
ALLOWED = {
    *(
        "serdemo",
        "Hugging Face hub",
        "in {}: {}. Text:",
        "{} ({} speakers){}Not told.",
        "{} is at {}, {}.",
    ),
    *("{} is of another version.", "The page is not to be reloaded yet."),
    "The list of tested libraries is missing: install serdemo once more.",
    *("Stopped after {} of {} file{}.", "Stopped after {} of {} {}."),
    "{} could not be answered: the table says why.",
    # To programs.
    "Files are sent to {} alone: send this call as JSON.",
    "This is no upload: send files as multipart/form-data, in the field `files`.",
    "The request names no host: send the header Host as a browser does.",
    "This page serves nothing at that path.",
    ", not one pass over the clips fits into {} minutes here: give it more, or choose fewer clips or a"
    " smaller encoder {} {} passes over the clips ; {} clips a second.",
}


def shown_files(suffix: str) -> list[Path]:
    return [
        path
        for path in sorted(UI.rglob(f"*{suffix}"))
        if not path.relative_to(UI).as_posix().startswith(TECHNICAL)
    ]


def normalised(text: str) -> str:
    return " ".join(text.split())


class Texts(HTMLParser):
    """Collects the texts and attributes of HTML that are shown."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if dict(attrs).get("translate") == "no" or tag in UNTRANSLATED:
            self.open.append(tag)
        self.found += [value for name, value in attrs if name in ATTRIBUTES and value]

    def handle_endtag(self, tag: str) -> None:
        if self.open and tag == self.open[-1]:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.found.append(data)


def texts_of_html(html: str) -> list[str]:
    parser = Texts()
    parser.feed(html)
    parser.close()
    return [normalised(text) for text in parser.found if re.search("[A-Za-z]{2}", text)]


def sentences_of_python(path: Path) -> Iterator[str]:
    """Sentences that a module may show, with holes; not its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    quiet = {
        id(part)
        for node in ast.walk(tree)
        for part in ast.walk(node)
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."))
    }
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        if id(node) in quiet | parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{[^{}]*\}", HOLE, node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values
            )


def sentences_of_script(path: Path) -> Iterator[str]:
    """Sentences that a script may show, with holes."""
    text = re.sub(r"/\*.*?\*/|^\s*//.*$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    text = re.sub(r'"\s*\+\s*"', "", text)  # a sentence of several lines
    for plain, template in re.findall(r'"((?:[^"\\\n]|\\.)*)"|`([^`]*)`', text):
        filled = re.sub(r"\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", HOLE, template)
        yield plain.replace('\\"', '"') or filled


def is_sentence(text: str) -> bool:
    return bool(re.fullmatch(rf"(?:[A-Z]|{HOLE} [a-z]).* .*[.…]", text)) and "<" not in text


def filled(text: str) -> list[str]:
    """A text with its holes filled in, by words and by numbers."""
    pieces = text.split(HOLE)
    return [
        "".join(piece + fill for piece, fill in itertools.zip_longest(pieces, fills, fillvalue=""))
        for fills in itertools.product(("7", "happy"), repeat=min(5, len(pieces) - 1))
    ]


@pytest.fixture(scope="module")
def untranslated(tmp_path_factory: pytest.TempPathFactory) -> Find:
    """A function that gives those of some texts that the page would show in English."""
    folder = tmp_path_factory.mktemp("phrases")

    def find(texts: set[str]) -> list[str]:
        script = """
        import { Phrases } from "./ui/shell/js/phrases.js";
        import { readFileSync as read } from "node:fs";
        const phrases = new Phrases(JSON.parse(read("ui/languages/zh.json", "utf-8")), "zh");
        const isLeft = (text) => /[A-Za-z]{2}/.test(phrases.translate(text).replace(/happy|高兴/g, ""))
          && phrases.translate(text) === text;
        done(Object.entries(given).filter(([, ways]) => ways.every(isLeft)).map(([text]) => text));
        """
        given = {text: filled(text) for text in texts}
        left: list[str] = run_module(folder, script, given)
        return sorted({text.replace(HOLE, "{}") for text in left} - ALLOWED)

    return find


def test_every_text_has_every_language_and_the_same_placeholders() -> None:
    rows = table.table()
    assert len(rows) > 300
    for english, row in rows.items():
        assert english == normalised(english), english
        assert list(row) == FOREIGN, english
        for language, text in row.items():
            assert text.strip() == text and text, (language, english)
            wanted, found = (sorted(table.PLACEHOLDER.findall(t)) for t in (english, text))
            assert found == wanted, (language, english)
            assert not set(re.findall(r"[{][^}]*[}]", text)) - set(found), (language, english)


def test_no_text_stands_in_two_files() -> None:
    keys = [
        key
        for path in (UI / "languages").glob("*.yaml")
        for key in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    assert len(keys) == len(set(keys)) == len(table.table())


@pytest.mark.parametrize("language", FOREIGN)
def test_what_is_translated_stays_when_it_is_met_again(language: str) -> None:
    texts = table.texts(language)
    assert {text: texts[text] for text in texts.values() if text in texts} == {
        text: text for text in texts.values() if text in texts
    }


@pytest.mark.slow
def test_every_text_of_the_templates_is_in_the_table(untranslated: Find) -> None:
    found = set()
    for path in shown_files(".html"):
        template = re.sub(r"\{%.*?%\}", "", theme.asset(path.relative_to(UI).as_posix()))
        found |= set(texts_of_html(re.sub(r"\{\{.*?\}\}", HOLE, template)))
    assert len(found) > 100
    assert untranslated({text for text in found if re.search("[A-Za-z]{2}", text)}) == []


@pytest.mark.slow
def test_every_sentence_of_scripts_and_handlers_is_in_the_table(untranslated: Find) -> None:
    found = {
        text
        for suffix, read in ((".py", sentences_of_python), (".js", sentences_of_script))
        for path in shown_files(suffix)
        for text in map(normalised, read(path))
        if is_sentence(text)
    }
    assert len(found) > 100
    assert untranslated(found) == []


@pytest.mark.slow
def test_every_label_of_gradios_components_is_in_the_table(untranslated: Find) -> None:
    page = default_page()
    shown = {
        normalised(value)
        for block in page.blocks.values()
        for name in ("label", "info", "placeholder")
        if block.get_block_name() != "api"
        and isinstance(value := vars(block).get(name), str)
        and getattr(block, "visible", True)
        and re.search("[A-Za-z]{2}", value)
    }
    assert len(shown) > 20
    assert untranslated(shown) == []
    given = table.i18n(page.blocks.values()).translations
    assert given["de"]["Start"] == "Start" and given["zh-CN"]["Check"] == "检查"
    assert "the shipped model" not in given["de"]  # which is sent


def test_style_sheets_have_no_sides_but_where_time_runs() -> None:
    """Text may run from right to left."""
    sides = r"(?:text-align|float): (?:left|right)|(?:margin|padding|border)-(?:left|right)\b"
    for path in (
        "shell/style.css",
        "live/live.css",
        "explore/explore.css",
        "static_space/theme.css",
    ):
        faults = [
            line
            for line in theme.asset(path).splitlines()
            if re.search(sides, line) and not line.startswith((".sd-span", ".sd-playhead"))
        ]
        assert faults == [], path
