"""Beyond the paper: statistics pooling, functionals beside an ensemble, speakers standardised in the embedding."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_corpus import write

from sercl_jax import config as config_lib
from sercl_jax import experiment, sources
from sercl_jax.errors import UserError
from sercl_jax.functionals import functional_names
from sercl_jax.models.pooling import statistics_pool
from sercl_jax.workbench import Workbench


def test_statistics_pool_against_a_loop_without_padding():
    rng = np.random.default_rng(0)
    h, mask = rng.normal(size=(3, 7, 4)).astype(np.float32), np.arange(7)[None] < np.array([[7], [4], [0]])
    found = np.asarray(statistics_pool(jnp.asarray(h), jnp.asarray(mask)))
    for b in range(2):
        rows = h[b, mask[b]]
        expected = np.concatenate([rows.mean(0), np.sqrt(rows.var(0) + 1e-6), rows.max(0)])
        np.testing.assert_allclose(found[b], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[2], np.repeat([0, 1e-3, 0], 4), atol=1e-6)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    place = tmp_path_factory.mktemp("plus")
    made = config_lib.base("serugcl_plus", "corpus=manifest,tiny,protocol=loso,normalise=speaker")
    made.data.update(manifest=str(write(place / "corpus")), cache_dir=str(place / "cache"), workers=1)
    made.eval.update(baseline="no", report=False, probes=True, untrained=False)
    made.encoder.ensemble = 2
    return made.lock()


def test_a_whole_run_with_every_part_of_it(config, tmp_path):
    found = experiment.run(config, tmp_path / "run", quiet=True)
    assert found["metrics"]["UA"]["mean"] > 1 / 3
    trainings = [p for p in (tmp_path / "run" / "train").iterdir() if p.is_dir()]
    assert len(trainings) == 2
    source = sources.make(config, Workbench(progress=False), tmp_path / "run" / "train", progress=False)
    functionals, encoders = source.blocks
    assert functionals == len(functional_names([f"t{i}" for i in range(75)] + ["F0final"]))
    with np.load(tmp_path / "run" / "embeddings.npz") as stored:
        x, speakers = stored["embeddings"], stored["speakers"]
    assert x.shape == (36, functionals + encoders)
    for speaker in np.unique(speakers):
        assert np.abs(x[speakers == speaker].mean(0)).max() < 1e-3


def test_members_of_an_ensemble_differ_and_seeds_never_share_them(config, tmp_path):
    source = sources.make(config, Workbench(progress=False), tmp_path, progress=False)
    assert len({*source.seeds(0), *source.seeds(1), *source.seeds(2)}) == 6


def test_an_impossible_ensemble_is_refused(config, tmp_path):
    wrong = config.copy_and_resolve_references().unlock()
    wrong.encoder.ensemble = 0
    with pytest.raises(UserError, match="ensemble=0"):
        sources.make(wrong, Workbench(progress=False), tmp_path, progress=False)
