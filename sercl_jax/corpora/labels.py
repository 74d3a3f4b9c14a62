"""One name per emotion, whatever a corpus calls it."""

# Nouns, the codes of corpora, EMOVO's Italian, and EmoBox's spellings ("boredem", and "ps" for pleasant surprise).
_SYNONYMS = {
    "amused": ("amusement",),
    "angry": ("anger", "ang", "rabbia", "rab"),
    "bored": ("boredom", "boredem"),
    "calm": ("calmness",),
    "disgusted": ("disgust", "dis", "disgusto"),
    "excited": ("excitement", "exc"),
    "fearful": ("fear", "afraid", "scared", "fea", "paura", "pau"),
    "frustrated": ("frustration", "fru"),
    "happy": ("happiness", "joy", "joyful", "hap", "gioia", "gio"),
    "neutral": ("neutrality", "neu", "normal", "neutro"),
    "sad": ("sadness", "tristezza", "tri"),
    "surprised": ("surprise", "sur", "ps", "sorpresa", "sor"),
}
_CANONICAL = {word: name for name, words in _SYNONYMS.items() for word in words}


def canonical(label: str) -> str:
    """Lower case without outer blanks, and the usual noun as its adjective ("Anger" -> "angry").

    Words it does not know stay as they are: a corpus may have classes of its own.
    """
    word = label.strip().lower()
    return _CANONICAL.get(word, word)
