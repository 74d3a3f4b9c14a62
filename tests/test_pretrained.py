"""Checkpoints of speech encoders: what is read, under which names, what is refused, and what is written."""

import json
import os
import pickle
import sys
from dataclasses import replace

import flax.traverse_util
import huggingface_hub
import jax
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub.errors import LocalEntryNotFoundError
from small_encoder import torch_weights, write_checkpoint, write_settings

from sercl_jax import pretrained
from sercl_jax.errors import UserError
from sercl_jax.models.speech_config import NAMED
from sercl_jax.pretrained import load_encoder, parameter_count, parameter_shapes, random_encoder, save_encoder

CONFIG = replace(NAMED["hubert-base"], normalise=False, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                 intermediate_size=64, conv_dim=(16, 16, 16), conv_stride=(10, 8, 4), conv_kernel=(20, 16, 4),
                 num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4)
POSITIONAL = "encoder.pos_conv_embed.conv"
G, V = (f"{POSITIONAL}.parametrizations.weight.original{i}" for i in range(2))
# The parameters of transformers' models, but for the norms of the positional convolution.
COUNTS = {"wavlm-base": 94_381_936 - 128, "wavlm-base-plus": 94_381_936 - 128, "wavlm-large": 315_453_120 - 128,
          "hubert-base": 94_371_712 - 128, "hubert-large": 315_438_720 - 128, "wav2vec2-base": 94_371_712 - 128,
          "wav2vec2-large": 315_428_992 - 128, "tiny": 27_656 - 16}


@pytest.fixture(scope="module")
def tensors():
    return torch_weights(CONFIG)


@pytest.fixture
def write(tmp_path):
    return lambda tensors, place="model": str(
        write_checkpoint(tmp_path / place, CONFIG.to_dict(), CONFIG.normalise, tensors))


@pytest.fixture
def settings_only(tmp_path):
    write_settings(tmp_path / "model", CONFIG.to_dict(), CONFIG.normalise)
    return tmp_path / "model"


def params_of(place):
    return flax.traverse_util.flatten_dict(load_encoder(place)[1]["params"], sep="/")


def assert_equal(ours, others):
    assert ours.keys() == others.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], others[name], err_msg=name)


def refused(place, *words):
    with pytest.raises(UserError) as caught:
        load_encoder(place)
    for word in words:
        assert word in str(caught.value)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# What is read.

def test_every_layout_of_a_kernel(write, tensors):
    params = params_of(write(tensors))
    dense = tensors["encoder.layers.1.attention.q_proj.weight"]  # [out, in]
    convolution = tensors["feature_extractor.conv_layers.2.conv.weight"]  # [out, in, width]
    for o, i in np.ndindex(dense.shape):
        assert params["encoder/layers_1/attention/q_proj/kernel"][i, o] == dense[o, i]
    for o, i, k in np.ndindex(convolution.shape):
        assert params["feature_extractor/conv_layers_2/conv/kernel"][k, i, o] == convolution[o, i, k]
    for ours, theirs in (("encoder/layers_0/final_layer_norm/scale", "encoder.layers.0.final_layer_norm.weight"),
                         ("feature_projection/layer_norm/bias", "feature_projection.layer_norm.bias"),
                         ("masked_spec_embed", "masked_spec_embed")):
        np.testing.assert_array_equal(params[ours], tensors[theirs])
    assert {array.dtype for array in params.values()} == {np.dtype(np.float32)}
    assert {type(array) for array in params.values()} == {np.ndarray}


def test_weight_norm_is_over_all_but_the_width(write, tensors):
    kernel = params_of(write(tensors))["encoder/pos_conv_embed/conv/kernel"]
    for k in range(tensors[V].shape[2]):
        v = tensors[V][:, :, k].astype(np.float64)
        expected = tensors[G][0, 0, k] * v / np.sqrt(sum(x * x for x in v.ravel()))
        np.testing.assert_allclose(kernel[k], expected.T, rtol=1e-6)


def test_weight_norm_in_each_spelling(write, tensors):
    rest = {name: array for name, array in tensors.items() if name not in (G, V)}
    expected = params_of(write(tensors))
    older = {f"{POSITIONAL}.weight_g": tensors[G], f"{POSITIONAL}.weight_v": tensors[V]}
    assert_equal(params_of(write(rest | older, "older")), expected)
    weight = np.ascontiguousarray(expected["encoder/pos_conv_embed/conv/kernel"].T)
    assert_equal(params_of(write(rest | {f"{POSITIONAL}.weight": weight}, "folded")), expected)
    refused(write(tensors | {f"{POSITIONAL}.weight": weight}, "twice"), "two weights")
    refused(write(tensors | {G: tensors[G].reshape(-1)}, "flat"), G, "[16]")
    refused(write(rest | {G: tensors[G]}, "half"), f"missing: 1 ({POSITIONAL}.weight)", f"1 ({G})")


