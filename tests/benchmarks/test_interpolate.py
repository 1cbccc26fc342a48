"""Interpolating a million points from one 0.25° state of 71 channels, beside what moving the numbers alone takes.

Run with ``OMP_NUM_THREADS=1 python -m pytest tests/benchmarks/test_interpolate.py``: CPU time of one thread. The
numbers that have to move: the state is read and written once, so that the channels of a cell lie together
(``copy_of_the_state``); then four cells a point are read at random, and one row a point is written. A gather of one
cell a point (``gather_of_one_corner``) reads one row and writes one, so that 2.5 of them move as many bytes, with the
same random accesses. All go into memory that is there already, so that nobody pays for making its pages. What counts is

    interpolate / (copy_of_the_state + 2.5 gather_of_one_corner).
"""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from xappa.operators.forward.points import Points

pytest.importorskip("pytest_benchmark")

POINTS, CHANNELS = 1_000_000, 71
LATITUDES, LONGITUDES = np.linspace(90, -90, 721), np.arange(1440) * 0.25


@pytest.fixture(scope="module")
def places() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return np.degrees(np.arcsin(rng.uniform(-1, 1, POINTS))), rng.uniform(0, 360, POINTS)


@pytest.fixture(scope="module")
def points(places) -> Points:
    torch.set_num_threads(1)
    return Points(*places, LATITUDES, LONGITUDES)


@pytest.fixture(scope="module")
def state() -> torch.Tensor:
    return torch.randn(CHANNELS, len(LATITUDES), len(LONGITUDES), generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.empty(POINTS, CHANNELS)


@pytest.fixture
def timed(benchmark):
    benchmark.group, benchmark._timer = "interpolate", time.process_time
    return lambda function: benchmark.pedantic(function, rounds=5, warmup_rounds=1)


def test_interpolate(timed, points, state, rows):
    found = timed(lambda: points(state, out=rows))
    some = torch.arange(0, POINTS, 10_007)
    corners = state.flatten(1)[:, points.cell[some]].double()
    torch.testing.assert_close(found[:, some].double(), (corners * points.weight[some]).sum(-1), rtol=1e-5, atol=1e-5)


def test_copy_of_the_state(timed, state):
    copy = torch.empty_like(state)
    assert timed(lambda: copy.copy_(state)).shape == state.shape


def test_gather_of_one_corner(timed, points, state, rows):
    table, cell = state.flatten(1).T.contiguous(), points.cell[:, 0].contiguous()
    found = timed(lambda: torch.index_select(table, 0, cell, out=rows))
    torch.testing.assert_close(found[5], state.flatten(1)[:, cell[5]])


def test_weights_of_the_places(timed, places):
    places = places[0].copy(), places[1]

    def weights() -> Points:
        places[0][0] += 1e-9  # other places, so that none are remembered
        return Points(*places, LATITUDES, LONGITUDES)

    assert timed(weights).inside.all()
