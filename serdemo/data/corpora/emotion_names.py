"""Emotion names in eighteen languages, and the short codes of corpora -> our labels."""

from __future__ import annotations

import re
import unicodedata

# Nouns and adjectives in English, Mandarin, Hindi, Spanish, French, Arabic, Bengali, Portuguese,
# Russian and Urdu, then German, Italian, Polish, Greek, Turkish, Indonesian, Japanese and Korean.
SYNONYMS: dict[str, str] = {
    "angry": """angry anger angered angrily ang annoyed irritated furious fury rage mad hot_anger
        cold_anger 愤怒 憤怒 生气 生氣 气愤 氣憤 恼怒 गुस्सा क्रोध क्रोधित नाराज़ ira rabia
        enojo enojado enojada enfado enfadado enfadada furioso furiosa colère en_colère énervé
        énervée fâché fâchée غضب الغضب غاضب غاضبة রাগ রাগান্বিত ক্রোধ রাগী raiva zangado zangada
        irritado irritada гнев злость злой злая сердитый сердитая ярость غصہ غصے ناراض wut wütend
        wuetend ärger aerger ärgerlich aergerlich zorn zornig rabbia arrabbiato arrabbiata gniew
        złość zły θυμός θυμωμένος kızgın kızgınlık öfke öfkeli sinirli marah kemarahan 怒り 怒った
        분노 화남""",
    "disgust": """disgust disgusted disgusting dis 厌恶 厭惡 恶心 噁心 घृणा घिन asco asqueado
        asqueada disgusto dégoût dégoûté dégoûtée اشمئزاز الاشمئزاز قرف مشمئز ঘৃণা nojo
        отвращение گھن کراہت ekel angeekelt disgustato disgustata wstręt obrzydzenie αηδία
        iğrenme tiksinme tiksinti jijik 嫌悪 嫌悪感 혐오 혐오감""",
    "fear": """fear fearful fearfully fea afraid scared frightened terrified anxious anxiety 恐惧 恐懼
        害怕 惧怕 恐慌 恐怖 डर भय डरा_हुआ भयभीत miedo temor asustado asustada peur effrayé effrayée
        apeuré خوف الخوف خائف خائفة ভয় ভীত ভীতি medo assustado assustada страх испуг испуганный ڈر
        خوفزدہ angst ängstlich aengstlich furcht paura spaventato spaventata strach lęk φόβος
        φοβισμένος korku korkmuş takut ketakutan 恐れ 恐怖心 공포 두려움 무서움""",
    "happy": """happy happiness happily hap joy joyful joyous cheerful excited excitement exc
        高兴 高興 快乐 快樂 开心 開心 喜悦 喜悅 欢乐 愉快 खुशी खुश प्रसन्न प्रसन्नता आनंद आनन्द
        सुख alegría alegre felicidad feliz contento contenta joie joyeux joyeuse heureux heureuse
        bonheur سعادة السعادة سعيد سعيدة فرح الفرح সুখ সুখী খুশি খুশী আনন্দ আনন্দিত alegria
        felicidade радость счастье радостный радостная счастливый счастливая весёлый веселье خوشی خوش
        freude fröhlich froehlich freudig glücklich gluecklich gioia felice felicità allegria radość
        wesoły szczęście szczęśliwy χαρά χαρούμενος mutlu mutluluk sevinç senang bahagia gembira
        喜び 嬉しい 嬉しさ 幸せ 楽しい 행복 행복한 기쁨""",
    "neutral": """neutral neu neutrality normal 中性 中立 तटस्थ सामान्य neutro neutra neutre
        محايد محايدة حيادي الحياد عادي নিরপেক্ষ স্বাভাবিক neutralidade нейтральный нейтральная
        нейтральное нейтрально нейтральность غیر_جانبدار neutrale neutralny neutralność
        ουδέτερος ουδέτερο ουδέτερη nötr netral ニュートラル 平常 중립 중립적""",
    "sad": """sad sadness sadly sorrow sorrowful unhappy grief 悲伤 悲傷 难过 難過 伤心 傷心 悲哀
        दुख दुःख दुखी दुःखी उदास उदासी triste tristeza tristesse حزن الحزن حزين حزينة দুঃখ দুঃখিত
        দুঃখী বিষণ্ণ বিষণ্ন грусть печаль грустный грустная печальный печальная اداس اداسی غم
        غمگین دکھ traurig trauer traurigkeit tristezza smutek smutny smutna λύπη λυπημένος θλίψη
        üzgün üzüntü sedih kesedihan 悲しみ 悲しい 슬픔 슬픈""",
    "surprise": """surprise surprised sur suprise suprised surprisingly astonished astonishment
        pleasant_surprise pleasant_surprised pleasantly_surprised ps unpleasant_surprise 惊讶 驚訝
        惊喜 驚喜 吃惊 吃驚 惊奇 驚奇 आश्चर्य आश्चर्यचकित हैरान हैरानी अचरज sorpresa sorprendido
        sorprendida surpris مفاجأة المفاجأة متفاجئ متفاجئة دهشة اندهاش مندهش বিস্ময় বিস্মিত অবাক
        আশ্চর্য surpresa surpreso surpresa_agradável удивление удивлённый удивленная изумление حیرت
        حیران حیرانی überraschung ueberraschung überrascht ueberrascht sorpreso zaskoczenie
        zaskoczony zdziwienie έκπληξη έκπληκτος şaşkın şaşkınlık şaşırmış sürpriz terkejut kaget
        驚き 驚いた 놀람 놀라움""",
    "calm": """calm calmness calmly 平静 平靜 冷静 冷靜 शांत शान्त शांति calma calmo tranquilo
        tranquila calme هدوء هادئ هادئة শান্ত спокойствие спокойный спокойная پرسکون سکون ruhig ruhe
        gelassen tranquillo tranquilla spokój spokojny ήρεμος ηρεμία sakin sakinlik tenang 落ち着き
        평온 차분함""",
    "boredom": """boredom bored bor 无聊 無聊 厌倦 ऊब बोरियत aburrimiento aburrido aburrida ennui
        ennuyé ملل الملل একঘেয়েমি tédio entediado entediada скука بوریت langeweile gelangweilt noia
        annoiato annoiata nuda znudzenie znudzony πλήξη ανία sıkılmış sıkıntı bosan kebosanan 退屈
        지루함""",
}

