"""Agreement with openSMILE, on made signals and on real speech."""

import importlib.util
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sercl_jax import features

EMODB = Path(__file__).resolve().parents[2] / "shared" / "corpora" / "emodb-download.zip"
needs_opensmile = pytest.mark.skipif(importlib.util.find_spec("opensmile") is None,
                                     reason="openSMILE is not installed: agreement with it was NOT tested")
RATE = 16_000
_rng = np.random.default_rng(0)
MADE = {
    "silence": np.zeros(RATE),
    "constant": np.full(RATE, 5000),
    "noise": _rng.normal(0, 3000, RATE),
    "clipped": np.clip(_rng.normal(0, 30_000, RATE), -32768, 32767),
    "sine": 20_000 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE),
    "silence, then noise": np.concatenate([np.zeros(RATE // 2), _rng.normal(0, 3000, RATE // 2)]),
    "voiced, then noise": np.concatenate([np.resize(9000 * np.exp(-np.arange(130) / 20) * np.sin(np.arange(130) / 4),
                                                    RATE), _rng.normal(0, 500, RATE // 2)]),
}


@needs_opensmile
@pytest.mark.parametrize("kind", MADE)
def test_descriptors_equal_opensmile_s_on_made_signals(kind: str):
    waveform = MADE[kind].astype(np.int16)
    np.testing.assert_allclose(features.describe(waveform, "is10_librosa"), features.describe(waveform, "is10"),
                               rtol=1e-3, atol=1e-2)


@needs_opensmile
@pytest.mark.parametrize("hz", [150, 220, 320])
def test_jitter_and_shimmer_equal_opensmile_s_on_irregular_pulses(hz: int):
    rng = np.random.default_rng(hz)
    marks = np.cumsum(rng.normal(RATE / hz, 0.03 * RATE / hz, 2 * hz)).astype(int)
    wave = np.zeros(marks[-1] + 1)
    wave[marks] = rng.uniform(0.6, 1, len(marks))
    ring = np.arange(300)
    wave = np.convolve(wave, np.exp(-ring / 40) * np.sin(ring / 4)) + rng.normal(0, 0.01, len(wave) + 299)
    waveform = (9000 * wave).astype(np.int16)
    ours, theirs = (features.describe(waveform, name)[:, 35:38] for name in ("is10_librosa", "is10"))
    assert (theirs > 0).mean() > 0.2
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@needs_opensmile
@pytest.mark.parametrize("samples", [0, 1, 400, 959, 960, 1119, 1120, 2000])
def test_short_waveforms_have_as_many_frames_as_ours(samples: int):
    waveform = _rng.normal(0, 3000, samples).astype(np.int16)
    values = features.describe(waveform, "is10")
    assert values.shape == features.describe(waveform, "is10_librosa").shape
    assert np.isfinite(values).all()


@needs_opensmile
def test_full_scale_floats_do_not_wrap_around():
    wave = np.sign(np.sin(2 * np.pi * 150 * np.arange(8000) / RATE))
    full, less = (features.describe(scale * wave, "is10") for scale in (1, 0.999))
    np.testing.assert_allclose(full[:, 1:16], less[:, 1:16], atol=0.1)


@needs_opensmile
@pytest.mark.skipif(not EMODB.exists(), reason=f"{EMODB.name} is not beside the checkout: real speech was NOT tested")
def test_descriptors_agree_with_opensmile_on_real_speech():
    ours, theirs = [], []
    with zipfile.ZipFile(EMODB) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".wav"))
        assert len(names) == 535
        for i in np.random.default_rng(0).choice(len(names), 60, replace=False):
            waveform, _ = soundfile.read(io.BytesIO(archive.read(names[i])), dtype="int16")
            ours.append(features.describe(waveform, "is10_librosa"))
            theirs.append(features.describe(waveform, "is10"))
    a, b = np.concatenate(ours), np.concatenate(theirs)
    names = features.feature_names("is10")
    r = {name: np.corrcoef(a[:, k], b[:, k])[0, 1] for k, name in enumerate(names)}
    assert min(r.values()) > 0.9999, sorted(r.items(), key=lambda item: item[1])[:5]
    # In units of each descriptor's deviation, so that an offset or a scale would show.
    assert np.abs((a - b) / b.std(0)).mean(0).max() < 1e-3


def test_absence_names_the_extra():
    code = ("import importlib.metadata as m, numpy as np\n"
            "def version(name): raise m.PackageNotFoundError(name)\n"
            "m.version = version\n"
            "from sercl_jax import features\n"
            "features.describe(np.zeros(2000), 'is10')")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode != 0
    assert "UserError: openSMILE is not installed" in result.stderr
    assert "pip install 'sercl_jax[opensmile]'" in result.stderr
