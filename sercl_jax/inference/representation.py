"""A CPC that was pre-trained and nothing more: recordings to embeddings."""

from pathlib import Path

import jax

from sercl_jax import bucketed, pretraining
from sercl_jax.errors import UserError
from sercl_jax.inference import contexts, inputs, origin
from sercl_jax.inference.card import REPRESENTATION, Card
from sercl_jax.inference.pipeline import EMBEDDING, Pipeline
from sercl_jax.models.cpc import HOP, CpcSettings
from sercl_jax.types import Batch, Variables

# Statistics over time are the better the longer: whatever fits into the longest batch is one window.
SECONDS = bucketed.LONGEST / 1.5


def pipeline(workdir: Path, seed: int = 0) -> Pipeline:
    """The model of a run with setup=pretrain.

    An utterance's embedding is the mean and the standard deviation of CPC's context over time [2 F]; its frames are
    the context [T, F], one per 10 ms.

    Args:
      workdir: of the run.
      seed: which of several pre-trainings.

    Raises:
      UserError: no finished pre-training, none with this seed, or a damaged one.
    """
    models = workdir / pretraining.MODELS
    there = sorted(int(path.parent.name.removeprefix("seed")) for path in models.glob("seed*/model.json"))
    if seed not in there:
        known = f"; it has {', '.join(map(str, there))}" if there else ""
        raise UserError(f"{workdir}: has no pre-training with seed {seed}{known}.")
    found = origin.read(workdir, f"{pretraining.MODELS}/seed{seed}")
    settings = CpcSettings(**found.metadata["settings"])
    describe = contexts.context(settings)

    def apply(variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        return {EMBEDDING: contexts.mean_and_deviation(*describe(variables, batch))}

    def frames(variables: Variables, batch: Batch) -> jax.Array:
        return describe(variables, batch)[0]

    card = Card(method="cpc", kind=REPRESENTATION, labels=(), corpus=found.corpus, embedding=2 * settings.context,
                seconds=SECONDS, trim=found.trim, notes=found.notes(),
                frames=settings.context, frame_hop=HOP, frame_reach=HOP, facts=found.facts())
    return Pipeline(card, inputs.WaveformInputs(), apply, found.variables, frames)
