"""The positional convolution against the plain one, and buckets of distances against a loop."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sercl_jax.models.positional import PositionalConv, distance_buckets, grouped_conv, relative_bias, transform_size


def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's own grouped convolution, padded by width // 2 on both sides, cut to the length of x."""
    width, inside, channels = kernel.shape
    y = jax.lax.conv_general_dilated(x, kernel, (1,), [(width // 2, width // 2)],
                                     dimension_numbers=("NWC", "WIO", "NWC"),
                                     feature_group_count=channels // inside, precision="highest")
    return y[:, :x.shape[1]]


@pytest.mark.parametrize(("length", "width", "groups"), [(23, 8, 2), (5, 16, 3), (1, 4, 1), (31, 7, 6), (12, 1, 2),
                                                         (40, 128, 4)])
def test_convolution_and_gradient_are_the_plain_ones(length: int, width: int, groups: int) -> None:
    rng = np.random.default_rng(length)
    x = jnp.asarray(rng.normal(size=(2, length, 12)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(width, 12 // groups, 12)), jnp.float32)
    slope = jnp.asarray(rng.normal(size=x.shape), jnp.float32)
    y, back = jax.vjp(grouped_conv, x, kernel)
    wanted, wanted_back = jax.vjp(plain, x, kernel)
    np.testing.assert_allclose(y, wanted, atol=2e-5)
    for ours, theirs in zip(back(slope), wanted_back(slope), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-5)


def test_convolution_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(1, 6, 4)), rng.normal(size=(5, 2, 4))
    wanted = np.zeros_like(x)
    for t in range(6):
        for out in range(4):
            for tap in range(5):
                if 0 <= t + tap - 2 < 6:
                    group = out // 2
                    wanted[0, t, out] += x[0, t + tap - 2, 2 * group:2 * group + 2] @ kernel[tap, :, out]
    np.testing.assert_allclose(grouped_conv(jnp.float32(x), jnp.float32(kernel)), wanted, atol=1e-5)


def test_period_is_long_enough_and_convenient() -> None:
    for length in (1, 2, 199, 500, 749):
        size = transform_size(length, 128)
        assert length + 64 <= size <= 1.13 * (length + 64)
        for prime in (2, 3, 5):
            while size % prime == 0:
                size //= prime
        assert size == 1


def test_module_adds_the_bias_and_keeps_the_dtype() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 9, 8))
    module = PositionalConv(4, 2, "relu")
    variables = module.init(jax.random.key(1), x)
    variables = {"params": {"conv": variables["params"]["conv"] | {"bias": jnp.arange(8.0)}}}
    wanted = jax.nn.relu(plain(x, variables["params"]["conv"]["kernel"]) + jnp.arange(8.0)[None, None])
    y: Any = module.apply(variables, x)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    half: Any = module.apply(variables, x.astype("bfloat16"))
    assert half.dtype == jnp.bfloat16


@pytest.mark.parametrize(("length", "buckets", "furthest"), [(400, 320, 800), (1500, 320, 800), (60, 32, 20),
                                                             (7, 32, 100)])
def test_buckets_of_distances(length: int, buckets: int, furthest: int) -> None:
    wanted = []
    for distance in range(1 - length, length):
        half, far = buckets // 2, abs(distance)
        bucket = half if distance > 0 else 0
        if far < half // 2:
            bucket += far
        else:
            grown = math.log(far / (half // 2)) / math.log(furthest / (half // 2)) * (half - half // 2)
            bucket += min(half - 1, half // 2 + int(grown + 1e-9))
        wanted.append(bucket)
    assert distance_buckets(length, buckets, furthest).tolist() == wanted


def test_bias_is_that_of_key_minus_query() -> None:
    embedding = jax.random.normal(jax.random.key(0), (8, 3))
    bias = relative_bias(embedding, 5, 6)
    buckets = distance_buckets(5, 8, 6)
    for query in range(5):
        for key in range(5):
            np.testing.assert_array_equal(bias[:, query, key], embedding[buckets[key - query + 4]])
