"""English that is left on a page in a language without Latin letters."""

from __future__ import annotations

import re
from typing import Any

from serdemo.ui.languages.table import LANGUAGES

# Names, formats and figures, which are the same in every language.
SAME = {
    *(
        "serdemo",
        "gradio",
        "Gradio",
        "base",
        "compact",
        "Hugging",
        "Face",
        "hub",
        "Space",
        "OWNER",
        "NAME",
    ),
    *(
        "WAV",
        "MP3",
        "M4A",
        "MP4",
        "MKV",
        "OGG",
        "FLAC",
        "SRT",
        "VTT",
        "WebVTT",
        "TextGrid",
        "Praat",
        "RTTM",
    ),
    *(
        "CSV",
        "JSON",
        "ZIP",
        "zip",
        "Parquet",
        "Audacity",
        "Embedding",
        "Atlas",
        "Spotlight",
        "API",
        "HF_TOKEN",
    ),
    *(
        "UMAP",
        "PCA",
        "NMI",
        "ARI",
        "UAR",
        "EER",
        "GPU",
        "MB",
        "Hz",
        "dB",
        "CNN",
        "arXiv",
        "means",
        "Shift",
        "Esc",
    ),
    *(
        "embedding",
        "speaker",
        "emotion",
        "path",
        "ravdess",
        "emodb",
        "crema_d",
        "cremad",
        "ased",
        "nemo",
        "whisper",
        "head",
        "aesdd",
        "urdu",
        "Live",
        "http",
    ),
    *LANGUAGES.values(),
}
_TEXTS = """(part) => {
  const skipped = '[translate="no"], script, style, pre, code, textarea, noscript, #finetune-options';
  const names = ['aria-label', 'title', 'placeholder', 'alt', 'aria-description'];
  const found = [];
  const visit = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return found.push(node.data);
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(skipped)) return;
    if (node.tagName !== 'OPTION' && node.tagName !== 'OPTGROUP' && !node.checkVisibility()) return;
    for (const name of names) if (node.hasAttribute(name)) found.push(node.getAttribute(name));
    for (const child of node.childNodes) visit(child);
  };
  visit(document.body);
  return [...new Set(found)];
}"""


def leftovers(page: Any) -> list[str]:
    """Texts and attributes in sight that hold words of Latin letters beyond `SAME`."""
    return [
        " ".join(text.split())
        for text in page.evaluate(_TEXTS)
        if set(re.findall(r"[A-Za-z_]{2,}", re.sub(r"\S+[/@.]\S+|\S*\d\S*", " ", text))) - SAME
    ]


def overflow(page: Any) -> int:
    """How many pixels the page is wider than its window."""
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )
