"""The server with a model that is a formula: answers, refusals, limits, company; its page and its description."""

import asyncio
import io
import json
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

import sercl_jax
from sercl_jax.errors import UserError
from sercl_jax.inference.recording import Recording
from sercl_jax.predicting import answers
from sercl_jax.serve import app, guard, schemas
from sercl_jax.serve.engine import Engine, warm_up
from sercl_jax.serve.limits import Limits
from tests.fake_model import LABELS, RATED, FakeModel

RATE = 16_000
PAGE = Path(sercl_jax.__file__).parent / "serve" / "page"


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


@pytest.fixture(scope="module")
def client():
    with made() as client:
        yield client


def form(content: bytes, name: str = "call.wav") -> dict:
    return {"files": {"file": (name, content)}}


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


@asynccontextmanager
async def running(model: FakeModel, **limits: float) -> AsyncIterator[httpx.AsyncClient]:
    application = app.create(model, Limits(**limits))  # type: ignore[arg-type]
    async with application.router.lifespan_context(application), httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url="http://localhost") as client:
        yield client


async def _until(client: httpx.AsyncClient, requests: int) -> None:
    while (await client.get("/health")).json()["requests"] < requests:
        await asyncio.sleep(0)


def test_who_comes_while_others_are_computed_goes_together():
    model = FakeModel(gate=threading.Event())

    async def talk() -> list[httpx.Response]:
        async with running(model) as client:
            first = asyncio.create_task(client.post("/predict", **form(sound(1.0))))
            await asyncio.to_thread(model.started.wait)
            others = [asyncio.create_task(client.post("/predict", **form(sound(1.0 + k / 10), f"{k}.wav")))
                      for k in range(5)]
            queue = client._transport.app.state.engine._jobs  # type: ignore[attr-defined]
            while queue.qsize() < 5:
                await asyncio.sleep(0.01)
            model.gate.set()
            return await asyncio.gather(first, *others)

    told = asyncio.run(talk())
    assert [answer.status_code for answer in told] == [200] * 6
    assert [answer.json()["path"] for answer in told] == ["call.wav", *(f"{k}.wav" for k in range(5))]
    assert [answer.json()["seconds"] for answer in told] == [1.0, 1.0, 1.1, 1.2, 1.3, 1.4]
    assert model.calls == [1, 5]
    assert model.threads == {"model"}


def test_too_many_at_once_are_asked_to_come_back():
    model = FakeModel(gate=threading.Event())

    async def talk() -> tuple[httpx.Response, list[httpx.Response], httpx.Response]:
        async with running(model, concurrency=2) as client:
            two = [asyncio.create_task(client.post("/predict", **form(sound(1.0)))) for _ in range(2)]
            await _until(client, 2)
            third = await client.post("/predict", **form(sound(1.0)))
            model.gate.set()
            done = await asyncio.gather(*two)
            return third, done, await client.post("/predict", **form(sound(1.0)))

    third, two, later = asyncio.run(talk())
    assert (third.status_code, third.headers["retry-after"]) == (503, "1")
    assert "busy" in third.json()["error"]
    assert [answer.status_code for answer in [*two, later]] == [200] * 3


def test_who_is_slow_or_waits_too_long_is_told():
    model = FakeModel(gate=threading.Event())

    async def slowly() -> AsyncIterator[bytes]:
        yield sound(1.0)[:1000]
        await asyncio.Event().wait()

    async def talk() -> list[httpx.Response]:
        async with running(model, timeout=0.2) as client:
            told = [await client.post("/predict", content=slowly())]
            waiting = [client.post("/predict", **form(sound(1.0))) for _ in range(2)]
            told += await asyncio.gather(*waiting)
            model.gate.set()
            assert (await client.get("/health")).json() == {"status": "ok", "requests": 0}
            return told

    slow, *others = asyncio.run(talk())
    assert slow.status_code == 408
    assert [(answer.status_code, answer.headers["retry-after"]) for answer in others] == [(503, "5")] * 2


def test_a_failure_of_the_model_is_logged_and_not_shown(client, caplog):
    answer = client.post("/predict", **form(sound(), "broken.wav"))
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "ZeroDivisionError" not in answer.text
    assert "inside the model" in caplog.text
    assert client.post("/predict", **form(sound())).status_code == 200


