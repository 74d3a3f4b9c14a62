"""Compares speech encoders with transformers' torch models, here and now; exits with 1 where they differ.

    python tests/parity.py                       # every layout, with drawn weights (`make parity`)
    python tests/parity.py FOLDER_OR_HUB_ID ...  # pretrained models

Needs torch and transformers. For each model and layer it prints the norm of the difference over the norm, and the
largest difference over the largest value: the worst of the utterances of a padded batch, each compared with what
transformers makes of it alone; the last column is `last_hidden_state`. Transformers writes the weights that we load
and loads those that we write.
"""

import pickle
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import torch
import transformers
from drawn_weights import LARGE, LAYOUTS, relative_differences, waveform
from make_speech_references import hidden_states, torch_model

from sercl_jax.errors import UserError
from sercl_jax.pretrained import load_encoder, save_encoder

TOLERANCE = 1e-4
LENGTHS = (16000, 9000)  # samples of the utterances
# The layout of large models in base size as well; the tests do with tiny ones.
ALL = {**LAYOUTS, "wavlm-large-base": ({"model_type": "wavlm", **LARGE}, True, LENGTHS, 1),
       "hubert-large-base": ({"model_type": "hubert", **LARGE, "conv_bias": True}, True, LENGTHS, 1)}


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.mkdir, (self.path,)


def compare(place: str, model: torch.nn.Module, lengths: tuple[int, ...]) -> np.ndarray:
    """The worst of both measures for each layer, [2, L + 2], of a checkpoint and transformers' model of it."""
    module, variables = load_encoder(place)
    waveforms = np.full((len(lengths), max(lengths)), 3.0, np.float32)  # what stands at padding must not matter
    for row, samples in zip(waveforms, lengths, strict=True):
        row[:samples] = waveform(samples)
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    out = jax.jit(module.apply)(variables, waveforms, mask)
    ours = np.stack([*out.hidden_states, out.last_hidden_state], 1)
    measures = []
    for row, samples in zip(ours, lengths, strict=True):
        reference = hidden_states(model, module.config.normalise, waveform(samples))
        measures.append(relative_differences(row[:, :reference.shape[1]], reference))
    return np.max(measures, 0)


def write(folder: Path, model: torch.nn.Module, normalise: bool) -> None:
    """As transformers does it, in shards."""
    model.save_pretrained(folder, max_shard_size="100KB" if model.num_parameters() < 10 ** 6 else "200MB")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)


def round_trip(place: Path, folder: Path, model: torch.nn.Module) -> float:
    """Largest difference of the weights after `save_encoder` and transformers' loading, the norms multiplied out."""
    module, variables = load_encoder(str(place))
    save_encoder(folder, module.config, variables)
    again, told = type(model).from_pretrained(folder, output_loading_info=True)
    if any(told.values()):
        raise SystemExit(f"{folder}: transformers says {told}")
    kernels = [each.encoder.pos_conv_embed.conv.weight.detach() for each in (model, again)]
    before, after = model.state_dict(), again.state_dict()
    pairs = [(before[name], after[name]) for name in before if ".parametrizations." not in name] + [tuple(kernels)]
    return max(float((x - y).abs().max()) for x, y in pairs)


def torchs_files(folder: Path, model: torch.nn.Module, settings: Path) -> None:
    """pytorch_model.bin is read as its tensors; one that is cut, or runs code, is refused and does nothing."""
    folder.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_bytes((settings / name).read_bytes())
    path = folder / "pytorch_model.bin"
    states = {name: tensor.to(torch.bfloat16) for name, tensor in model.state_dict().items()}
    for legacy in (False, True):
        torch.save(states, path, _use_new_zipfile_serialization=not legacy)
        _, variables = load_encoder(str(folder))
        bias = states["encoder.layer_norm.bias"].float().numpy()
        np.testing.assert_array_equal(variables["params"]["encoder"]["layer_norm"]["bias"], bias)
    whole = path.read_bytes()
    harm = Malicious(folder / "executed")
    for content in (b"", whole[:len(whole) // 2], pickle.dumps(harm, 2), pickle.dumps({"weight": harm}, 2),
                    pickle.dumps([1], 2), b"version https://git-lfs.github.com/spec/v1"):
        path.write_bytes(content)
        refused(folder)
    for value in ({"weight": harm}, states | {"encoder.layer_norm.bias": harm}, [torch.zeros(2)],
                  states | {"encoder.layer_norm.bias": torch.zeros(32, dtype=torch.int8)}):
        torch.save(value, path)
        refused(folder)
    if (folder / "executed").exists():
        raise SystemExit("a file of weights was executed")


def refused(folder: Path) -> None:
    try:
        load_encoder(str(folder))
    except UserError as error:
        if "pytorch_model.bin" not in str(error):
            raise SystemExit(f"this does not name the file: {error}") from error
    else:
        raise SystemExit(f"{folder}: a damaged file was not refused")


def main(places: list[str]) -> int:
    transformers.utils.logging.disable_progress_bar()
    worst = 0.0

    def show(name: str, measures: np.ndarray) -> None:
        nonlocal worst
        worst = np.maximum(worst, measures.max())  # keeps a NaN
        for what, row in zip(("norm", "largest"), measures, strict=True):
            print(f"{name:20} {what:8}" + " ".join(f"{value:.0e}" for value in row), flush=True)

    print(f"{'':20} {'':8}" + " ".join(f"{layer:5}" for layer in range(14)))
    for place in places:
        show(place, compare(place, transformers.AutoModel.from_pretrained(place).eval(), LENGTHS))
    with tempfile.TemporaryDirectory() as temporary:
        for name, (config, normalise, lengths, _) in () if places else ALL.items():
            model, folder = torch_model(config), Path(temporary) / name
            write(folder, model, normalise)
            show(name, compare(str(folder), model, lengths))
            difference = round_trip(folder, Path(temporary) / f"{name}-saved", model)
            worst = np.maximum(worst, difference)
            print(f"{name:20} weights after our saving and transformers' loading differ by {difference:.0e}")
            if name.endswith("-tiny"):
                torchs_files(Path(temporary) / f"{name}-torch", model, folder)
    print(f"worst {worst:.1e}, allowed {TOLERANCE:.0e}")
    return 0 if worst < TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
