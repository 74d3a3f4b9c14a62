"""What tests of the server share: recordings as bytes, and a client of a server whose model is a formula."""

import io

import numpy as np
import soundfile
from fastapi.testclient import TestClient

from sercl_jax.serve import app
from sercl_jax.serve.limits import Limits
from tests.fake_model import FakeModel

RATE = 16_000


def sound(seconds: float = 5.0, rate: int = RATE, channels: int = 1, kind: str = "WAV", subtype: str = "PCM_16",
          amplitude: float = 0.3) -> bytes:
    """A file with noise that becomes louder."""
    count = round(seconds * rate)
    noise = amplitude * np.random.default_rng(0).uniform(-1, 1, (count, channels))
    file = io.BytesIO()
    soundfile.write(file, noise * np.linspace(0, 1, count)[:, None], rate, format=kind, subtype=subtype)
    return file.getvalue()


def made(model: FakeModel | None = None, **limits: float) -> TestClient:
    application = app.create(model or FakeModel(), Limits(**limits))  # type: ignore[arg-type]
    return TestClient(application, base_url="http://localhost:8765", raise_server_exceptions=False)


def form(content: bytes, name: str = "call.wav") -> dict:
    """Arguments of `post` for a form with one file."""
    return {"files": {"file": (name, content)}}
