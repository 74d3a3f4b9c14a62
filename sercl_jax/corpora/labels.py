"""One name per emotion, whatever a corpus calls it."""

# Nouns and adjectives in English, German, French, Spanish and (EMOVO's) Italian, and EmoBox's "boredem".
_SYNONYMS = {
    "amused": ("amusement",),
    "angry": ("anger", "mad", "wut", "wütend", "wuetend", "ärger", "aerger", "zorn", "colère", "colere", "enojo",
              "enfado", "rabbia"),
    "bored": ("boredom", "boredem", "langeweile", "gelangweilt", "ennui", "aburrimiento", "aburrido"),
    "calm": ("calmness", "ruhig", "gelassen", "calme", "tranquilo"),
    "disgusted": ("disgust", "ekel", "dégoût", "degout", "asco", "disgusto"),
    "excited": ("excitement",),
    "fearful": ("fear", "afraid", "scared", "angst", "ängstlich", "aengstlich", "furcht", "peur", "miedo", "paura"),
    "frustrated": ("frustration",),
    "happy": ("happiness", "joy", "joyful", "freude", "fröhlich", "froehlich", "glücklich", "gluecklich", "joie",
              "alegría", "alegria", "feliz", "gioia"),
    "neutral": ("neutrality", "normal", "neutre", "neutro"),
    "sad": ("sadness", "trauer", "traurig", "tristesse", "triste", "tristeza", "tristezza"),
    "surprised": ("surprise", "überraschung", "ueberraschung", "überrascht", "ueberrascht", "sorpresa"),
}
# What corpora abbreviate them to; "ps" is pleasant surprise.
_CODES = {"angry": ("ang", "rab"), "disgusted": ("dis",), "excited": ("exc",), "fearful": ("fea", "pau"),
          "frustrated": ("fru",), "happy": ("hap", "gio"), "neutral": ("neu",), "sad": ("tri",),
          "surprised": ("sur", "ps", "sor")}

EMOTIONS = tuple(_SYNONYMS)
WORDS = {word: name for name, words in _SYNONYMS.items() for word in (name, *words)}
CODES = {code: name for name, codes in _CODES.items() for code in codes}


def canonical(label: str) -> str:
    """Lower case without outer blanks, and the usual noun as its adjective ("Anger" -> "angry").

    Words it does not know stay as they are: a corpus may have classes of its own.
    """
    word = label.strip().lower()
    return WORDS.get(word) or CODES.get(word, word)
