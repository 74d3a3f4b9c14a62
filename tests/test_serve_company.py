"""Several at once: what waits goes through the model together, and what is too much is told so."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest

from sercl_jax.inference.recording import Recording
from sercl_jax.serve import app
from sercl_jax.serve.engine import Engine, warm_up
from sercl_jax.serve.limits import Limits
from tests.fake_model import FakeModel
from tests.serving import RATE, form, made, sound


@pytest.fixture(scope="module")
def client():
    with made() as client:
        yield client


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
