"""All channels at many places: the same numbers as the operator "interpolate", differentiable, made once."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from tests.coarse import SPEC, TIMES, U, reports
from xappa.errors import ObservationError
from xappa.operators import Interpolate, StateContext
from xappa.operators.corner_weights import HashablePlaces, get_corner_weights
from xappa.operators.forward.points import Points


@pytest.fixture
def places(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    latitude = np.concatenate([[90.0, -90.0, 89.0], np.degrees(np.arcsin(rng.uniform(-1, 1, 200)))])
    return latitude, rng.uniform(-180, 360, len(latitude))


@pytest.mark.parametrize("gradient", [False, True])
def test_it_is_the_operator(gradient: bool, places: tuple, rng: np.random.Generator) -> None:
    state = rng.normal(size=SPEC.shape)
    points = Points(*places, SPEC.latitude, SPEC.longitude)
    vector = torch.tensor([name == U for name, _ in SPEC.channels])
    for _ in range(2):  # the second time in memory that is used again
        found = points(torch.tensor(state, requires_grad=gradient), vector).detach()
    for name in ("2m_temperature", U):
        stencil, _ = Interpolate(lapse_rate=None)(reports(*places, **{name: 0.0}), StateContext(SPEC, TIMES[:1]))
        np.testing.assert_allclose(found[SPEC.index(name)], stencil.apply(state[None]), atol=1e-12)


def test_gradient(places: tuple) -> None:
    points = Points(*places, SPEC.latitude, SPEC.longitude)
    fields = torch.randn(2, *SPEC.shape[1:], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(points, fields) and torch.autograd.gradgradcheck(points, fields)


def test_shapes_and_memory(places: tuple) -> None:
    points = Points(*places, SPEC.latitude, SPEC.longitude)
    fields = torch.randn(3, 2, *SPEC.shape[1:])
    out = torch.empty(len(places[0]), 6)
    found = points(fields, out=out)
    assert found.shape == (3, 2, len(places[0])) and found.data_ptr() == out.data_ptr()
    torch.testing.assert_close(points(fields[1, 0]), found[1, 0])
    torch.testing.assert_close(pickle.loads(pickle.dumps(points))(fields), found)


def test_the_fields_are_left_alone(places: tuple) -> None:
    points = Points(*places, SPEC.latitude, SPEC.longitude)
    first, second = torch.zeros(SPEC.shape[1:]), torch.ones(SPEC.shape[1:])
    points(first), points(second)
    assert (first == 0).all() and (second == 1).all()


def test_outside_a_region_is_missing() -> None:
    points = Points([5.0, 50.0], [5.0, 5.0], [0.0, 10.0], [0.0, 10.0])
    assert points.inside.tolist() == [True, False]
    assert points(torch.ones(2, 2)).isnan().tolist() == [False, True]


def test_weights_of_fixed_stations_are_made_once(places: tuple) -> None:
    grid = tuple(map(float, SPEC.latitude)), tuple(map(float, SPEC.longitude))
    first = get_corner_weights(HashablePlaces(*places), *grid)
    assert get_corner_weights(HashablePlaces(*(p.copy() for p in places)), *grid) is first
    assert get_corner_weights(HashablePlaces(places[0] + 1e-9, places[1]), *grid) is not first


def test_places_of_different_number() -> None:
    with pytest.raises(ObservationError, match="expected one each a place"):
        Points([1.0, 2.0], [1.0], SPEC.latitude, SPEC.longitude)
