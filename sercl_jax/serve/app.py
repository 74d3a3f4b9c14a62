"""Paths, answers and errors of the server."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from importlib import metadata, resources
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from sercl_jax.errors import UserError
from sercl_jax.inference import windows
from sercl_jax.inference.card import REPRESENTATION
from sercl_jax.inference.recording import Recording
from sercl_jax.predicting import answers
from sercl_jax.serve import decoding, guard, schemas, uploads
from sercl_jax.serve.engine import Engine, Predictor
from sercl_jax.serve.limits import Limits, Refused

_log = logging.getLogger(__name__)

_MOST_WINDOWS = 1500
_PAGE = {"/": ("index.html", "text/html"), "/page.css": ("page.css", "text/css"),
         "/icon.svg": ("icon.svg", "image/svg+xml"),
         **{f"/{name}.js": (f"{name}.js", "text/javascript")
            for name in ("page", "drawing", "sound", "recorder", "worklet")}}
_BODY = {"required": True, "content": {
    "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {
        "file": {"type": "string", "format": "binary"}}}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_REFUSALS = {400: "No recording, or more than one", 403: "Asked by a page from elsewhere",
             408: "It arrives too slowly", 413: "It is too large or too long", 415: "It is no audio that can be read",
             422: "It is damaged, silent or too short, or an option is wrong", 503: "Busy: come back later"}
_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": schemas.Error, "description": words}
                                            for status, words in _REFUSALS.items()}


def create(model: Predictor, limits: Limits, hosts: tuple[str, ...] | None = guard.LOOPBACK) -> FastAPI:
    """The application; its engine lives from its start to its shutdown.

    Args:
      model: of classes or ratings.
      hosts: see `Guard`.

    Raises:
      UserError: the model makes embeddings only.
    """
    if model.card.kind == REPRESENTATION:
        raise UserError("This model makes embeddings only, which python -m sercl_jax.embed writes; serve needs one "
                        "that tells emotions or ratings.")
    threads = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="decode")
    requests = 0

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = engine = Engine(model)
        yield
        engine.close()
        threads.shutdown()

    app = FastAPI(title="Speech emotion recognition", version=metadata.version("sercl_jax"), lifespan=life,
                  docs_url=None, redoc_url=None,  # their pages load scripts from elsewhere
                  description=f"{model.card.method} trained on {model.card.corpus}.")
    app.add_middleware(guard.Guard, hosts=hosts)
    _tell_errors(app)

    @contextlib.contextmanager
    def place() -> Iterator[None]:
        nonlocal requests
        if requests >= limits.concurrency:
            raise Refused(503, f"The server is busy with {requests} recordings; try again in a moment.",
                          {"Retry-After": "1"})
        requests += 1
        try:
            yield
        finally:
            requests -= 1

    @app.post("/predict", response_model=schemas.Answer, responses=_ERRORS, openapi_extra={"requestBody": _BODY},
              summary="Emotions or ratings of one recording")
    async def predict(request: Request, options: Annotated[schemas.Options, Query()]) -> Any:
        """One audio file, as a form's only file or as the whole body: WAV, FLAC, OGG, MP3 or another format that
        libsndfile reads, of any rate and number of channels.
        """
        labels = _labels(options.labels, model.card.labels)
        with place():
            name, content = await uploads.read(request, limits)
            loop = asyncio.get_running_loop()
            waveform = await loop.run_in_executor(threads, decoding.decode, content, name, limits)
            _check_windows(len(waveform), options.window or model.card.seconds, options.overlap)
            answer = app.state.engine.submit(Recording(name, waveform), options.window, options.overlap)
            try:
                prediction = await asyncio.wait_for(asyncio.wrap_future(answer), limits.timeout)
                return JSONResponse(answers.plain(answers.restricted(prediction, labels), options.top))
            except TimeoutError as error:
                raise Refused(503, f"The server did not come to this recording within {limits.timeout:g} seconds; "
                                   "try again later.", {"Retry-After": "5"}) from error
            except UserError as error:
                raise Refused(422, decoding.in_a_request(str(error))) from error

    @app.get("/model", response_model=schemas.About, summary="What the model is, and the limits of this server")
    async def about() -> Any:
        return model.card.to_json() | {"limits": vars(limits)}

    @app.get("/health", response_model=schemas.Health, summary="Whether it works")
    async def health() -> Any:
        return {"status": "ok", "requests": requests}

    for path, (file, media) in _PAGE.items():
        content = (resources.files("sercl_jax.serve") / "page" / file).read_bytes()
        app.add_api_route(path, _fixed(Response(content, media_type=media)), include_in_schema=False)
    return app


def _labels(wanted: str, known: Sequence[str]) -> tuple[str, ...]:
    try:
        return answers.chosen(wanted, known)
    except UserError as error:
        raise Refused(422, str(error).removeprefix("--")) from error


def _check_windows(samples: int, window: float, overlap: float) -> None:
    """One request must not keep the others waiting for minutes."""
    try:
        count = len(windows.spans(samples, window, overlap))
    except UserError as error:
        raise Refused(422, str(error)) from error
    if count > _MOST_WINDOWS:
        raise Refused(422, f"window={window:g} and overlap={overlap:g} make {count} windows of this recording; at "
                           f"most {_MOST_WINDOWS} are computed at a time: choose longer ones or less overlap.")


def _fixed(response: Response) -> Any:
    async def send() -> Response:
        return response
    return send


def _tell_errors(app: FastAPI) -> None:
    """Every error is JSON with words for people, and none shows the inside of the server."""

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> JSONResponse:
        return JSONResponse({"error": error.words}, error.status, dict(error.headers or {}))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        words = {404: f"There is nothing at {request.url.path}; /openapi.json describes what there is.",
                 405: f"{request.url.path} does not take {request.method}; /openapi.json describes what there is."}
        told = words.get(error.status_code, str(error.detail) or HTTPStatus(error.status_code).phrase)
        return JSONResponse({"error": told}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def options(_: Request, error: RequestValidationError) -> JSONResponse:
        known = ", ".join(schemas.Options.model_fields)
        told = [f"{problem['loc'][-1]}: there is no such option; known are {known}"
                if problem["type"] == "extra_forbidden" else f"{problem['loc'][-1]}: {problem['msg']}"
                for problem in error.errors()]
        return JSONResponse({"error": f"{'; '.join(told)}."}, 422)

    @app.exception_handler(Exception)
    async def failure(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "The server failed; its own output says why."}, 500)
