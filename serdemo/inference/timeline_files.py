"""A recording's timeline in the formats of other programs: Praat, Audacity, diarisation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serdemo.inference.timeline import Span

_TEXTGRID_HEAD = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = {xmax}
tiers? <exists>
size = {size}
item []:
"""
_TEXTGRID_TIER = """    item [{number}]:
        class = "IntervalTier"
        name = "{name}"
        xmin = 0
        xmax = {xmax}
        intervals: size = {size}
"""
_TEXTGRID_INTERVAL = """        intervals [{number}]:
            xmin = {xmin}
            xmax = {xmax}
            text = "{text}"
"""
SHORTEST_S = 0.001


def to_textgrid(spans: Iterable[Span], duration_s: float) -> str:
    """A TextGrid of Praat in its long form: the tiers `emotion` and `confidence`, or one tier for each
    dimension. Intervals cover 0 to `duration_s`; those without speech are empty. A span that begins
    inside another ends that one."""
    tiled = _tiled(spans, max(round(duration_s, 3), SHORTEST_S))
    names = list(dict.fromkeys(name for *_, span in tiled if span for name in span.dimensions))
    tiers = {name: [_dimension(span, name) for *_, span in tiled] for name in names}
    if not tiers:
        tiers["emotion"] = [span.label if span else "" for *_, span in tiled]
        tiers["confidence"] = [f"{span.confidence:.3f}" if span else "" for *_, span in tiled]
    xmax = f"{tiled[-1][1]:.3f}"
    parts = [_TEXTGRID_HEAD.format(xmax=xmax, size=len(tiers))]
    for number, (name, texts) in enumerate(tiers.items(), 1):
        parts.append(
            _TEXTGRID_TIER.format(number=number, name=_quoted(name), xmax=xmax, size=len(texts))
        )
        for place, ((start_s, end_s, _), text) in enumerate(zip(tiled, texts, strict=True), 1):
            times = {"xmin": f"{start_s:.3f}", "xmax": f"{end_s:.3f}"}
            parts.append(_TEXTGRID_INTERVAL.format(number=place, text=_quoted(text), **times))
    return "".join(parts)


def to_audacity(spans: Iterable[Span]) -> str:
    """A label track of Audacity: start, end and caption, with tabs between."""
    return "".join(
        f"{span.start_s:.6f}\t{span.end_s:.6f}\t{one_line(span.caption)}\n" for span in spans
    )


def to_rttm(spans: Iterable[Span], name: str) -> str:
    """Lines of an RTTM file: the label takes the place of the speaker; spaces become underlines."""
    return "".join(
        f"SPEAKER {_word(name)} 1 {span.start_s:.3f} {span.end_s - span.start_s:.3f} <NA> <NA>"
        f" {_rttm_label(span)} {f'{span.confidence:.3f}' if not span.dimensions else '<NA>'} <NA>\n"
        for span in spans
    )


def one_line(text: str) -> str:
    """Text without line breaks and tabs."""
    return " ".join(text.split())


def _rttm_label(span: Span) -> str:
    if span.dimensions:
        return _word(",".join(f"{name}={value:.3f}" for name, value in span.dimensions.items()))
    return _word(span.label)


def _word(text: str) -> str:
    return "_".join(text.split()) or "_"


def _quoted(text: str) -> str:
    return one_line(text).replace('"', '""')


def _dimension(span: Span | None, name: str) -> str:
    return f"{span.dimensions[name]:.3f}" if span and name in span.dimensions else ""


def _tiled(spans: Iterable[Span], duration_s: float) -> Sequence[tuple[float, float, Span | None]]:
    """(start, end, span or None where there is none), without gaps from 0 to the duration.

    A gap below a millisecond is closed.
    """
    ordered = sorted(spans, key=lambda span: span.start_s)
    tiles: list[tuple[float, float, Span | None]] = []
    position = 0.0
    for place, span in enumerate(ordered):
        start_s, end_s = round(max(span.start_s, position), 3), min(span.end_s, duration_s)
        if place + 1 < len(ordered):
            end_s = min(end_s, ordered[place + 1].start_s)
        end_s = round(end_s, 3)
        if end_s - start_s < SHORTEST_S / 2:
            continue
        if start_s - position >= SHORTEST_S / 2:
            tiles.append((position, start_s, None))
        tiles.append((start_s, end_s, span))
        position = end_s
    if duration_s - position >= SHORTEST_S / 2:
        tiles.append((position, duration_s, None))
    return tiles
