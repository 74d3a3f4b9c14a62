"""What the synthetic speakers say: a small phone inventory and six sentences of no language.

Formant targets are those of an average adult (between the female and male means of Peterson & Barney, 1952, and
Klatt, 1980, Tables II and III), rounded; each speaker scales them by the length of the vocal tract.
"""

from dataclasses import dataclass

SCHWA = (520.0, 1600.0, 2600.0)  # Hz; where reduced vowels drift to


@dataclass(frozen=True)
class Phone:
    """Targets of one phone.

    Attributes:
      formants: F1, F2, F3 in Hz.
      milliseconds: its duration in neutral speech.
      voice: amplitude of the glottal source, relative to a vowel.
      noise: amplitude of frication, relative to the loudest fricative.
      band: lower and upper edge of the frication in Hz; unused where `noise` is 0.
      vowel: whether it can be stressed, stretched and reduced.
    """

    formants: tuple[float, float, float]
    milliseconds: float
    voice: float
    noise: float = 0.0
    band: tuple[float, float] = (1000.0, 7000.0)
    vowel: bool = False


PHONES = {
    "a": Phone((760, 1300, 2550), 105, 1.0, vowel=True),
    "e": Phone((470, 2050, 2700), 95, 1.0, vowel=True),
    "i": Phone((310, 2350, 3050), 85, 0.9, vowel=True),
    "o": Phone((500, 900, 2500), 100, 1.0, vowel=True),
    "u": Phone((340, 850, 2350), 90, 0.9, vowel=True),
    "@": Phone(SCHWA, 55, 0.8, vowel=True),
    "m": Phone((280, 1000, 2200), 65, 0.45),
    "n": Phone((280, 1600, 2550), 60, 0.45),
    "l": Phone((360, 1250, 2800), 60, 0.6),
    "r": Phone((450, 1300, 1750), 55, 0.55),
    "j": Phone((290, 2200, 3000), 55, 0.6),
    "b": Phone((250, 900, 2200), 60, 0.15),
    "d": Phone((250, 1700, 2650), 55, 0.15),
    "g": Phone((250, 1900, 2300), 60, 0.15),
    "v": Phone((300, 1100, 2300), 60, 0.4, 0.12, (1000, 7000)),
    "z": Phone((300, 1650, 2600), 70, 0.35, 0.35, (4000, 7800)),
    "f": Phone((400, 1100, 2300), 90, 0.0, 0.20, (1200, 7500)),
    "s": Phone((400, 1700, 2600), 100, 0.0, 0.60, (4200, 7800)),
    "S": Phone((400, 1800, 2500), 100, 0.0, 0.70, (2000, 6000)),
    "h": Phone((520, 1500, 2500), 60, 0.0, 0.15, (600, 5000)),
    # The closures of unvoiced stops are silent; their bursts follow as phones of their own.
    "_": Phone((400, 1400, 2500), 55, 0.0),
    "p": Phone((350, 900, 2200), 20, 0.0, 0.30, (500, 2500)),
    "t": Phone((350, 1750, 2650), 25, 0.0, 0.50, (3500, 7500)),
    "k": Phone((350, 1900, 2400), 30, 0.0, 0.45, (1500, 4000)),
    "|": Phone(SCHWA, 110, 0.0),
}

# Blanks only help reading; ' stresses the vowel after it; | is a pause.
SENTENCES = {
    "t1": "m'al o ni _t'e fu z'a r@",
    "t2": "_k'i b@ l'o n@ | d@ r'um va S'i",
    "t3": "j'o la m'e_t@ s'u n@ g'a li",
    "t4": "va n'i r@ d'a | f'e lo m'u_k@n",
    "t5": "S'a b@ r'i nu | _p'o l@ z'e ma",
    "t6": "h'e lu_t@ m'o v@ n'a ri d'e",
}
