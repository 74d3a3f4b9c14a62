"""The body of a request -> the bytes of one file, without ever holding more than the limit."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from sercl_jax.serve.limits import Limits, Refused

_LONGEST_NAME = 200  # characters
_HOW = "send one audio file, as the body of the request or as a form (multipart/form-data) with one file"

Receive = Callable[[], Awaitable[Any]]


async def read(request: Request, limits: Limits) -> tuple[str, bytes]:
    """The name and the content of the file that a request brings.

    Raises:
      Refused: 413 too large, 408 too slow, 400 nothing, more than one file, a broken form, or hung up.
    """
    told = request.headers.get("content-length", "")
    if told.isdigit() and int(told) > limits.max_bytes and "expect" in request.headers:
        raise _too_large(limits)  # who asks first has sent nothing yet
    limited = Request(request.scope, _limited(request.receive, limits))
    try:
        async with asyncio.timeout(limits.timeout):
            if request.headers.get("content-type", "").lower().startswith("multipart/"):
                name, content = await _from_form(limited)
            else:
                name, content = "recording", await limited.body()
    except TimeoutError as error:
        raise Refused(408, f"The recording did not arrive within {limits.timeout:g} seconds.") from error
    except ClientDisconnect as error:
        raise Refused(400, "The connection was closed before the recording had arrived.") from error
    if not content:
        raise Refused(400, f"{name}: is empty (0 bytes); {_HOW}.")
    return name, content


async def _from_form(request: Request) -> tuple[str, bytes]:
    try:
        form = await request.form(max_files=1, max_fields=1)
    except HTTPException as error:  # a form that cannot be read
        raise Refused(400, f"{error.detail.rstrip('.')}: {_HOW}.") from error
    try:
        items = form.multi_items()
        for field, value in items:
            if not isinstance(value, UploadFile):
                raise Refused(400, f"The form has a field {field[:_LONGEST_NAME]!r} beside the file; options belong "
                                   "into the address, such as /predict?window=2.")
        if not items:
            raise Refused(400, f"The form is empty: {_HOW}.")
        upload = items[0][1]
        assert isinstance(upload, UploadFile)
        return _name(upload.filename), await upload.read()
    finally:
        await form.close()


def _name(told: str | None) -> str:
    """A client's name of a file, as it is said in messages: no folders, one line."""
    name = PurePosixPath((told or "").replace("\\", "/")).name
    return "".join(c for c in name if c.isprintable())[:_LONGEST_NAME] or "recording"


def _limited(receive: Receive, limits: Limits) -> Receive:
    """Counts what arrives. As much again as the limit is read and forgotten before it is refused, for a client that
    is cut off while it sends does not see the answer.
    """
    taken = 0

    async def count() -> Any:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken <= limits.max_bytes:
            return message
        while message.get("more_body") and taken <= 2 * limits.max_bytes:
            message = await receive()
            taken += len(message.get("body", b""))
        raise _too_large(limits)

    return count


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"The recording is larger than {limits.max_mb:g} MB; send it in parts, or compressed (FLAC, "
                        "OGG, MP3).")