def test_models_for_a_task_are_read_without_their_heads(write, tensors):
    heads = {name: np.zeros((2, 3), np.float32) for name in
             ("lm_head.weight", "projector.bias", "classifier.weight", "classifier.dense.weight", "layer_weights",
              "quantizer.codevectors", "project_q.weight", "project_hid.bias", "tdnn.0.kernel.weight",
              "objective.weight", "feature_extractor.weight", "final_proj.bias")}
    task = {f"hubert.{name}": array for name, array in tensors.items()} | heads
    assert_equal(params_of(write(task, "task")), params_of(write(tensors)))
    refused(write(tensors | {f"wavlm.{name}": array for name, array in tensors.items()}, "other"), "wavlm.")
    refused(write(tensors | {"hubert.masked_spec_embed": tensors["masked_spec_embed"]}, "twice"), "masked_spec_embed")


@pytest.mark.parametrize("stored", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_floats_become_float32(write, tensors, stored):
    expected = {name: array.astype(stored).astype(np.float32) for name, array in tensors.items()}
    assert_equal(params_of(write({name: array.astype(stored) for name, array in tensors.items()}, "stored")),
                 params_of(write(expected)))


def test_shards(write, tensors, settings_only):
    names = list(tensors)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for file, held in parts.items():
        safetensors.numpy.save_file({name: tensors[name] for name in held}, settings_only / file)
    index = settings_only / "model.safetensors.index.json"
    weight_map = {name: file for file, held in parts.items() for name in held}
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert_equal(params_of(str(settings_only)), params_of(write(tensors, "single")))

    index.write_text(json.dumps({"weight_map": weight_map | {"lost": "model-00001-of-00002.safetensors"}}))
    refused(str(settings_only), "model-00001-of-00002.safetensors", "lost")
    index.write_text(json.dumps({"weight_map": weight_map | {names[0]: "../model.safetensors"}}))
    refused(str(settings_only), str(index), "'../model.safetensors'")
    index.write_text(json.dumps({"weight_map": [1]}))
    refused(str(settings_only), str(index), "weight_map")
    index.write_text(json.dumps({"weight_map": weight_map}))
    (settings_only / "model-00002-of-00002.safetensors").unlink()
    refused(str(settings_only), "model-00002-of-00002.safetensors", "missing")


def test_no_masking_needs_no_mask_embedding(tmp_path, tensors):
    config = replace(CONFIG, mask_time_prob=0.0)
    folder = write_checkpoint(tmp_path / "model", config.to_dict(), False, tensors)
    assert "masked_spec_embed" not in params_of(str(folder))
    rest = {name: array for name, array in tensors.items() if name != "masked_spec_embed"}
    masking = write_checkpoint(tmp_path / "masking", CONFIG.to_dict(), False, rest)
    refused(str(masking), "masked_spec_embed", "mask_time_prob")


# What is refused.

def test_what_does_not_fit_is_listed(write, tensors):
    changed = {name: array for name, array in tensors.items() if not name.endswith("q_proj.weight")}
    changed["masked_spec_embed"] = np.zeros(7, np.float32)
    changed |= {f"more.{i}": np.zeros(1, np.float32) for i in range(23)}
    place = write(changed)
    refused(place, place, "missing: 2 (encoder.layers.0.attention.q_proj.weight, "
            "encoder.layers.1.attention.q_proj.weight)",
            "of another shape: 1 (masked_spec_embed [7] instead of [32])",
            "not of this network: 23 (more.0, more.1, more.10, ", "...)")


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_no_numbers(write, tensors, value):
    broken = tensors["encoder.layer_norm.bias"].copy()
    broken[3] = value
    refused(write(tensors | {"encoder.layer_norm.bias": broken}), "NaN or infinity: 1 (encoder.layer_norm.bias)")


@pytest.mark.parametrize("name", ["encoder.layer_norm.bias", V])
def test_weights_that_overflow(write, tensors, name):
    big = np.full(tensors[name].shape, 1e300)
    refused(write(tensors | {name: big}), "NaN or infinity")


def test_a_direction_of_length_zero(write, tensors):
    direction = tensors[V].copy()
    direction[:, :, 2] = 0
    refused(write(tensors | {V: direction}), f"NaN or infinity: 1 ({POSITIONAL}.weight)")


def test_integers_are_refused(write, tensors):
    refused(write(tensors | {"encoder.layer_norm.bias": np.zeros(32, np.int8)}), "encoder.layer_norm.bias", "I8")


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "pickle", "folder"])
def test_damaged_files(write, tensors, tmp_path, damage):
    place = write(tensors)
    path = tmp_path / "model" / "model.safetensors"
    whole = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
        refused(place, place, "model.safetensors")
        return
    path.write_bytes({"empty": b"", "truncated": whole[:-100], "text": b"version https://git-lfs.github.com/spec/v1",
                      "pickle": pickle.dumps(Malicious(tmp_path / "executed"))}[damage])
    refused(place, str(path))
    assert not (tmp_path / "executed").exists()