def test_the_engine_answers_what_waits_before_it_ends():
    model = FakeModel(gate=threading.Event())
    engine = Engine(model, together=2)
    noise = np.random.default_rng(0).integers(-9, 9, RATE).astype(np.int16)
    first = engine.submit(Recording("0", noise))
    model.started.wait()
    others = [engine.submit(Recording(str(k), noise), window=1.0 if k % 2 else None) for k in range(1, 6)]
    assert others[0].cancel()
    closing = threading.Thread(target=engine.close)
    closing.start()
    model.gate.set()
    closing.join()
    assert [first.result().source, *(future.result().source for future in others[1:])] == ["0", "2", "3", "4", "5"]
    assert model.calls == [1, 1, 1, 1, 1]  # the cancelled one had no part; other windows go apart


def test_warming_up_covers_lengths_alone_and_together():
    model = FakeModel()
    warm_up(model)
    assert model.calls == [1, 2] * 4  # 0.5, 1, 2 and 3 s


def test_a_model_that_only_embeds_is_refused():
    with pytest.raises(UserError, match="embeddings only"):
        app.create(FakeModel("representation"), Limits())


@pytest.mark.parametrize("wrong", [{"max_mb": 0}, {"max_seconds": -1}, {"concurrency": 0}, {"timeout": np.nan}])
def test_impossible_limits(wrong):
    with pytest.raises(UserError, match=f"--{next(iter(wrong))}="):
        Limits(**wrong)


@pytest.mark.parametrize(("headers", "status"), [
    ({}, 200), ({"host": "127.0.0.1:9"}, 200), ({"host": "[::1]:8765"}, 200), ({"host": "LOCALHOST"}, 200),
    ({"host": "evil.example"}, 400), ({"host": "localhost.evil.example:8765"}, 400), ({"host": "[::1"}, 400),
    ({"host": ""}, 400), ({"origin": "http://localhost:8765"}, 200), ({"origin": "http://localhost:1"}, 403),
    ({"origin": "https://evil.example"}, 403), ({"origin": "null"}, 403)])
def test_other_names_and_pages_are_refused(client, headers, status):
    answer = client.get("/model", headers=headers)
    assert answer.status_code == status
    assert ("error" in answer.json()) == (status != 200)


def test_names_do_not_matter_away_from_loopback():
    with TestClient(app.create(FakeModel(), Limits(), hosts=None), base_url="http://lab.example") as client:
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("GET", "/model"), ("GET", "/absent"),
                                              ("POST", "/predict"), ("GET", "/openapi.json")])
def test_every_answer_has_a_strict_policy(client, method, path):
    headers = client.request(method, path).headers
    assert headers["content-security-policy"] == guard.POLICY
    assert "default-src 'none'" in guard.POLICY
    assert "unsafe" not in guard.POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_the_page_needs_nothing_from_elsewhere(client):
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGE.iterdir()}
    wanted = set(re.findall(r'(?:href|src)="([^"#]+)"', texts["index.html"]))
    scripts = "".join(text for name, text in texts.items() if name.endswith(".js"))
    wanted |= set(re.findall(r'(?:from |addModule\()"(?:\./)?([^"]+)"', scripts))
    assert {"page.js", "page.css", "icon.svg", "worklet.js", "openapi.json"} <= wanted
    for name in wanted:
        assert client.get(f"/{name}").status_code == 200, name
    for name, text in texts.items():
        urls = set(re.findall(r"[a-z]+://[^\s'\"<)]+|url\([^)]*\)", text))
        assert urls <= {"http://www.w3.org/2000/svg"}, name  # a name, never fetched
    assert not re.search(r"\son\w+=|\sstyle=|<script(?![^>]*src=)|<style", texts["index.html"])
    assert "innerHTML" not in "".join(texts.values())  # a file's name is text


def test_every_element_that_scripts_use_is_there():
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    used = {name for path in PAGE.glob("*.js") for name in re.findall(r'\bat\("([\w-]+)"\)', path.read_text())}
    assert used <= set(re.findall(r'id="([\w-]+)"', page))
    assert "record" in used


def test_the_description(client):
    told = client.get("/openapi.json").json()
    assert told["openapi"].startswith("3.")
    assert sorted(told["paths"]) == ["/health", "/model", "/predict"]
    post = told["paths"]["/predict"]["post"]
    assert {parameter["name"] for parameter in post["parameters"]} == {"window", "overlap", "top", "labels"}
    assert set(post["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream"}
    assert set(post["responses"]) == {"200", "400", "403", "408", "413", "415", "422", "503"}
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(told)))
    assert "#/components/schemas/Answer" in references
    for reference in references:
        part = told
        for key in reference.removeprefix("#/").split("/"):
            part = part[key]
        assert part["type"] == "object"


def test_the_model_is_told(client):
    told = client.get("/model").json()
    assert told["labels"] == list(LABELS)
    assert told["limits"] == {"max_mb": 25, "max_seconds": 300, "concurrency": 32, "timeout": 60}
    schemas.About.model_validate(told)
