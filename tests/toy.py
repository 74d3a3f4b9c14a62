"""A small contrastive stage, its log as TensorBoard shows it, and the stage as a process of its own."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from sercl_jax import data, optim, parallel, train
from sercl_jax.errors import UserError
from sercl_jax.types import Input, Stage

X = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
TRACES: list[int] = []


def init(key, batch):
    del batch
    return {"params": {"w": jax.random.normal(key, (6, 4))}, "knobs": {"temperature": jnp.float32(0.5)}}


def loss(variables, batch, key):
    """NT-Xent of two noisy views; the noise belongs to the utterance's place in the whole batch."""
    TRACES.append(1)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(batch["index"])
    noise = jax.vmap(lambda k: jax.random.normal(k, (6,)))(keys)
    z = jnp.stack([batch["x"], batch["x"] + 0.3 * noise], 1) @ variables["params"]["w"]
    z = parallel.gather(z / jnp.linalg.norm(z, axis=-1, keepdims=True))
    similarity = z[:, 0] @ z[:, 1].T / variables["knobs"]["temperature"]
    each = jax.nn.logsumexp(similarity, 1) - jnp.diagonal(similarity)
    return each.mean(), {"contrast": (each.sum(), jnp.float32(len(each)))}


def pick(arrays, drawn):
    return {"x": arrays["x"][drawn["index"]] * drawn["scale"][:, None], "index": drawn["index"]}


def stage(steps=7, learning_rate=0.1, poisoned=None, announce=False, **more):
    """The stage; the features of step `poisoned` (from 0) are NaN; `announce` prints each step that is made and how
    many rows of it are read.
    """
    order = data.batches(40, 8, 0)

    def draw(step):
        rows, _ = order(step)
        if announce:
            print(step, flush=True)
        return {"index": rows, "scale": np.full(len(rows), np.nan if step == poisoned else 1, np.float32)}

    def read(drawn):
        if announce:
            print(f"read {len(drawn['index'])}", flush=True)
        return pick({"x": X}, drawn)

    return Stage(name="toy", steps=steps, steps_per_epoch=5, batch=Input(draw, read, pick, {"x": X}), init=init,
                 loss=loss,
                 optimizer=optim.make(name="adam", learning_rate=learning_rate, steps=steps, schedule="cosine"),
                 **more)


def run(workdir, count=1, seed=0, log_every=3, checkpoint_every=3, resident="auto", steps_per_dispatch=0, **more):
    """Trains the stage on `count` devices, None for all."""
    return train.run(stage(**more), workdir=workdir, seed=seed, log_every=log_every,
                     checkpoint_every=checkpoint_every, progress=False, resident=resident,
                     steps_per_dispatch=steps_per_dispatch, devices=None if count is None else jax.devices()[:count])


def shown(directory: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a folder of event files: name -> step -> value, after each restart's purge."""
    found: dict[str, dict[int, float]] = {}
    for path in sorted(directory.iterdir(), key=lambda p: int(p.name.rsplit(".", 1)[1])):
        content, position = path.read_bytes(), 0
        while position + 12 <= len(content):
            size = struct.unpack_from("Q", content, position)[0]
            head, body = content[position:position + 8], content[position + 12:position + 12 + size]
            sums = struct.pack("<I", masked_crc32c(head)), struct.pack("<I", masked_crc32c(body))
            assert sums == (content[position + 8:position + 12], content[position + 12 + size:position + 16 + size])
            event = Event.FromString(body)
            position += size + 16
            if event.session_log.status == SessionLog.START:
                found = {name: {step: value for step, value in points.items() if step < event.step}
                         for name, points in found.items()}
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def spawn(devices: int = 1, **arguments) -> subprocess.Popen:
    """Starts this file as a process; arguments: those of `main`."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu",
                   "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                   "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen([sys.executable, __file__, json.dumps(arguments)], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def main(workdir, out, coordinator=None, processes=None, process_id=None, heartbeat=60, refused=False, **more):
    """What a process does: trains, with `refused` also with another seed, which the main process must refuse."""
    parallel.initialize(coordinator, processes, process_id, heartbeat_seconds=heartbeat)
    try:
        result = run(Path(workdir), count=None, **more)
    except UserError as error:
        print(f"UserError: {error}", file=sys.stderr)
        parallel.leave(2)
    np.save(out, result.variables["params"]["w"])
    if refused:
        try:
            run(Path(workdir), count=None, **{**more, "seed": 5})
        except UserError as error:
            print(f"UserError: {error}")
        print(f"{len(TRACES)} trace, {len(jax.devices())} devices")


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