# Labels of speech emotion corpora that are none of ours.
OTHERS = """amused amusement arousal concerned confused confusion contempt contemptuous
    depressed depression despair desire determined disappointed disappointment embarrassed
    embarrassment encouraging enthusiasm enthusiastic envy frustrated frustration fru guilt guilty
    hate hatred helpless hope hopeful interest interested irony ironic love lust nervous none
    no_agreement oth other others otra otro autre autres anderes sonstige altro pain pride proud
    relief relieved sarcasm sarcastic shame shy sleepy sleepiness stressed sympathy tender
    tenderness tired whisper worried xxx 其他 其它 轻蔑 輕蔑 अन्य أخرى অন্যান্য outro outros другое
    دیگر inne diğer lainnya その他 기타"""

_LETTERS = str.maketrans({"ı": "i", "ł": "l", "ø": "o"})  # without a decomposition in Unicode
# What may stand before the emotion: TESS's speakers, a gender.
_WORD_MARKS = (0, 8, 9)  # canonical combining classes
_PREFIX = re.compile(r"^(?:oaf|yaf|female|male)[\W_]+", re.IGNORECASE)


def _folded(word: str) -> str:
    """Lower case, no accents, no separators: `Pleasant_Surprise` and `pleasant surprise` agree.

    Vowel signs and viramas of Indic scripts and the voicing of kana stay: without them, a word is
    another one.
    """
    plain = unicodedata.normalize("NFKD", word.casefold()).translate(_LETTERS)
    return "".join(
        letter
        for letter in plain
        if letter.isalpha()
        or (
            unicodedata.category(letter) in ("Mn", "Mc")
            and unicodedata.combining(letter) in _WORD_MARKS
        )
    )


EMOTION_OF = {_folded(word): ours for ours, words in SYNONYMS.items() for word in words.split()}
_OTHERS = frozenset(_folded(word) for word in OTHERS.split())


def emotion_word(text: str) -> str | None:
    """Our label for an emotion name in any known form, or None.

    Letter case, accents, digits, spaces, hyphens and underscores are ignored: `05-Anger` is
    `angry`. So is a speaker of TESS or a gender in front: `OAF_angry`, `male_angry`. Excited
    counts as happy, as in the usual four classes of IEMOCAP.
    """
    return EMOTION_OF.get(_folded(text)) or EMOTION_OF.get(_folded(_PREFIX.sub("", text, count=1)))


def is_other_emotion(text: str) -> bool:
    """Whether a text is a usual label that is none of our emotions, such as frustrated or other."""
    return _folded(_PREFIX.sub("", text, count=1)) in _OTHERS
