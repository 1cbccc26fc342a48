"""How much latents matter in the state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from xappa.training import importance
from xappa.training.importance import LatentImportance

H, W, FACTOR = 3, 4, 2


class Linear(nn.Module):
    """A decoder that repeats each latent place, and mixes channels by a matrix (C, channel)."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def decode(self, z: Tensor) -> Tensor:
        x = (z @ self.matrix).permute(0, 3, 1, 2)
        return x.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)


def given(scale: float = 1.0) -> SimpleNamespace:
    """A record of two channels, of which the second is missing in the east; its scale is `scale` deviations."""
    mask = np.ones((2, H * FACTOR, W * FACTOR), "u1")
    mask[1, :, W:] = 0
    statistics = {
        "mask": mask,
        "scale": np.stack([np.full(mask.shape[1:], 2.0), np.full(mask.shape[1:], 3.0 * scale)]).astype("f4"),
        "deviation": np.array([2.0, 3.0], "f4"),
    }
    times = np.datetime64("2001-01-01T00:00:00") + 6 * np.arange(20).astype("timedelta64[h]")
    latitude = tuple(np.linspace(-75, 75, H * FACTOR))
    return SimpleNamespace(
        statistics=statistics,
        times=times,
        spec=SimpleNamespace(latitude=latitude),
        list_times=lambda split: np.arange(20),
    )


def test_of_a_linear_decoder_it_is_the_square_of_its_matrix(rng: np.random.Generator) -> None:
    matrix = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.5]])
    raw = rng.standard_normal((20, H, W, 3)).astype("f4")
    coefficients = np.zeros((3, H, W, 3), "f4")
    coefficients[0, ..., 2] = np.log(3.0)  # the third latent varies three times as much
    statistics = {"latent_deviation": coefficients}
    network = Linear(torch.from_numpy(matrix.astype("f4")))
    found = importance.measure_importance(network, raw, statistics, given(), seed=0)  # type: ignore[arg-type]
    again = importance.measure_importance(network, raw, statistics, given(scale=2.0), seed=0)  # type: ignore[arg-type]
    # The first channel counts everywhere; how much of the second is seen, `east` tells, which the noise decides.
    one, two, three = found.channels.tolist()
    east = two / one
    assert 0.3 < east < 0.7
    np.testing.assert_allclose(three / one, 9 * (1.0 + 0.25 * east) / 4, rtol=1e-4)
    np.testing.assert_allclose(again.channels[1] / again.channels[0], 4 * east, rtol=1e-4)
    np.testing.assert_allclose(found.channels.mean(), 1, rtol=1e-6)
    area = np.cos(np.deg2rad(np.array(given().spec.latitude))).reshape(H, FACTOR).mean(1)
    np.testing.assert_allclose(found.rows, area / area.mean(), rtol=1e-6)
    assert found.weights.shape == (H, 1, 3)


def test_it_is_measured_once(tmp_path: Path, rng: np.random.Generator) -> None:
    raw = rng.standard_normal((20, H, W, 2)).astype("f4")
    statistics = {"latent_deviation": np.zeros((3, H, W, 2), "f4")}
    network = Linear(torch.eye(2))
    first = importance.restore(network, raw, statistics, given(), 0, tmp_path)  # type: ignore[arg-type]
    network.matrix.data[0] *= 5
    again = importance.restore(network, raw, statistics, given(), 0, tmp_path)  # type: ignore[arg-type]
    assert torch.equal(first.channels, again.channels) and torch.equal(first.rows, again.rows)


def test_uniform_weights_are_one() -> None:
    assert torch.equal(LatentImportance.uniform((H, W, 5)).weights, torch.ones(H, 1, 5))
