"""Colours, markers and words for emotions, on the page, in plots and in the terminal.

The seven colours differ for colour-blind people too, and a name or marker goes with each colour.
"""

from __future__ import annotations

from dataclasses import dataclass

from serdemo.schema.types import Prediction


@dataclass(frozen=True, slots=True)
class EmotionStyle:
    """Style of an emotion: `colour` as `#RRGGBB`, `symbol` the marker's name in plots, `glyph` in text."""

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
    """Style of any label; unknown ones share `OTHER_STYLE`."""
    return EMOTION_STYLES.get(label, OTHER_STYLE)


def certainty(confidence: float) -> str:
    """Plain words for a confidence in [0, 1]."""
    if confidence >= 0.85:
        return "very sure"
    return "fairly sure" if confidence >= 0.6 else "somewhat sure"


def sentence(prediction: Prediction) -> str:
    """A prediction as a sentence, such as "Sounds angry, fairly sure"; of a regression, its values."""
    if not prediction.has_speech:
        return "No speech found"
    if prediction.dimensions:
        values = [f"{name} {value:.2f}" for name, value in prediction.dimensions.items()]
        return ", ".join(values).capitalize()
    if prediction.unsure:
        return "Not sure: " + " or ".join(prediction.nearest(2))
    return f"Sounds {prediction.label}, {certainty(prediction.confidence)}"
