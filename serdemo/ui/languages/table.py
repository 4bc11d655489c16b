"""The table of the page's texts, from the files beside this one: English text, then that of each language.

A text may have placeholders: {n} stands for a number, {emotion} for the name of an emotion, {name} for what is not
translated, such as a file's name, {text} for anything else; {n2} is a second one of the kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import gradio as gr
import yaml  # type: ignore[import-untyped]
from gradio.blocks import Block

LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español", "zh": "简体中文", "ar": "العربية"}
GRADIO_NAMES = {"zh": "zh-CN"}
PLACEHOLDER = re.compile(r"\{(?:n|emotion|name|text)\d*\}")


@cache
def table() -> dict[str, dict[str, str]]:
    """The text of each language but English, by the English text."""
    rows: dict[str, dict[str, str]] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
        rows |= yaml.load(path.read_text(encoding="utf-8"), loader)
    return rows


def texts(language: str) -> dict[str, str]:
    """The texts of one language by the English ones."""
    return {english: row[language] for english, row in table().items()}


def files() -> dict[str, bytes]:
    """What the browser loads, by its path below `serdemo/ui`: a table for each language."""
    return {
        f"languages/{language}.json": json.dumps(texts(language), ensure_ascii=False).encode()
        for language in LANGUAGES
        if language != "en"
    }


def i18n(blocks: Iterable[Block]) -> gr.I18n:
    """The texts of gradio's components, which gradio itself translates; not what a choice stands for, as gradio
    would send that translated."""
    blocks = list(blocks)
    shown = {vars(block).get(name) for block in blocks for name in ("label", "info", "placeholder")}
    shown |= {block.value for block in blocks if isinstance(block, gr.Button)}
    shown -= {vars(block).get("value") for block in blocks if isinstance(block, gr.Radio)}
    return gr.I18n(
        **{
            GRADIO_NAMES.get(language, language): {
                english: text for english, text in texts(language).items() if english in shown
            }
            for language in LANGUAGES
            if language != "en"
        }
    )


def picker() -> str:
    """HTML of the choice of language, each by its own name."""
    options = "".join(
        f'<option value="{language}" lang="{language}">{name}</option>'
        for language, name in LANGUAGES.items()
    )
    return (
        '<label class="sd-language"><span class="sd-spoken">Language</span>'
        f'<select translate="no">{options}</select></label>'
    )
