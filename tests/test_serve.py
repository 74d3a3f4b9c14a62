"""The server's answers and refusals, with a model that is a formula."""

import asyncio
import io
from collections.abc import AsyncIterator

import httpx
import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sercl_jax.errors import UserError
from sercl_jax.inference.recording import Recording
from sercl_jax.predicting import answers
from sercl_jax.serve import app, schemas
from sercl_jax.serve.limits import Limits
from tests.fake_model import RATED, FakeModel
from tests.serving import form, made, sound


@pytest.fixture(scope="module")
def client():
    with made() as client:
        yield client


def test_a_form_and_a_body_get_what_predict_writes(client):
    content = sound()
    by_form = client.post("/predict?window=2", **form(content))
    by_body = client.post("/predict?window=2", content=content, headers={"content-type": "audio/wav"})
    assert by_form.status_code == by_body.status_code == 200, by_form.text
    samples, _ = soundfile.read(io.BytesIO(content), dtype="int16")
    prediction, = FakeModel().predict_each([Recording("call.wav", samples)], window=2.0, workers=0)
    assert by_form.json() == answers.plain(prediction)
    assert by_body.json() == answers.plain(prediction) | {"path": "recording"}
    told = schemas.Answer.model_validate(by_form.json())
    assert sum(told.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert [(window.start, window.end) for window in told.windows] == [(0, 2), (1, 3), (2, 4), (3, 5)]
    assert told.windows[-1].probabilities["angry"] > told.windows[0].probabilities["angry"]


@pytest.mark.parametrize(("kind", "subtype", "rate", "channels"), [
    ("FLAC", "PCM_24", 44_100, 2), ("OGG", "VORBIS", 16_000, 1), ("MP3", "MPEG_LAYER_III", 48_000, 2),
    ("WAV", "FLOAT", 8_000, 1), ("AIFF", "PCM_16", 22_050, 1)])
def test_formats_rates_and_channels(client, kind, subtype, rate, channels):
    told = client.post("/predict", **form(sound(1.0, rate, channels, kind, subtype))).json()
    assert told["seconds"] == pytest.approx(1, abs=0.1)


def test_options(client):
    told = client.post("/predict?window=1&overlap=0&top=1&labels=happy,%20sad", **form(sound(3.0))).json()
    assert len(told["windows"]) == 3
    assert list(told["probabilities"]) == [told["label"]]
    assert told["label"] in ("happy", "sad")
    whole = client.post("/predict?labels=happy,sad", **form(sound(3.0))).json()
    assert sum(whole["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_ratings():
    with made(FakeModel("ratings")) as client:
        told = client.post("/predict", **form(sound())).json()
        schemas.Answer.model_validate(told)
        assert list(told["ratings"]) == list(RATED)
        assert "probabilities" not in told["windows"][0]
        assert client.get("/model").json()["kind"] == "ratings"


FORMATS = (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"))
BAD = {
    "an empty body": (400, "empty", {"content": b""}),
    "an empty file": (400, "nothing.wav: is empty", form(b"", "nothing.wav")),
    "two files": (400, "Too many files", {"files": [("file", ("a.wav", b"a")), ("file", ("b.wav", b"b"))]}),
    "a field": (400, "window=2", {"files": {"file": ("a.wav", b"a")}, "data": {"window": "2"}}),
    "a form without a boundary": (400, "boundary", {"content": b"x", "headers": {
        "content-type": "multipart/form-data"}}),
    "a broken form": (400, "one audio file", {"content": b"nonsense", "headers": {
        "content-type": "multipart/form-data; boundary=abc"}}),
    "text": (415, "notes.txt: is not audio", form(b"dear diary\n" * 99, "notes.txt")),
    "a header alone": (415, "damaged", form(sound()[:30])),
    "a truncated file": (422, "truncated", form(sound()[:9000])),
    "a truncated FLAC": (415, "damaged", form(sound(kind="FLAC")[:9000], "cut.flac")),
    "silence": (422, "digital silence", form(sound(amplitude=0.0))),
    "an instant": (422, "10.0 ms", form(sound(0.01))),
    "NaN": (422, "NaN", form(sound(subtype="FLOAT", amplitude=np.nan))),
    "what the model refuses": (422, "no voiced frame", form(sound(), "unlucky.wav")),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_told_in_plain_words(client, what):
    status, words, request = BAD[what]
    answer = client.post("/predict", **request)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    assert words in answer.json()["error"]
    for inside in ("Traceback", "on_error", "object at", "sercl_jax"):
        assert inside not in answer.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
       st.floats(0, 1))
def test_damage_of_any_kind_is_no_failure(client, known, changes, kept):
    content = bytearray(sound(0.2, 16_000, 1, *known))
    for where, value in changes:
        content[int(where**3 * (len(content) - 1))] = value  # headers most of all
    answer = client.post("/predict", **form(bytes(content[:max(1, round(kept * len(content)))])))
    assert answer.status_code in (200, 413, 415, 422), answer.text


@pytest.mark.parametrize(("query", "words"), [
    ("window=abc", "window: "), ("window=-1", "window: "), ("window=0.01", "at least 0.1 s"),
    ("overlap=1", "overlap: "), ("top=-1", "top: "),
    ("labels=hapy", "labels: the model does not know 'hapy'. Did you mean 'happy'?"),
    ("windw=2", "windw: there is no such option; known are window, overlap, top, labels"),
    ("window=0.1&overlap=0.95", "1500")])
def test_wrong_options(client, query, words):
    answer = client.post(f"/predict?{query}", **form(sound(60.0, 4000)))
    assert answer.status_code == 422
    assert words in answer.json()["error"]


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/predict", 405), ("POST", "/", 405), ("DELETE", "/model", 405), ("GET", "/absent", 404),
    ("GET", "/docs", 404), ("GET", "/redoc", 404), ("GET", "/..%2f..%2fapp.py", 404)])
def test_other_paths_and_methods(client, method, path, status):
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_a_client_s_name_of_a_file_stays_harmless(client):
    told = client.post("/predict", **form(sound(0.5), "../../etc/a\\b\x1b[31m<b>.wav")).json()
    assert told["path"] == "b[31m<b>.wav"
    assert len(client.post("/predict", **form(b"no", "x" * 5000)).json()["error"]) < 400


def test_what_is_too_large_is_refused_and_not_kept():
    read = 0

    def endless():
        nonlocal read
        for _ in range(1000):
            read += 1
            yield bytes(2**16)

    with made(max_mb=0.5) as client:
        large = sound(20.0)
        assert len(large) > 2**19
        answers_ = [client.post("/predict", **form(large)), client.post("/predict", content=large),
                    client.post("/predict", content=large, headers={"expect": "100-continue"})]
        for answer in answers_:
            assert answer.status_code == 413
            assert "larger than 0.5 MB" in answer.json()["error"]
        assert client.post("/predict", **form(sound(1.0))).status_code == 200

        async def stream():
            for chunk in endless():
                yield chunk

        answer = asyncio.run(_alone(client.app, stream()))
    assert answer.status_code == 413
    assert read == 17  # twice the limit, and then no more


async def _alone(application, content: AsyncIterator[bytes]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://localhost") as client:
        return await client.post("/predict", content=content)


def test_hours_of_silence_in_few_bytes_are_refused():
    long = sound(900.0, 8_000, kind="FLAC", amplitude=0.0)
    with made(max_seconds=10) as client:
        for content, words in ((long, "at most 10 seconds"), (sound(12.0), "lasts 12.0 seconds"),
                               (sound(7.0, 96_000), "480000 samples")):
            answer = client.post("/predict", **form(content))
            assert answer.status_code == 413
            assert words in answer.json()["error"]
        assert client.post("/predict", **form(sound(10.0))).status_code == 200


def test_a_model_that_only_embeds_is_refused():
    with pytest.raises(UserError, match="embeddings only"):
        app.create(FakeModel("representation"), Limits())


@pytest.mark.parametrize("wrong", [{"max_mb": 0}, {"max_seconds": -1}, {"concurrency": 0}, {"timeout": np.nan}])
def test_impossible_limits(wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}="):
        Limits(**wrong)
