"""How an emotion looks and reads, everywhere: bars, timelines, maps and the terminal.

The seven colours stay apart for colour-blind eyes. Colour is never the only sign: a name or a
marker shape goes with it.
"""

from __future__ import annotations

from dataclasses import dataclass

from serdemo.schema.types import Prediction


@dataclass(frozen=True, slots=True)
class EmotionStyle:
    """`colour` is `#RRGGBB`, `symbol` the marker's name in plots, `glyph` the same in text."""

    colour: str
    symbol: str
    glyph: str


EMOTION_STYLES: dict[str, EmotionStyle] = {
    "angry": EmotionStyle("#D55E00", "triangle-up", "▲"),
    "disgust": EmotionStyle("#009E73", "square", "■"),
    "fear": EmotionStyle("#CC79A7", "diamond", "◆"),
    "happy": EmotionStyle("#E69F00", "circle", "●"),
    "neutral": EmotionStyle("#7F7F7F", "hexagon", "⬢"),
    "sad": EmotionStyle("#0072B2", "triangle-down", "▼"),
    "surprise": EmotionStyle("#56B4E9", "star", "★"),
}
# For labels beyond the seven, such as calm or boredom.
OTHER_STYLE = EmotionStyle("#A3A08F", "x", "✖")


def style_of(label: str) -> EmotionStyle:
    """The look of any label, known to the palette or not."""
    return EMOTION_STYLES.get(label, OTHER_STYLE)


def certainty(confidence: float) -> str:
    """Plain words for a confidence in [0, 1]."""
    if confidence >= 0.85:
        return "very sure"
    if confidence >= 0.6:
        return "fairly sure"
    return "somewhat sure"


def sentence(prediction: Prediction) -> str:
    """The answer as a person would say it, such as "Sounds angry, fairly sure"."""
    if not prediction.has_speech:
        return "No speech found"
    if prediction.unsure:
        return "Not sure: " + " or ".join(prediction.nearest(2))
    return f"Sounds {prediction.label}, {certainty(prediction.confidence)}"
