"""Finished workdirs of every kind of model, with drawn weights: as training leaves them, without the training."""

from dataclasses import asdict, replace
from pathlib import Path

import jax
import numpy as np

from sercl_jax import calibration, checkpoint, classify, files, pretrained
from sercl_jax.encoders import TransformerEncoder
from sercl_jax.inference.inputs import WaveformInputs
from sercl_jax.inference.pipeline import Pipeline
from sercl_jax.models import cpc, serugcl
from sercl_jax.models.recognizer import Recognizer, RecognizerSettings
from sercl_jax.models.speech_config import NAMED

LABELS = ["angry", "neutral", "sad"]
KINDS = ("serugcl", "serugcl_device", "probe", "recognizer", "supcon")
RESULTS = {
    "method": "serugcl", "corpus": "ravdess", "protocol": {"name": "loso", "folds": 4, "training": "inductive"},
    "metrics": {"UA": {"mean": 0.625, "std": 0.01, "ci95": [0.5, 0.75]}}, "warnings": ["Only 4 speakers."],
    "per_class": {"angry": 0.75, "neutral": 0.5, "sad": None},
    "baselines": [{"name": "IS10", "metrics": {},
                   "difference": {"UA": {"mean": -0.05, "std": 0, "ci95": [-0.1, 0.02]}}}],
    "command": "python -m sercl_jax.main --config.data.manual_dir=/home/somebody/corpora"}
LENGTH = 16_000
_CPC = cpc.CpcSettings(channels=8, context=12, future=3, negatives=4, norm="channel")


def workdir(folder: Path, kind: str) -> Path:
    """Writes one of `KINDS`: SERUGCL with features of the host or of the device, a probe of CPC, and so on."""
    made = {"serugcl": _serugcl, "serugcl_device": _serugcl, "probe": _probe, "recognizer": _recognizer,
            "supcon": _supcon}[kind](kind)
    config, variables, arrays, metadata = made
    config = {"data": {"trim": False, "corpus": "ravdess", "emobox_dir": "/home/somebody/emobox"},
              "normalise": "global", **config}
    files.write_json(folder / "config.json", config)
    files.write_json(folder / "results.json", {**RESULTS, "method": config["method"]})
    checkpoint.save_model(folder / "model", jax.tree.map(np.asarray, variables), arrays, {
        "config": config, "labels": LABELS, "seconds": 1.0, "calibration": "in these words", **metadata})
    return folder


def short(pipeline: Pipeline) -> Pipeline:
    """The same with the shortest length only."""
    if not isinstance(pipeline.inputs, WaveformInputs):
        return pipeline
    return replace(pipeline, inputs=replace(pipeline.inputs, lengths=(LENGTH,)))


def waveforms(count: int, samples: int = 12_000) -> list[np.ndarray]:
    """Tones in more or less noise, all different."""
    rng = np.random.default_rng(3)
    seconds = np.arange(samples) / 16_000
    noise = (30, 3000, 300)
    return [(4000 / (1 + 8 * (n % 3)) * sum(np.sin(2 * np.pi * (110 + 19 * n) * k * seconds) / k for k in range(1, 9))
             + rng.normal(size=samples) * noise[n % 3]).astype(np.int16)[:samples - 97 * n] for n in range(count)]


def batch_of(runner: Pipeline, count: int) -> dict[str, np.ndarray]:
    """A batch of `waveforms`, of the shortest length."""
    described = [runner.inputs.describe(waveform) for waveform in waveforms(count)]
    return runner.inputs.batch(described, runner.inputs.lengths[0])


