"""The command line: `python -m sercl_jax.serve --workdir=RUN`."""

import argparse
import ctypes
import ipaddress
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from sercl_jax import resources
from sercl_jax.errors import UserError
from sercl_jax.serve.limits import Limits

_ARENA_MAX = -8  # of glibc's malloc.h

_HELP = """A page and a JSON endpoint for a trained model.

Record yourself or drop a file on the page, and see the waveform, the emotions over time and their probabilities.
Programs send audio to /predict and get JSON; /openapi.json describes it, /model says what the model is, and /health
whether the server works.
"""
_EXAMPLES = """examples:
  python -m sercl_jax.serve --workdir=runs/demo              then open the address that it prints
  python -m sercl_jax.serve --bundle=emodb-bundle --port=0   an exported model, on any free port
  curl -F file=@call.wav 'http://127.0.0.1:8765/predict?window=2&top=3'
  curl --data-binary @call.flac http://127.0.0.1:8765/predict

The server listens on this computer only unless --host says otherwise. It has no passwords and no encryption: with
another --host everybody who can reach the computer may use it, and browsers let no page record that came from
another computer without https. What is sent is dropped as soon as it is answered.
The first start compiles for seconds to a minute; later ones find the programs in ~/.cache/sercl_jax ($SERCL_CACHE).
It needs: pip install 'sercl_jax[serve]'
"""


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sercl_jax.serve", description=_HELP, epilog=_EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Limits()
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--workdir", type=Path, metavar="RUN", help="a finished run that tells emotions or ratings")
    source.add_argument("--bundle", type=Path, metavar="DIR", help="a model that python -m sercl_jax.export wrote")
    parser.add_argument("--seed", type=int, default=0, help="which model of a run with several seeds (default 0)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: only programs "
                                                            "of this computer)")
    parser.add_argument("--port", type=int, default=8765, help="0 takes any free one (default 8765)")
    parser.add_argument("--max_mb", type=float, default=default.max_mb,
                        help=f"largest recording in MB (default {default.max_mb:g})")
    parser.add_argument("--max_seconds", type=float, default=default.max_seconds,
                        help=f"longest recording (default {default.max_seconds:g})")
    parser.add_argument("--concurrency", type=int, default=default.concurrency,
                        help="recordings that are read, wait or are answered at one time; others get 503 and "
                             f"Retry-After (default {default.concurrency})")
    parser.add_argument("--timeout", type=float, default=default.timeout,
                        help="seconds for a recording to arrive, and then to be answered "
                             f"(default {default.timeout:g})")
    return parser.parse_args(argv)


def listen(host: str, port: int) -> socket.socket:
    """A socket of its own at an address; who connects before the model is ready waits.

    Raises:
      UserError: there is no such address here, or another program has it.
    """
    if not 0 <= port < 2**16:
        raise UserError(f"--port={port}: must be from 0 to 65535.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM,
                                                         flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise UserError(f"--host={host}: is no address ({error.strerror}).") from error
    made = socket.socket(family, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just ended keeps it for a minute otherwise
    try:
        made.bind(address)
        made.listen(128)
    except OSError as error:
        made.close()
        raise UserError(f"--host={host} --port={port}: cannot be listened on ({error.strerror}); choose another "
                        "port, or --port=0 for any free one.") from error
    return made


def run(arguments: argparse.Namespace) -> None:
    """Serves until it is told to stop by a KeyboardInterrupt.

    Raises:
      UserError: an extra is missing, a flag is wrong, or there is no model.
    """
    missing = [name for name in ("fastapi", "uvicorn", "python_multipart") if not resources.installed(name)]
    if missing:
        raise UserError(f"serve needs {' and '.join(missing)}: pip install 'sercl_jax[serve]'")
    limits = Limits(arguments.max_mb, arguments.max_seconds, arguments.concurrency, arguments.timeout)
    started = time.monotonic()
    _share_memory()
    with listen(arguments.host, arguments.port) as place:
        import uvicorn

        import sercl_jax
        from sercl_jax.serve import app, engine, guard

        address, port = place.getsockname()[:2]
        local = ipaddress.ip_address(address).is_loopback
        source = arguments.bundle or arguments.workdir
        model = sercl_jax.load(source, seed=arguments.seed)
        hosts = tuple(dict.fromkeys([*guard.LOOPBACK, address, arguments.host.lower()]))
        application = app.create(model, limits, hosts if local else None)
        print(f"{source} is loaded; compiling its programs ...", file=sys.stderr, flush=True)
        engine.warm_up(model)

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                shown = f"[{address}]" if ":" in address else address
                print(f"Ready after {time.monotonic() - started:.1f} s: http://{shown}:{port} (Ctrl-C ends it)",
                      flush=True)
                if not local:
                    print("note: everybody who can reach this computer may use it.", file=sys.stderr, flush=True)

        Server(uvicorn.Config(application, log_level="warning", access_log=False, server_header=False, ws="none",
                              lifespan="on", timeout_graceful_shutdown=10)).run([place])


def _share_memory() -> None:
    """Lets threads share two of glibc's pools of memory; elsewhere does nothing.

    Each thread has a pool of its own otherwise, which keeps what it frees: the server grew by 70 MiB in a minute.
    """
    if sys.platform == "linux" and "CS_GNU_LIBC_VERSION" in os.confstr_names:
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns 0 once it was told to stop, or 2 when something is the user's to mend."""
    arguments = _parse(argv)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        run(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


if __name__ == "__main__":
    sys.exit(main())
