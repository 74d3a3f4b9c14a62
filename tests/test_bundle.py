"""Bundles: they say what their runs say, elsewhere and without the training code."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax import export
from stored_models import KINDS, batch_of, short, waveforms, workdir

import sercl_jax
from sercl_jax.errors import UserError
from sercl_jax.inference import loading, packing
from sercl_jax.inference.bundle import open_bundle
from sercl_jax.inference.packing import Request
from sercl_jax.inference.pipeline import EMBEDDING, FRAMES, PROBABILITY, RATING

pytestmark = pytest.mark.usefixtures("quick_compilation")

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(workdir, bundle) of a kind of model, each made when it is first asked for."""
    folder, done = tmp_path_factory.mktemp("bundles"), {}

    def make(kind: str) -> tuple[Path, Path]:
        if kind not in done:
            run = workdir(folder / kind, kind)
            pipeline = short(loading.pipeline_of(run))
            packing.write(pipeline, folder / f"{kind}-bundle", Request(frames=pipeline.frames is not None))
            done[kind] = run, folder / f"{kind}-bundle"
        return done[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_says_what_its_run_says(made, kind):
    run, path = made(kind)
    pipeline, opened = short(loading.pipeline_of(run)), open_bundle(path)
    value = RATING if kind == "recognizer" else PROBABILITY
    names = [value, EMBEDDING, *[FRAMES] * (pipeline.frames is not None)]
    assert opened.inputs == pipeline.inputs
    assert opened.card == dataclasses.replace(pipeline.card, facts=opened.card.facts)
    batch = batch_of(pipeline, 1 if kind == "serugcl_device" else 3)  # it takes long to compile
    expected, found = pipeline.run(batch, names), opened.run(batch, names)
    assert np.ptp(expected[EMBEDDING]) > 1e-3
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)


def test_a_program_takes_any_number_of_windows(made):
    _, path = made("probe")
    opened = dataclasses.replace(open_bundle(path), batch_size=17)
    batch = batch_of(opened, 17)
    together = opened.run(batch, [PROBABILITY, FRAMES])
    assert together[PROBABILITY].shape == (17, 3)
    for rows in (slice(0, 1), slice(4, 7)):
        apart = dataclasses.replace(opened, batch_size=3, _placed={}).run(
            {name: x[rows] for name, x in batch.items()}, [PROBABILITY, FRAMES])
        for name, values in apart.items():
            np.testing.assert_allclose(values, together[name][rows], atol=1e-6)


def test_every_program_is_for_all_platforms_and_takes_its_weights_as_arguments(made):
    for kind in KINDS:
        _, path = made(kind)
        sheet = json.loads((path / "bundle.json").read_text(encoding="utf-8"))
        for of_kind in sheet["programs"].values():
            for facts in of_kind.values():
                program = export.deserialize(bytearray((path / facts["file"]).read_bytes()))
                assert program.platforms == ("cpu", "cuda", "tpu")
                (weights, batch), _ = jax.tree.unflatten(program.in_tree, program.in_avals)
                assert {name: list(map(str, aval.shape)) for name, aval in batch.items()} == {
                    name: list(map(str, one["shape"])) for name, one in facts["inputs"].items()}
                assert {one["shape"][0] for one in (*facts["inputs"].values(), *facts["outputs"].values())} == {"b"}
                if kind == "probe":
                    assert {name.split("/")[0] for name in weights} == {"cpc", "svm", "calibration"}


WITHOUT_TRAINING = """
import sys

FORBIDDEN = ("flax", "optax", "orbax", "sklearn", "tensorflow_datasets", "tensorflow", "grain", "ml_collections",
             "jraph", "sercl_jax.methods", "sercl_jax.train", "sercl_jax.models", "sercl_jax.checkpoint")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if any(name == one or name.startswith(one + ".") for one in FORBIDDEN):
            raise ImportError(f"{name} is for training")

sys.meta_path.insert(0, Refuse())
import numpy as np
import sercl_jax

found = sercl_jax.load(sys.argv[1]).predict(list(np.load(sys.argv[2])))
assert not [name for name in sys.modules if any(name == one or name.startswith(one + ".") for one in FORBIDDEN)]
np.save(sys.argv[3], [list(one.values.values()) for one in found])
"""


@pytest.mark.parametrize("kind", ["serugcl", "probe"])
def test_it_runs_elsewhere_and_without_the_training_code(made, tmp_path, kind):
    _, path = made(kind)
    moved = shutil.copytree(path, tmp_path / "elsewhere" / "my model")
    given = [waveform[:11_000] for waveform in waveforms(3)]
    np.save(tmp_path / "waveforms.npy", given)
    done = subprocess.run([sys.executable, "-c", WITHOUT_TRAINING, moved, tmp_path / "waveforms.npy",
                           tmp_path / "found.npy"], capture_output=True, text=True, cwd=tmp_path,
                          env={**os.environ, "XLA_FLAGS": "", "SERCL_CACHE": str(tmp_path / "cache"),
                               "PYTHONPATH": str(Path(sercl_jax.__file__).parents[1])})
    assert done.returncode == 0, done.stderr
    here = [list(one.values.values()) for one in sercl_jax.load(path).predict(given)]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), here, atol=1e-5)


def test_a_bundle_without_programs_for_frames_has_no_frames(made, tmp_path):
    pipeline = short(loading.pipeline_of(made("probe")[0]))
    packing.write(pipeline, tmp_path / "out", Request(("cpu",)))
    with pytest.raises(UserError, match="no frame embeddings"):
        sercl_jax.load(tmp_path / "out").embed(waveforms(1)[0], level="frame")
