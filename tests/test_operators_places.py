"""Operators that read places: the nearest point, the points of the grid, the mean over a footprint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.coarse import SPEC, TIMES, flags, random_states, reports
from xappa.errors import ObservationError, OptionError
from xappa.geometry import to_unit_vectors
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag
from xappa.operators import Footprint, GridPoints, Interpolate, Nearest, StateContext
from xappa.operators.footprint import find_destination

trajectory = pytest.fixture(random_states)


class TestNearest:
    def test_it_is_the_nearest_on_the_sphere(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        size = 400
        latitude, longitude = np.degrees(np.arcsin(rng.uniform(-1, 1, size))), rng.uniform(-180, 540, size)
        obs = reports(latitude, longitude, 6.0, **{"2m_temperature": 0.0})
        stencil, seen = Nearest()(obs, StateContext(SPEC, TIMES))
        rows, columns = np.meshgrid(SPEC.latitude, SPEC.longitude, indexing="ij")
        closeness = to_unit_vectors(latitude, longitude) @ to_unit_vectors(rows.ravel(), columns.ravel()).T
        best = closeness.max(axis=1)
        np.testing.assert_allclose(closeness[np.arange(size), stencil.cell[:, 0]], best, atol=1e-15)
        np.testing.assert_array_equal(stencil.apply(trajectory), trajectory[1, 0].reshape(-1)[stencil.cell[:, 0]])
        assert set(flags(seen, "2m_temperature")) == {0}

    def test_time_and_level(self, trajectory: np.ndarray) -> None:
        obs = reports(0, 0, [2.0, 4.0], coords={"level": [690.0, 780.0]}, temperature=0.0)
        stencil, _ = Nearest()(obs, StateContext(SPEC, TIMES))
        expected = [trajectory[0, 8, 5, 0], trajectory[1, 9, 5, 0]]
        np.testing.assert_array_equal(stencil.apply(trajectory), expected)

    def test_halfway_reads_one_time(self) -> None:
        stencil, _ = Nearest()(reports(hours=[3.0, 9.0], **{"2m_temperature": 0.0}), StateContext(SPEC, TIMES))
        assert stencil.weight.tolist() == [[1.0], [1.0]]


class TestGrid:
    def test_points_are_read_as_they_are(self, trajectory: np.ndarray) -> None:
        rows, columns = np.meshgrid(SPEC.latitude, np.array(SPEC.longitude) - 180, indexing="ij")
        obs = reports(rows.ravel(), columns.ravel(), 12.0, **{"2m_temperature": 0.0})
        stencil, _ = GridPoints()(obs, StateContext(SPEC, TIMES))
        np.testing.assert_array_equal(stencil.apply(trajectory), np.roll(trajectory[2, 0], 12, axis=-1).ravel())

    def test_other_points_are_masked(self) -> None:
        obs = reports([0.0, 1.0, 0.0], [15.0, 15.0, 359.9999], **{"2m_temperature": 0.0})
        assert flags(GridPoints()(obs, StateContext(SPEC, TIMES))[1], "2m_temperature") == [0, Flag.MASKED, 0]

    def test_another_grid_altogether(self) -> None:
        with pytest.raises(ObservationError, match="None of 2 observations is at a point.*use 'interpolate'"):
            GridPoints()(reports([1.0, 2.0], 3.0, **{"2m_temperature": 0.0}), StateContext(SPEC, TIMES))


class TestFootprint:
    def test_a_small_one_is_interpolation(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        obs = reports(rng.uniform(-70, 70, 50), rng.uniform(0, 360, 50), 3.0, **{"2m_temperature": 0.0})
        small = Footprint(radius=0.01)(obs, StateContext(SPEC, TIMES))[0].apply(trajectory)
        plain = Interpolate(lapse_rate=None)(obs, StateContext(SPEC, TIMES))[0].apply(trajectory)
        np.testing.assert_allclose(small, plain, atol=1e-4)

    @given(st.floats(-90, 90), st.floats(-180, 360), st.floats(1, 3000), st.floats(1, 3000), st.floats(0, 360))
    @settings(max_examples=25)
    def test_a_constant_everywhere(self, latitude: float, longitude: float, a: float, b: float, azimuth: float) -> None:
        obs = reports(latitude, longitude, **{"2m_temperature": 0.0})
        stencil, seen = Footprint(axes=(a, b), azimuth=azimuth)(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "2m_temperature") == [0]
        assert stencil.weight.sum() == pytest.approx(1, abs=1e-12) and (stencil.weight >= -1e-15).all()

    def test_the_mean_over_a_circle(self) -> None:
        # The mean of sin(latitude) over a spherical cap is that at its centre times (1 + cos r) / 2.
        spec = StateSpec((("2m_temperature", None),), tuple(np.arange(-89.5, 90)), tuple(np.arange(0.0, 360)), 6, 5)
        field = np.broadcast_to(np.sin(np.deg2rad(spec.latitude))[:, None], spec.shape)
        obs = reports([10.0, 60.0, 85.0], 200.0, **{"2m_temperature": 0.0})
        found = Footprint(radius=1000.0)(obs, StateContext(spec, TIMES[:1]))[0].apply(field[None])
        cap = (1 + np.cos(1000 / 6371.0088)) / 2
        np.testing.assert_allclose(found, np.sin(np.deg2rad([10, 60, 85])) * cap, rtol=2e-3)

    def test_an_ellipse_lies_along_its_azimuth(self) -> None:
        spec = StateSpec((("2m_temperature", None),), tuple(np.arange(-89.5, 90)), tuple(np.arange(0.0, 360)), 6, 5)
        squared = np.broadcast_to((np.array(spec.latitude) ** 2)[:, None], spec.shape)[None]
        obs = reports(0.0, 100.0, **{"2m_temperature": 0.0})

        def spread(azimuth: float) -> float:
            return float(
                Footprint(axes=(800.0, 100.0), azimuth=azimuth)(obs, StateContext(spec, TIMES[:1]))[0].apply(squared)[0]
            )

        # The mean of y^2 over an ellipse is a^2 / 4.
        degrees = np.rad2deg(np.array([800.0, 100.0]) / 6371.0088)
        assert spread(0.0) == pytest.approx(degrees[0] ** 2 / 4, rel=0.02)
        assert spread(90.0) == pytest.approx(degrees[1] ** 2 / 4, abs=0.3)

    def test_sizes_by_observation(self) -> None:
        sizes = np.array([50.0, 3000.0])
        obs = reports([0.0, 0.0], 7.0, coords={"fov": sizes}, **{"2m_temperature": 0.0})
        for given_sizes in (sizes, "fov"):
            stencil, _ = Footprint(radius=given_sizes)(obs, StateContext(SPEC, TIMES))
            used = (stencil.weight != 0).sum(axis=1)
            assert used[1] > 4 * used[0]

    def test_distances(self) -> None:
        place = np.array([10.0]), np.array([20.0])
        there = find_destination(*place, np.array([500.0]), np.array([37.0]))
        angle = np.arccos((to_unit_vectors(*place) * to_unit_vectors(*there)).sum())
        assert angle * 6371.0088 == pytest.approx(500)
        assert find_destination(np.array([80.0]), np.array([0.0]), np.array([2000.0]), np.array([0.0]))[1][
            0
        ] % 360 == pytest.approx(180)

    def test_what_is_wrong(self) -> None:
        obs = reports([0.0, 1.0], **{"2m_temperature": 0.0})
        for operator, words in (
            (Footprint(), "needs a size"),
            (Footprint(radius=[1.0, 2.0, 3.0]), "one for each of 2"),
            (Footprint(radius=-1.0), "not above 0"),
        ):
            with pytest.raises(OptionError, match=words):
                operator(obs, StateContext(SPEC, TIMES))
        with pytest.raises(ObservationError, match="no 'fov'"):
            Footprint(radius="fov")(obs, StateContext(SPEC, TIMES))
        with pytest.raises(OptionError, match="both radius and axes"):
            Footprint(radius=1.0, axes=(1.0, 2.0))
        for axes in ((30,), 30.0, (1.0, 2.0, 3.0)):
            with pytest.raises(OptionError, match=r"found axes=.*expected two semi-axes"):
                Footprint(axes=axes)  # type: ignore[arg-type]


@pytest.mark.parametrize("geometry", [Interpolate, Nearest, Footprint, GridPoints])
@pytest.mark.parametrize("rate", ["x", True, float("nan")])
def test_lapse_rates_are_numbers(geometry: type, rate: object) -> None:
    with pytest.raises(OptionError, match=r"lapse_rate=.*expected a number, K/m"):
        geometry(lapse_rate=rate)