def _classifier(width: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(30) % 3
    machine = classify.fit_svm(rng.normal(size=(30, width)) + y[:, None], y, None,
                               classify.SvmSettings(grid={"linear": (0.01,)}))
    fitted = calibration.Calibration(0.5, np.array([0.1, 0, -0.1]))
    return {**{f"svm/{name}": value for name, value in machine.to_arrays().items()},
            **{f"calibration/{name}": value for name, value in fitted.to_arrays().items()}}


def _drawn(shapes):
    """Arrays of such shapes."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: np.asarray(0.5 * rng.normal(size=leaf.shape), np.float32), shapes)


def _initialised(init, *arguments):
    """Variables as `init` makes them, but for their values: nothing is compiled."""
    return _drawn(jax.eval_shape(init, jax.random.key(0), *arguments))


def _serugcl(kind: str):
    settings = serugcl.SerugclSettings(hidden=8, layers=2, projection=8, neighbours=3)
    batch = {"x": np.ones((1, 20, 76), np.float32), "mask": np.ones((1, 20), bool), "index": np.zeros(1, np.int32)}
    params = _initialised(serugcl.initializer(settings, serugcl.Knobs()), batch)["params"]
    variables = {"encoder0": {"params": params, "knobs": serugcl.Knobs().arrays()}}
    config = {"method": "serugcl", "features": "is10_jax" if kind == "serugcl_device" else "is10_librosa",
              "graph": {"nodes": 20, "readout_nodes": 0}, "encoder": {"input_block": "no"},
              "eval": {"speaker_embeddings": False}}
    statistics = {"features/mean": np.linspace(-1, 1, 76, dtype=np.float32),
                  "features/std": np.linspace(1, 9, 76, dtype=np.float32)}
    return (config, variables, {**_classifier(settings.embedding_width), **statistics},
            {"settings": {"encoder": asdict(settings)}})


def _cpc():
    return _initialised(cpc.initializer(_CPC), {})


def _probe(kind: str):
    del kind
    return ({"method": "cpc", "setup": "probe", "pretrain_data": {"corpus": "librispeech"}}, {"cpc": _cpc()},
            _classifier(2 * _CPC.context), {"settings": {"cpc": asdict(_CPC)}})


def _recognizer(kind: str):
    del kind
    settings = RecognizerSettings(heads=2, head_dim=8, hidden=16)
    drawn = _initialised(Recognizer(settings).init, np.ones((1, 4, _CPC.context), np.float32),
                         np.ones((1, 4), bool))
    recognizer = {**drawn, "statistics": {"mean": np.zeros(_CPC.context, np.float32),
                                          "scale": np.full(_CPC.context, 0.1, np.float32)}}
    dimensions = ["activation", "valence", "dominance"]
    return ({"method": "cpc", "setup": "pre", "recognizer": {"seconds": 1.0}, "joint": {"seconds": 1.0},
             "features": "logmel"}, {"cpc": _cpc(), "recognizer": recognizer},
            {"targets/mean": np.full(3, 4, np.float32), "targets/scale": np.ones(3, np.float32)},
            {"setup": "pre", "settings": {"recognizer": asdict(settings), "cpc": asdict(_CPC)},
             "targets": dimensions, "range": {"activation": [1, 7], "valence": [1, 7]}})


def _supcon(kind: str):
    del kind
    encoder = TransformerEncoder(NAMED["tiny"])
    params = _drawn(pretrained.parameter_shapes(encoder.config))
    width, rng = encoder.config.hidden_size, np.random.default_rng(0)
    dense = {name: {"kernel": rng.normal(size=shape).astype(np.float32), "bias": np.ones(shape[1], np.float32)}
             for name, shape in (("dense", (width, 16)), ("logits", (16, 3)))}
    heads = {"pooling": {"vector": rng.normal(size=width).astype(np.float32)}, "classifier": dense}
    return ({"method": "supcon", "target": "ravdess", "encoder": {"kind": "wavlm-base"},
             "corpora": {"ravdess": {"corpus": "ravdess"}, "emodb": {"corpus": "emodb"}}},
            {"encoder": {"params": params}, "heads": {"params": heads}}, {},
            {"encoder": encoder.facts(), "hidden": 16})
