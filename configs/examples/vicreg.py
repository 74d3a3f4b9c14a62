"""VICReg (Bardes, Ponce and LeCun, 2022) on frames of speech: a method in a file of its own, complete.

    python -m sercl_jax.main --config=configs/examples/vicreg.py
"""
import jax
import jax.numpy as jnp
from flax import linen as nn

from sercl_jax import graphs, parallel
from sercl_jax.methods import own
from sercl_jax.models.pooling import statistics_pool


def get_config(arg=None):
    config = own.config(__file__, arg)  # corpora, folds, features, training and classifier, as for SERUGCL
    config.network = {"width": 64, "expander": 256}
    config.views = {"noise": 1.0, "kept": 0.4}  # deviations of a feature; share of the utterance
    config.loss = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}
    return config.lock()


class Network(nn.Module):
    width: int
    expander: int

    @nn.compact
    def __call__(self, batch, expand=False):
        h, there = batch["x"], batch["mask"][..., None]  # [B, N, F], 0 where padded; [B, N, 1]
        for dilation in (1, 2, 4):
            h = nn.relu(nn.LayerNorm()(nn.Conv(self.width, (3,), kernel_dilation=dilation)(h))) * there
        pooled = statistics_pool(h, batch["mask"])  # the embedding, [B, 3 width]
        return nn.Dense(self.expander)(nn.relu(nn.Dense(self.expander)(pooled))) if expand else pooled


def method(config):
    network = Network(**config.network)

    def view(key, x, mask):  # a part of one utterance, with noise
        where, noise = jax.random.split(key)
        kept = jnp.ceil(config.views.kept * mask.sum())
        place = jnp.arange(len(mask)) - jnp.floor(jax.random.uniform(where) * (mask.sum() - kept + 1))
        mask = (place >= 0) & (place < kept)
        noise = config.views.noise * jax.random.normal(noise, x.shape)
        return {"x": jnp.where(mask[:, None], x + noise, 0), "mask": mask}

    def loss(variables, batch, key):
        keys = jax.vmap(jax.random.split)(graphs.utterance_keys(key, batch["index"]))
        views = [jax.vmap(view)(keys[:, v], batch["x"], batch["mask"]) for v in (0, 1)]
        a, b = parallel.gather([network.apply(variables, v, expand=True) for v in views])  # [B, D] of all devices
        share = parallel.gather(batch["valid"])[None] / parallel.psum(batch["valid"].sum())
        total = config.loss.invariance * jnp.mean(share @ jnp.square(a - b))
        for z in (a - share @ a, b - share @ b):
            covariance = (share.T * z).T @ z
            spread = jnp.diagonal(covariance)
            total += config.loss.variance * jnp.mean(nn.relu(1 - jnp.sqrt(spread + 1e-4))) / 2
            total += config.loss.covariance * jnp.mean(jnp.sum(jnp.square(covariance), 0) - jnp.square(spread))
        return total, {}

    return own.Method(lambda key, batch: network.init(key, batch, expand=True), loss, network.apply)
