"""One name per emotion, whatever a corpus calls it."""

_SYNONYMS = {
    "angry": ("anger", "ang"),
    "bored": ("boredom",),
    "calm": ("calmness",),
    "disgusted": ("disgust", "dis"),
    "fearful": ("fear", "afraid", "scared", "fea"),
    "happy": ("happiness", "joy", "joyful", "hap"),
    "neutral": ("neutrality", "neu", "normal"),
    "sad": ("sadness",),
    "surprised": ("surprise", "sur"),
}
_CANONICAL = {word: name for name, words in _SYNONYMS.items() for word in words}


def canonical(label: str) -> str:
    """Lower case without outer blanks, and the usual noun as its adjective ("Anger" -> "angry").

    Words it does not know stay as they are: a corpus may have classes of its own.
    """
    word = label.strip().lower()
    return _CANONICAL.get(word, word)
