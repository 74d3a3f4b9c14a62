"""Networks, their weights and waveforms for the parity tests, drawn alike on both sides. Needs neither torch nor JAX.

A weight depends on its name in HuggingFace's state dict, its shape and SEED alone, through a bit stream that NumPy
promises never to change. Only outputs of transformers' models need therefore be kept.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

SEED = 4

BASE = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": False}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
        "conv_dim": [16, 20, 24], "conv_stride": [10, 8, 4], "conv_kernel": [20, 13, 5],
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
WAVLM = {"num_buckets": 16, "max_bucket_distance": 12}  # so near that frames lie beyond

# Name -> the network (config.json), do_normalize, samples of the utterances, and which channels are kept.
Layout = tuple[dict[str, Any], bool, tuple[int, ...], int]
LAYOUTS: Mapping[str, Layout] = {
    "wavlm-base-tiny": ({"model_type": "wavlm", **TINY, **BASE, **WAVLM}, False, (9000, 6007, 2000), 1),
    "wavlm-large-tiny": ({"model_type": "wavlm", **TINY, **LARGE, **WAVLM}, True, (9000, 6007, 2000), 1),
    "hubert-base-tiny": ({"model_type": "hubert", **TINY, **BASE}, True, (9000, 6007, 2000), 1),
    "hubert-large-tiny": ({"model_type": "hubert", **TINY, **LARGE, "conv_bias": True}, True, (9000, 6007, 2000), 1),
    "hubert-odd-tiny": ({"model_type": "hubert", **TINY, **BASE, "num_conv_pos_embeddings": 15, "conv_bias": True,
                         "feat_proj_layer_norm": False, "layer_norm_eps": 1e-3, "hidden_act": "relu"},
                        False, (6007, 2000), 1),
    "wav2vec2-base-tiny": ({"model_type": "wav2vec2", **TINY, **BASE}, True, (9000, 6007, 2000), 1),
    "wav2vec2-large-tiny": ({"model_type": "wav2vec2", **TINY, **LARGE, "conv_bias": True, "mask_time_prob": 0.0},
                            True, (6007, 2000), 1),
    "wavlm-base": ({"model_type": "wavlm", **BASE}, False, (16000, 9000), 16),
    "hubert-base": ({"model_type": "hubert", **BASE}, True, (16000, 9000), 16),
}


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Zero mean and unit variance, float32, of this name."""
    count = math.prod(shape)
    stream = np.random.PCG64([SEED, zlib.crc32(name.encode())])
    halves = stream.random_raw(-(-count // 4)).astype("<u8").view("<u2")[:count]
    centred = (halves.astype(np.float32) + np.float32(0.5)) / np.float32(2 ** 16) - np.float32(0.5)
    return (centred * np.float32(12 ** 0.5)).reshape(shape)


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A weight that keeps activations near 1, attention far from uniform, and every norm and bias at work."""
    u = uniform(name, shape)
    layer, leaf = name.split(".")[-2:] if "." in name else ("", name)
    if name.endswith("weight.original0"):  # norm of [D, D / groups] at each place of the kernel
        return (0.5 + 0.1 * u) * np.float32((1024 / shape[-1]) ** 0.5)
    if "norm" in layer:
        return 1 + 0.3 * u if leaf == "weight" else 0.3 * u
    if leaf == "bias":
        return 0.2 * u
    if leaf == "gru_rel_pos_const":
        return 1 + 0.3 * u
    if layer == "rel_attn_embed":
        return 1.5 * u
    if leaf == "masked_spec_embed" or name.endswith("weight.original1"):
        return u
    gain = {"q_proj": 1.6, "k_proj": 1.6, "conv": 1.5}.get(layer, 1.0)
    return u * np.float32(gain / math.prod(shape[1:]) ** 0.5)


def waveform(samples: int) -> np.ndarray:
    """[S] float32: a gliding tone that swells and fades, noise, and an offset, far from zero mean, unit variance."""
    t = np.arange(samples) / 16000
    tone = np.sin(2 * np.pi * (120 + 300 * t) * t) * np.sin(2 * np.pi * 3 * t + samples)
    noise = uniform(f"waveform {samples}", (samples,))
    return (0.05 + 0.2 * tone + 0.02 * noise).astype(np.float32)


def relative_differences(ours: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Of each layer of [L, T, D]: norm of the difference over norm, largest difference over largest value: [2, L]."""
    difference = ours.astype(np.float64) - reference
    return np.stack([np.linalg.norm(difference, axis=(1, 2)) / np.linalg.norm(reference, axis=(1, 2)),
                     np.abs(difference).max((1, 2)) / np.abs(reference).max((1, 2))])