def test_torchs_files_need_torch_and_run_nothing(settings_only, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    (settings_only / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious(tmp_path / "executed")))
    refused(str(settings_only), "pytorch_model.bin", "pip install torch", "model.safetensors")
    assert not (tmp_path / "executed").exists()


def test_safetensors_are_preferred_to_torchs_files(write, tensors, tmp_path):
    place = write(tensors)
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(b"never read")
    assert params_of(place)


def test_settings_that_are_not_there_or_not_json(settings_only, tensors):
    safetensors.numpy.save_file(tensors, settings_only / "model.safetensors")
    config = settings_only / "config.json"
    config.write_text("{")
    refused(str(settings_only), str(config), "JSON")
    config.write_text("[]")
    refused(str(settings_only), str(config), "object")
    config.write_text(json.dumps(CONFIG.to_dict() | {"model_type": "whisper"}))
    refused(str(settings_only), str(settings_only), "whisper")
    config.unlink()
    refused(str(settings_only), str(config), "cannot be read")


def test_a_folder_without_weights(settings_only):
    refused(str(settings_only), str(settings_only), "model.safetensors")


# Where it is looked for.

def test_a_folder_wins_over_an_id(write, tensors, tmp_path, monkeypatch):
    write(tensors, "org/name")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)  # would be a TypeError
    assert params_of("org/name")
    with pytest.raises(UserError, match="has no revision 'main'"):
        load_encoder("org/name", revision="main")


@pytest.mark.parametrize("place", ["/nowhere/model", "./model", "~/nowhere", "a/b/c", ""])
def test_a_folder_that_is_not_there_is_not_asked_for_on_the_hub(place, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    refused(place, "no such folder")


def test_a_file_is_no_folder(write, tensors):
    refused(write(tensors) + "/model.safetensors", "name the folder")


def test_an_id_is_fetched_without_what_is_not_needed(write, tensors, tmp_path, monkeypatch):
    place = write(tensors)
    asked = []

    def snapshot_download(repository, *, revision, allow_patterns):
        asked.append((repository, revision, allow_patterns))
        return place

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    _, variables = load_encoder("org/name", revision="v2")
    assert_equal(flax.traverse_util.flatten_dict(variables["params"], sep="/"), params_of(place))
    settings = ["config.json", "preprocessor_config.json"]
    safe = [*settings, "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
    assert asked == [("org/name", "v2", safe)]

    (tmp_path / "model" / "model.safetensors").unlink()
    refused("org/name", "no model.safetensors")
    torchs = [*settings, "pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"]
    assert asked[1:] == [("org/name", None, safe), ("org/name", None, torchs)]


def test_an_id_that_cannot_be_fetched(monkeypatch):
    def snapshot_download(*_, **__):
        raise LocalEntryNotFoundError("No network.\nMore.")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    refused("org/name", "org/name", "(No network.)", "name its folder")
    monkeypatch.undo()
    refused("org/na me", "org/na me", "correct the path or the id")


# What is written.

def test_round_trip(write, tensors, tmp_path):
    module, variables = load_encoder(write(tensors))
    save_encoder(tmp_path / "saved", module.config, variables)
    again, others = load_encoder(str(tmp_path / "saved"))
    assert again.config == CONFIG
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, others))
    saved = safetensors.numpy.load_file(tmp_path / "saved" / "model.safetensors")
    assert saved.keys() == tensors.keys()
    for name, array in tensors.items():
        if name == V:  # the direction is stored with the length of the norm
            array = array * (tensors[G] / np.linalg.norm(array, axis=(0, 1)))
        np.testing.assert_allclose(saved[name], array, rtol=1e-6, err_msg=name)
    with safetensors.safe_open(tmp_path / "saved" / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}  # transformers asks for it
    assert json.loads((tmp_path / "saved" / "preprocessor_config.json").read_text())["do_normalize"] is False
    modes = {path.stat().st_mode for path in (tmp_path / "saved").iterdir()}
    assert len(modes) == 1


