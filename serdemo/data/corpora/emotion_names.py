"""Emotion names in eight languages -> our labels."""

from __future__ import annotations

import unicodedata

# Nouns and adjectives in English, German, French, Spanish, Italian, Portuguese, Polish and
# Greek, and the short codes that corpora use.
SYNONYMS: dict[str, str] = {
    "angry": """angry anger ang annoyed furious rage mad wut wütend ärger ärgerlich zorn zornig
        colère enojo enfado enojado enfadado ira rabia rabbia arrabbiato raiva zangado gniew złość
        zły θυμός θυμωμένος""",
    "disgust": """disgust disgusted dis ekel angeekelt dégoût dégoûté asco disgusto disgustato
        nojo wstręt obrzydzenie αηδία""",
    "fear": """fear fearful fea afraid scared anxious anxiety angst ängstlich furcht peur effrayé
        miedo asustado paura spaventato medo strach lęk φόβος φοβισμένος""",
    "happy": """happy happiness hap joy joyful happily freude fröhlich glücklich joie joyeux
        heureux alegría alegre felicidad feliz gioia felice felicità alegria felicidade radość
        wesoły szczęście χαρά χαρούμενος""",
    "neutral": """neutral neu neutrality normal neutre neutro neutrale neutralny ουδέτερο
        ουδέτερος""",
    "sad": """sad sadness sorrow traurig trauer traurigkeit tristesse triste tristeza tristezza
        smutek smutny λύπη λυπημένος""",
    "surprise": """surprise surprised sur pleasant_surprise überraschung überrascht surpris
        sorpresa sorprendido sorpreso surpresa surpreso zaskoczenie zdziwienie έκπληξη
        έκπληκτος""",
    "calm": """calm calmness calme calma calmo ruhig ruhe gelassen tranquilo spokój spokojny
        ήρεμος""",
    "boredom": """boredom bored bor langeweile gelangweilt ennui aburrimiento aburrido noia
        annoiato tédio nuda znudzenie πλήξη""",
}


def _folded(word: str) -> str:
    """Lower case, no accents, no separators: `Pleasant_Surprise` and `pleasant surprise` agree."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in plain if letter.isalpha())


EMOTION_OF = {_folded(word): ours for ours, words in SYNONYMS.items() for word in words.split()}


def emotion_word(text: str) -> str | None:
    """Our label for an emotion name in any known form, or None.

    Letter case, accents, digits, spaces, hyphens and underscores are ignored: `05-Anger` is
    `angry`.
    """
    return EMOTION_OF.get(_folded(text))
