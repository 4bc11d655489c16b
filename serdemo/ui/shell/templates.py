"""HTML from Jinja2 templates, which escape every value that is put into them."""

from __future__ import annotations

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from serdemo.schema.palette import style_of
from serdemo.ui.shell import html


@cache
def environment() -> Environment:
    """The templates below `serdemo/ui`, each named by its path there.

    In every template: the filters `percent`, `duration` and `marker`, and the functions
    `bars(probabilities)` and `style_of(label)`. A value that is not given is an error.
    """
    made = Environment(
        loader=PackageLoader("serdemo.ui", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(percent=html.percent, duration=html.duration, marker=html.marker)
    made.globals.update(bars=html.bars, style_of=style_of)
    return made


def render(name: str, /, **values: Any) -> Markup:
    """HTML of the template `name`, for example "models/card.html".

    The result counts as safe: another template, or `Markup.format`, takes it as it is.
    """
    return Markup(environment().get_template(name).render(values))
