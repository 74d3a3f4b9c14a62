"""Writes testdata/speech_*.npz: the hidden states of transformers' models with the weights of `drawn_weights`.

Needs torch and transformers:  python tests/make_speech_references.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from drawn_weights import LAYOUTS, Layout, drawn, waveform

KINDS = {"wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
         "hubert": (transformers.HubertConfig, transformers.HubertModel),
         "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model)}
FOLDER = Path(__file__).parent / "testdata"


def torch_model(config: dict[str, Any]) -> torch.nn.Module:
    """transformers' model of a config.json, in eval mode, its weights drawn by name."""
    settings = {key: value for key, value in config.items() if key != "model_type"}
    if "conv_dim" in config:
        settings["num_feat_extract_layers"] = len(config["conv_dim"])
    make_config, make_model = KINDS[config["model_type"]]
    model = make_model(make_config(**settings)).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(torch.from_numpy(drawn(name, tuple(tensor.shape))))
    return model


def hidden_states(model: torch.nn.Module, normalise: bool, samples: np.ndarray) -> np.ndarray:
    """Of one utterance alone: [L + 1, T, D], the last as `last_hidden_state` has it."""
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)
    inputs = extractor(samples, sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        out = model(inputs.input_values, output_hidden_states=True)
    return np.stack([state[0].numpy() for state in (*out.hidden_states, out.last_hidden_state)])


def references(layout: Layout) -> dict[str, np.ndarray]:
    """What a test needs of each utterance: some channels of every hidden state, and the norm of each whole state."""
    config, normalise, lengths, every = layout
    model = torch_model(config)
    kept = {}
    for samples in lengths:
        states = hidden_states(model, normalise, waveform(samples))
        kept[f"states_{samples}"] = states[..., ::every]
        kept[f"norms_{samples}"] = np.linalg.norm(states.astype(np.float64), axis=(1, 2))
    return kept


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, layout in LAYOUTS.items():
        np.savez_compressed(FOLDER / f"speech_{name}.npz", **references(layout))
        print(f"{name}: {(FOLDER / f'speech_{name}.npz').stat().st_size} bytes")
