"""Short pieces of HTML and the numbers in them: markers, probability bars, messages.

Colour comes from the palette and is never the only sign: names, shapes and numbers say the same.
"""

from __future__ import annotations

from functools import partial

import gradio as gr
from markupsafe import Markup

from serdemo.schema.palette import style_of
from serdemo.ui.shell.activity import note_refusal

plain_html = partial(gr.HTML, apply_default_css=False)  # in the page's own style alone

_SHAPES = {
    "triangle-up": Markup('<path d="M8 1.5 15 14H1z"/>'),
    "triangle-down": Markup('<path d="M8 14.5 1 2h14z"/>'),
    "square": Markup('<path d="M2 2h12v12H2z"/>'),
    "diamond": Markup('<path d="M8 .5 15.5 8 8 15.5.5 8z"/>'),
    "circle": Markup('<circle cx="8" cy="8" r="7"/>'),
    "hexagon": Markup('<path d="M4 1.5h8L15.5 8 12 14.5H4L.5 8z"/>'),
    "star": Markup(
        '<path d="m8 .5 2.2 5 5.4.5-4.1 3.6 1.2 5.4L8 12.2 3.3 15l1.2-5.4L.4 6l5.4-.5z"/>'
    ),
    "x": Markup('<path d="M1 4 4 1l4 4 4-4 3 3-4 4 4 4-3 3-4-4-4 4-3-3 4-4z"/>'),
}


def percent(share: float) -> str:
    """A share in [0, 1] as whole percent."""
    return f"{share:.0%}"


def clock(seconds: float) -> str:
    """Seconds as m:ss.s, from an hour on as h:mm:ss.s, the way segments are listed."""
    tenths = round(seconds * 10)
    minutes, rest = tenths // 600, f"{tenths // 10 % 60:02d}.{tenths % 10}"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest}" if minutes >= 60 else f"{minutes}:{rest}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


def marker(label: str) -> Markup:
    """The label's shape in its colour, as SVG. Hidden from screen readers: its name stands beside it."""
    style = style_of(label)
    return Markup(
        '<svg class="sd-marker" viewBox="0 0 16 16" fill="{}" aria-hidden="true">{}</svg>'
    ).format(style.colour, _SHAPES[style.symbol])


def bars(probabilities: dict[str, float]) -> Markup:
    """A list of the labels, most probable first, each with its name, bar and percentage."""
    row = Markup(
        '<li>{}<span class="sd-bar-name" title="{}">{}</span><span class="sd-track" aria-hidden="true">'
        '<span style="width:{:.2%};--c:{}"></span></span><span class="sd-number">{}</span></li>'
    )
    rows = Markup().join(
        row.format(marker(label), label, label, share, style_of(label).colour, percent(share))
        for label, share in sorted(probabilities.items(), key=lambda item: -item[1])
    )
    head = Markup('<ul class="sd-bars" aria-label="Probability of each emotion">')
    return head + rows + Markup("</ul>")


def message_html(sentence: str) -> Markup:
    """A sentence that reports success."""
    return Markup('<p role="status">{}</p>').format(sentence)


def notice_html(sentence: str) -> Markup:
    """A sentence that says from the start what is not to be had."""
    return Markup('<p class="sd-refused">{}</p>').format(sentence)


def refusal_html(sentence: str) -> Markup:
    """A sentence that reports a fault; the request at hand counts as refused."""
    note_refusal()
    return Markup('<p class="sd-refused" role="alert">{}</p>').format(sentence)


def in_use_html(key: str) -> Markup:
    """The message that the model `key` answers from now on."""
    return message_html(f"{key} answers you now in every tab; in Live from the next Start.")
