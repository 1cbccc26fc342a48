"""What errors of latents do to the state."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from tests.test_importance import FACTOR, H, Linear, W, given
from xappa.training.state_metric import compute_state_metric


def record(scale: float = 1.0) -> SimpleNamespace:
    """That of the importance's tests, whose channels are variables."""
    found = given(scale)
    latitude = found.spec.latitude
    found.spec = SimpleNamespace(latitude=latitude, of=lambda name: [("first", "second").index(name)])
    return found


def test_of_a_linear_decoder_it_is_known(rng: np.random.Generator) -> None:
    matrix = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.5]])
    raw = rng.standard_normal((20, H, W, 3)).astype("f4")
    deviation = rng.uniform(0.5, 2.0, (H, W, 3))
    coefficients = np.zeros((3, H, W, 3), "f4")
    coefficients[0] = np.log(deviation)
    network = Linear(torch.from_numpy(matrix.astype("f4")))
    statistics = {"latent_deviation": coefficients}
    emphasis = [("second", 9.0)]
    found = compute_state_metric(network, raw, statistics, record(2.0), emphasis, seed=0)  # type: ignore[arg-type]

    area = np.cos(np.deg2rad(record().spec.latitude)).reshape(H, FACTOR).mean(1)
    expected = np.zeros((H, W, 3, 3))
    for row in range(H):
        for column in range(W):
            # The second channel, of which a unit is two deviations, counts nine times, and is missing in the east.
            counts = np.array([1.0, 9.0 * 4.0 * (column < W // 2)])
            change = deviation[row, column][:, None] * matrix
            expected[row, column] = area[row] * (change * counts) @ change.T
    expected *= 3 / np.trace(expected, axis1=2, axis2=3).mean()
    np.testing.assert_allclose(found.numpy(), expected.reshape(H * W, 3, 3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.diagonal(dim1=1, dim2=2).sum(1).mean(), 3, rtol=1e-9)