def test_any_memory_layout_is_written(write, tensors, tmp_path):
    _, variables = load_encoder(write(tensors))
    params = flax.traverse_util.flatten_dict(variables["params"])
    query = params["encoder", "layers_0", "attention", "q_proj", "kernel"]
    for path, array in params.items():
        params[path] = jax.numpy.asarray(array) if array.ndim == 3 else np.asfortranarray(array)
    params["encoder", "layers_1", "attention", "k_proj", "kernel"] = query[::-1]  # memory shared, read backwards
    params["encoder", "layer_norm", "bias"] = np.float32(0.25) * np.ones((32, 2), np.float32)[:, 0]
    save_encoder(tmp_path / "saved", CONFIG, {"params": flax.traverse_util.unflatten_dict(params)})
    assert_equal(params_of(str(tmp_path / "saved")), {"/".join(path): np.asarray(a) for path, a in params.items()})


def test_a_kernel_with_a_place_of_zeros(write, tensors, tmp_path):
    _, variables = load_encoder(write(tensors))
    kernel = variables["params"]["encoder"]["pos_conv_embed"]["conv"]["kernel"]
    kernel[5] = 0
    save_encoder(tmp_path / "saved", CONFIG, variables)
    np.testing.assert_array_equal(params_of(str(tmp_path / "saved"))["encoder/pos_conv_embed/conv/kernel"], kernel)


def test_saving_replaces_what_was_saved_and_nothing_else(write, tensors, tmp_path, monkeypatch):
    _, variables = load_encoder(write(tensors))
    folder = tmp_path / "to" / "saved"
    save_encoder(folder, CONFIG, variables)
    before = params_of(str(folder))
    variables["params"]["encoder"]["layer_norm"]["bias"][:] = 7

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "write_json", full_disk)
        with pytest.raises(UserError, match="No space left"):
            save_encoder(folder, CONFIG, variables)
    assert_equal(params_of(str(folder)), before)
    assert [path.name for path in folder.parent.iterdir()] == ["saved"]
    save_encoder(folder, CONFIG, variables)
    assert (params_of(str(folder))["encoder/layer_norm/bias"] == 7).all()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds more than a saved encoder"):
        save_encoder(folder, CONFIG, variables)
    with pytest.raises(UserError, match="holds more than a saved encoder"):
        save_encoder(folder / "notes.txt", CONFIG, variables)
    assert (folder / "notes.txt").read_text() == "mine"


def test_what_could_not_be_loaded_is_not_written(write, tensors, tmp_path):
    _, variables = load_encoder(write(tensors))
    with pytest.raises(UserError, match="missing"):
        save_encoder(tmp_path / "saved", replace(CONFIG, num_hidden_layers=3), variables)
    variables["params"]["encoder"]["layer_norm"]["bias"][0] = np.nan
    with pytest.raises(UserError, match=r"encoder\.layer_norm\.bias"):
        save_encoder(tmp_path / "saved", CONFIG, variables)
    assert not (tmp_path / "saved").exists()


# Sizes and random weights.

def test_parameters_are_as_many_as_in_transformers():
    assert {name: parameter_count(config) for name, config in NAMED.items()} == COUNTS


@pytest.mark.usefixtures("quick_compilation")
def test_random_weights():
    config = replace(NAMED["tiny"], num_hidden_layers=1)
    module, variables = random_encoder(config, 3)
    assert module.config == config
    shapes = jax.tree.map(lambda leaf: leaf.shape, variables["params"])
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, parameter_shapes(config))
    _, same = random_encoder(config, 3)
    _, other = random_encoder(config, 4)
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, same))
    kernel = ["feature_projection", "projection", "kernel"]
    ours, others = (tree["params"][kernel[0]][kernel[1]][kernel[2]] for tree in (variables, other))
    assert (ours != others).all()
    assert type(ours) is np.ndarray
