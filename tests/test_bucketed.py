"""Utterances of any length through a network: in order, in few shapes."""

import numpy as np

from sercl_jax import bucketed

LENGTHS = (4, 8, 16)


def test_the_shortest_length_that_holds_it():
    assert [bucketed.length(n, LENGTHS) for n in (1, 4, 5, 16, 17)] == [4, 4, 8, 16, 16]


def test_results_come_in_the_order_of_the_utterances_whatever_shares_a_batch():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 17, 53)
    values = rng.normal(size=53).astype(np.float32)
    shapes = set()

    def padded(rows, length):
        x = np.zeros((len(rows), length), np.float32)
        for b, u in enumerate(rows):
            x[b, :counts[u]] = values[u]
        return {"x": x}

    def predict(scale, batch):
        shapes.add(batch["x"].shape)  # runs once for each that is compiled
        return scale * batch["x"]

    made = list(bucketed.in_order(counts, LENGTHS, padded, predict, np.float32(2), batch_size=4, description="",
                                  progress=False))
    assert [len(row) for row in made] == [bucketed.length(int(n), LENGTHS) for n in counts]
    for row, count, value in zip(made, counts, values, strict=True):
        np.testing.assert_array_equal(row[:count], 2 * value)
        np.testing.assert_array_equal(row[count:], 0)
    assert len(shapes) == len(LENGTHS)
