"""What `benchmarks.input` trains: stages of each method on records of generated noise."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

if TYPE_CHECKING:
    from sercl_jax.corpora import Corpus
    from sercl_jax.types import Stage

RATE = 16_000
SHORTEST, LONGEST = 2.0, 14.0  # seconds
LABELS = ("angry", "happy", "neutral", "sad")
PER_FILE = 20  # utterances; a manifest may cut many from one file
SEED = 0
NODES = 120
FEW = 50  # utterances whose features are not worth the start of other processes


@dataclasses.dataclass(frozen=True)
class Training:
    """A training of a method.

    Attributes:
      method: "serugcl", "cpc" or "supcon".
      batch: utterances in a step.
      steps: in a timed turn.
      seconds: what utterances are cut to; SERUGCL averages over whole ones.
      settings: of the method.
    """

    method: str
    batch: int
    steps: int
    seconds: float
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


SMALL_CPC = {"channels": 32, "context": 32, "norm": "channel"}
TRAININGS = {
    "serugcl": Training("serugcl", 64, 20, LONGEST),
    "cpc": Training("cpc", 8, 10, 10.0, {"norm": "channel"}),
    "cpc-small": Training("cpc", 8, 20, 10.0, SMALL_CPC),
    "supcon": Training("supcon", 4, 5, 4.0, {"network": "wavlm-base"}),
    "supcon-tiny": Training("supcon", 8, 20, 4.0, {"network": "tiny"}),
}


def generate(folder: Path, utterances: int) -> Path:
    """Writes noise and the manifest that cuts utterances from it, with emotions in turn."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    lines = ["path,label,speaker,start,end,id"]
    for first in range(0, utterances, PER_FILE):
        lengths = np.round(rng.uniform(SHORTEST, LONGEST, min(PER_FILE, utterances - first)), 2)
        ends = np.cumsum(lengths)
        noise = rng.integers(-3000, 3000, round(ends[-1] * RATE) + 1, np.int16)
        soundfile.write(folder / f"{first}.wav", noise, RATE)
        lines += [f"{first}.wav,{LABELS[(first + i) % len(LABELS)]},,{end - length:.2f},{end:.2f},{first + i}"
                  for i, (length, end) in enumerate(zip(lengths, ends, strict=True))]
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return manifest


def build(folder: Path, utterances: int) -> "Corpus":
    """Records of a generated corpus."""
    from sercl_jax import corpora

    manifest = generate(folder / str(utterances), utterances)
    return corpora.load("manifest", cache_dir=folder / "cache", manifest=manifest, progress=sys.stderr.isatty())


def stage(training: Training, corpus: "Corpus", cache_dir: Path) -> "Stage":
    """The stage that trains an encoder on a corpus; what is computed once and cached goes to a folder."""
    return {"serugcl": _serugcl, "cpc": _cpc, "supcon": _supcon}[training.method](training, corpus, cache_dir)


def _serugcl(training: Training, corpus: "Corpus", cache_dir: Path) -> "Stage":
    from sercl_jax import features, nodes
    from sercl_jax.methods import serugcl
    from sercl_jax.models.serugcl import Knobs, SerugclSettings

    frames = features.extract(corpus, "is10_librosa", cache_dir=cache_dir, progress=sys.stderr.isatty(),
                              workers=None if len(corpus) > FEW else 1)
    made, rows = nodes.build(frames, NODES), np.arange(len(corpus))
    speakers = np.array([u.speaker for u in corpus.utterances])
    arrays = serugcl.arrays(nodes.standardise(made, rows), made.mask, speakers)
    recipe = serugcl.Recipe(SerugclSettings(**training.settings), Knobs(), training.batch, 1,
                            (("learning_rate", 1e-3), ("name", "adam")))
    return serugcl.stage(recipe, arrays, rows, SEED, {})


def _cpc(training: Training, corpus: "Corpus", cache_dir: Path) -> "Stage":
    del cache_dir
    from sercl_jax.methods import cpc, cpc_recipes
    from sercl_jax.methods.schedules import Schedule
    from sercl_jax.models.cpc import CpcSettings

    schedule = Schedule(training.batch, 1, (("learning_rate", 2e-4), ("name", "adam"), ("weight_decay", 1e-5)))
    recipe = cpc_recipes.Pretraining(CpcSettings(**training.settings), schedule, training.seconds, "random")
    return cpc.pretrain_stage(recipe, corpus, np.arange(len(corpus)), np.arange(0), SEED, {})


def _supcon(training: Training, corpus: "Corpus", cache_dir: Path) -> "Stage":
    from sercl_jax import encodings, pretrained
    from sercl_jax.encoders import TransformerEncoder
    from sercl_jax.methods import supcon
    from sercl_jax.methods.schedules import Schedule
    from sercl_jax.methods.supcon_recipes import Contrast, FineTuning, Recipe
    from sercl_jax.models.speech_config import NAMED

    encoder = TransformerEncoder(dataclasses.replace(NAMED[training.settings["network"]], normalise=False))
    frozen, trained = encoder.split(pretrained.random_encoder(encoder.config, SEED)[1]["params"])
    mixture = encodings.Mixture([encodings.frozen(corpus, encoder, frozen, cache_dir=cache_dir,
                                                  progress=sys.stderr.isatty())])
    # All long enough to be cut: every batch is as large as the one that stays on the device.
    rows = np.flatnonzero(mixture.counts >= encoder.frames(round(training.seconds * RATE)))
    schedule = Schedule(training.batch, 1, (("learning_rate", 4e-5), ("name", "adam")))
    tuning = FineTuning(schedule, (4e-5,), 1.0, training.seconds, 1)
    recipe = Recipe(Contrast(), tuning, "corpus", tuning, schedule, 1)
    labels = np.array([u.label for u in corpus.utterances])
    return supcon.contrastive_stage(recipe, 4e-5, encoder, trained, mixture, [rows], [labels], SEED, {})
