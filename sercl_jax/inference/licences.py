"""Under which terms corpora are distributed, as far as is known: what model cards say. No legal advice."""

from typing import NamedTuple


class Licence(NamedTuple):
    """What a corpus is called, its terms, and what they mean for a model trained on it."""

    name: str
    terms: str
    note: str


_RESEARCH = "for research only; ask its owners before any other use"
_CHECK = "check the corpus' own terms before you pass the model on or use it commercially"
_OWN = "your own recordings: what their speakers consented to holds for the model, too"
# By the names of data_builders/.
LICENCES = {
    "casia": Licence("CASIA Chinese emotional corpus", "licensed by the Institute of Automation, Chinese Academy of "
                     "Sciences", _RESEARCH),
    "crema_d": Licence("CREMA-D", "Open Database License (ODbL) 1.0, contents under the Database Contents License "
                       "1.0", "name the corpus; databases derived from it must be shared alike"),
    "demo": Licence("demo (synthetic)", "part of sercl_jax, Apache-2.0", "synthetic speech: for trying things out"),
    "demo_unlabelled": Licence("demo, unlabelled (synthetic)", "part of sercl_jax, Apache-2.0",
                               "synthetic speech: for trying things out"),
    "emodb": Licence("EMO-DB, Berlin Database of Emotional Speech", "free of charge from its site", "cite Burkhardt "
                     f"et al. (2005); {_CHECK}"),
    "emovo": Licence("EMOVO", "free of charge from its authors", f"cite Costantini et al. (2014); {_CHECK}"),
    "folder": Licence("a folder of recordings", "whatever its owner says", _OWN),
    "iemocap": Licence("IEMOCAP", "release agreement of the University of Southern California (SAIL), for academic "
                       "research", _RESEARCH),
    "librispeech": Licence("LibriSpeech", "CC BY 4.0", "name the corpus (Panayotov et al. 2015)"),
    "manifest": Licence("a list of recordings", "whatever their owner says", _OWN),
    "msp_podcast": Licence("MSP-Podcast", "academic licence of the University of Texas at Dallas; there is a "
                           "commercial one", _RESEARCH),
    "nemo": Licence("nEMO", "CC BY-NC-SA 4.0", "not for commercial use; share alike"),
    "ravdess": Licence("RAVDESS", "CC BY-NC-SA 4.0", "not for commercial use without a licence of its authors "
                       "(Livingstone & Russo 2018); share alike"),
    "savee": Licence("SAVEE", "free for research after registration with the University of Surrey", _RESEARCH),
    "urdu": Licence("URDU (Latif et al. 2018)", "published for research by its authors", _CHECK),
}


def of(corpora: str) -> tuple[Licence, ...]:
    """Of each of several corpora, joined by "+"; such as "demo:seed=1" are known by what stands before the colon."""
    names = dict.fromkeys(part.strip() for part in corpora.split("+") if part.strip())
    return tuple(LICENCES.get(name.partition(":")[0], Licence(name, "not known here", _CHECK)) for name in names)
