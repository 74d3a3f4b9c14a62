"""A loss and its gradient as the training step computes them, on some of the forced devices."""

import jax
import numpy as np

from sercl_jax import parallel


def step(loss, params, batch, devices: int):
    """(loss, metrics, gradient) of a global batch on so many devices, as NumPy arrays."""
    chosen = parallel.all_devices()[:devices]

    def one(params, batch, seed):
        def of(params):
            return loss({"params": params}, batch, jax.random.key(seed))

        (value, metrics), slope = jax.value_and_grad(of, has_aux=True)(params)
        return value, parallel.psum(metrics), parallel.pmean(slope)

    return parallel.unreplicate(parallel.map_step(one, devices=chosen)(
        parallel.replicate(params, chosen), parallel.shard(batch, chosen), parallel.replicate(np.uint32(7), chosen)))
