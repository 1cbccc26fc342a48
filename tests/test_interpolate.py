"""The operator "interpolate": where reports are read, which are not read and why, and its form on tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from xappa.errors import ObservationError, OptionError, choose
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag
from xappa.operators import OPERATORS, Interpolate, SparseOperator, StateContext, interpolate
from xappa.operators.forward.linear import WhitenedOperator
from xappa.operators.interpolate import compute_standard_height
from xappa.operators.sparse import compact

LEVELS = (300, 500, 850)
SPEC = StateSpec(
    channels=(
        ("2m_temperature", None),
        ("10m_u_component_of_wind", None),
        ("sea_surface_temperature", None),
        *(("temperature", level) for level in LEVELS),
    ),
    latitude=tuple(np.arange(-82.5, 90, 15)),
    longitude=tuple(np.arange(0.0, 360, 15)),
    step_hours=6,
    window=5,
    masked=("sea_surface_temperature",),
)
TIMES = np.datetime64("2021-03-21", "us") + np.arange(5) * SPEC.step
HOUR = np.timedelta64(3600, "s")


def reports(
    latitude=0.0, longitude=0.0, hours=0.0, error=1.0, level=None, altitude=None, **values: object
) -> xr.Dataset:
    """Observations in the schema; single numbers hold for all reports."""
    size = max(np.size(v) for v in (latitude, longitude, hours, level, altitude, *values.values()))

    def spread(value: object) -> tuple[str, np.ndarray]:
        return "obs", np.array(np.broadcast_to(np.asarray(value, float), size))

    when = TIMES[0] + (np.asarray(spread(hours)[1]) * 3600).astype("m8[s]")
    coords = {"time": ("obs", when), "latitude": spread(latitude), "longitude": spread(longitude)}
    coords |= {k: spread(v) for k, v in {"level": level, "altitude": altitude}.items() if v is not None}
    data = {name: spread(value) for name, value in values.items()}
    data |= {f"{name}_error": spread(error) for name in values}
    return xr.Dataset(data, coords)


def random_reports(rng: np.random.Generator, size: int, **values: object) -> xr.Dataset:
    return reports(
        np.degrees(np.arcsin(rng.uniform(-1, 1, size))),
        rng.uniform(-180, 360, size),
        rng.uniform(-3, 27, size),
        rng.uniform(0.5, 2, size),
        level=rng.uniform(300, 850, size),
        **{name: rng.normal(size=size) for name in values or ("2m_temperature", "temperature")},
    )


def flags(obs: xr.Dataset, name: str) -> list[int]:
    return obs[f"{name}_flag"].values.tolist()


@pytest.fixture
def trajectory(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(len(TIMES), *SPEC.shape))


class TestReading:
    def test_agrees_with_scipy(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        size = 300
        hours, level = rng.uniform(0, 24, size), rng.uniform(300, 850, size)
        latitude, longitude = rng.uniform(-82.5, 82.5, size), rng.uniform(0, 345, size)
        obs = reports(latitude, longitude, hours, level=level, temperature=np.zeros(size))
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES))
        axes = (np.arange(5) * 6, np.log(LEVELS), SPEC.latitude, SPEC.longitude)
        seconds = np.trunc(hours * 3600) / 3600
        expected = RegularGridInterpolator(axes, trajectory[:, 3:])(
            np.stack([seconds, np.log(level), latitude, longitude], 1)
        )
        np.testing.assert_array_equal(stencil.observation, np.arange(size))
        np.testing.assert_allclose(stencil.apply(trajectory), expected, atol=1e-12)

    @given(st.floats(-90, 90), st.floats(-360, 720), st.floats(-3, 27), st.floats(300, 850))
    def test_a_constant_everywhere(self, latitude: float, longitude: float, hours: float, level: float) -> None:
        obs = reports(latitude, longitude, hours, level=level, temperature=0.0)
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "temperature") == [Flag.GOOD]
        assert stencil.apply(np.full((5, *SPEC.shape), 7.0)) == pytest.approx(7, abs=1e-12)

    def test_reversed_rows_change_nothing(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        obs = random_reports(rng, 200, **{"2m_temperature": 0, "10m_u_component_of_wind": 0})
        turned = StateSpec(SPEC.channels, SPEC.latitude[::-1], tuple(np.roll(SPEC.longitude, 5)), 6, 5)
        plain, _ = interpolate(obs, StateContext(SPEC, TIMES))
        other, _ = interpolate(obs, StateContext(turned, TIMES))
        np.testing.assert_allclose(
            other.apply(np.roll(trajectory[..., ::-1, :], 5, axis=-1)), plain.apply(trajectory), atol=1e-12
        )

    def test_exact_points_read_one_number(self, trajectory: np.ndarray) -> None:
        obs = reports(7.5, 30, 12, level=500, temperature=0.0)
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES))
        assert stencil.weight.shape == (1, 1)
        assert stencil.apply(trajectory)[0] == trajectory[2, 4, 6, 2]

    def test_linear_in_log_pressure(self) -> None:
        between = np.sqrt(500 * 850)
        obs = reports(level=between, temperature=0.0)
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES))
        profile = np.broadcast_to(np.array([0.0, 0, 0, 1, 10, 20])[:, None, None], (5, *SPEC.shape))
        assert stencil.apply(profile)[0] == pytest.approx(15)

    def test_wind_turns_over_the_pole(self, trajectory: np.ndarray) -> None:
        obs = reports(90, 30, **{"10m_u_component_of_wind": 0.0, "2m_temperature": 0.0})
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES))
        near, far = trajectory[0, :2, -1, 2], trajectory[0, :2, -1, 14]
        wind, temperature = (stencil.select(stencil.variable == k).apply(trajectory)[0] for k in (0, 1))
        assert wind == pytest.approx(0.5 * (near[1] - far[1]))
        assert temperature == pytest.approx(0.5 * (near[0] + far[0]))

    def test_members_lead(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        stencil, _ = interpolate(random_reports(rng, 20), StateContext(SPEC, TIMES))
        ensemble = np.stack([trajectory, 2 * trajectory])
        np.testing.assert_allclose(stencil.apply(ensemble)[1], 2 * stencil.apply(trajectory))


class TestTimes:
    def test_ends_hold_for_half_a_step(self, trajectory: np.ndarray) -> None:
        obs = reports(7.5, 0, [-3.1, -3, -0.5, 3, 24, 27, 27.1], **{"2m_temperature": 0.0})
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES))
        out = Flag.OUTSIDE_TIMES
        assert flags(seen, "2m_temperature") == [out, 0, 0, 0, 0, 0, out]
        series = trajectory[:, 0, 6, 0]
        np.testing.assert_allclose(
            stencil.apply(trajectory), [series[0], series[0], (series[0] + series[1]) / 2, series[4], series[4]]
        )

    def test_one_time(self) -> None:
        obs = reports(hours=[-4, -2, 0, 3, 4], **{"2m_temperature": 0.0})
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES[:1]))
        assert flags(seen, "2m_temperature") == [5, 0, 0, 0, 5]
        assert (stencil.time == 0).all()

    def test_nothing_is_interpolated_across_a_gap(self, trajectory: np.ndarray) -> None:
        obs = reports(7.5, 0, [2, 4, 20, 22], **{"2m_temperature": 0.0})
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES[[0, 4]]))
        assert flags(seen, "2m_temperature") == [0, 5, 5, 0]
        np.testing.assert_allclose(stencil.apply(trajectory[[0, 4]]), trajectory[[0, 4], 0, 6, 0])

    def test_no_report_inside(self) -> None:
        obs = reports(hours=[100, 200], **{"2m_temperature": 0.0})
        with pytest.raises(ObservationError) as error:
            interpolate(obs, StateContext(SPEC, TIMES))
        for words in ("2021-03-25T04:00 to 2021-03-29T08:00", "2021-03-21T00:00 to 2021-03-22T00:00", "3 h outside"):
            assert words in str(error.value)

    def test_no_report_at_all(self) -> None:
        with pytest.raises(ObservationError, match="no usable report"):
            interpolate(reports(**{"2m_temperature": np.nan}), StateContext(SPEC, TIMES))

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    def test_any_resolution(self, unit: str, trajectory: np.ndarray) -> None:
        obs = reports(7.5, 0, 4.5, **{"2m_temperature": 0.0})
        obs = obs.assign_coords(time=obs.time.astype(f"M8[{unit}]"))
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES.astype("M8[s]")))
        assert stencil.apply(trajectory) == pytest.approx(0.25 * trajectory[0, 0, 6, 0] + 0.75 * trajectory[1, 0, 6, 0])


class TestRejected:
    def test_levels(self) -> None:
        obs = reports(level=[200, 300, 600, 850, 900, np.nan], temperature=0.0)
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES))
        out = Flag.OUTSIDE_LEVELS
        assert flags(seen, "temperature") == [out, 0, 0, 0, out, out]
        assert stencil.observation.tolist() == [1, 2, 3]

    def test_upper_air_without_levels(self) -> None:
        stencil, seen = interpolate(reports(temperature=[0.0, 1.0]), StateContext(SPEC, TIMES))
        assert len(stencil) == 0 and flags(seen, "temperature") == [Flag.OUTSIDE_LEVELS] * 2

    def test_places_and_times_that_are_missing(self) -> None:
        obs = reports([0, np.nan, 91, 0, 0], [0, 0, 0, np.nan, 0], **{"2m_temperature": 0.0})
        obs["time"] = obs["time"].where(np.arange(5) < 4)
        assert flags(interpolate(obs, StateContext(SPEC, TIMES))[1], "2m_temperature") == [0, 1, 1, 1, 2]

    def test_rejected_and_missing_reports_are_not_read(self) -> None:
        obs = reports(**{"2m_temperature": [0.0, np.nan, 5.0, 6.0]})
        obs["2m_temperature_flag"] = ("obs", np.array([0, 0, Flag.DUPLICATE, 0], "i1"))
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES))
        assert stencil.value.tolist() == [0, 6] and stencil.observation.tolist() == [0, 3]
        assert flags(seen, "2m_temperature") == [0, 0, Flag.DUPLICATE, 0]
        np.testing.assert_array_equal(seen["2m_temperature"], obs["2m_temperature"])

    def test_unknown_variables_are_counted(self) -> None:
        obs = reports(**{"2m_temperature": [0.0, 1.0], "wind_speed": [3.0, np.nan]})
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES))
        assert flags(seen, "wind_speed") == [Flag.UNKNOWN_VARIABLE, 0]
        assert stencil.names == ("2m_temperature",) and "wind_speed_flag" not in obs

    def test_only_unknown_variables(self) -> None:
        with pytest.raises(ObservationError, match="'2m_temprature'; did you mean '2m_temperature'.*expected any of"):
            interpolate(reports(**{"2m_temprature": 0.0}), StateContext(SPEC, TIMES))

    def test_below_the_surface(self) -> None:
        surface = np.full(SPEC.shape[1:], 2000.0)
        # 850 hPa is at 1457 m, 700 hPa at 3012 m; a station's altitude is the least a report above it can have.
        obs = reports(level=[850, 700, 850], altitude=[np.nan, 100, 2100], temperature=0.0)
        stencil, seen = interpolate(obs, StateContext(SPEC, TIMES, surface))
        assert flags(seen, "temperature") == [Flag.BELOW_SURFACE, 0, 0]
        assert flags(interpolate(obs, StateContext(SPEC, TIMES))[1], "temperature") == [0, 0, 0]

    def test_reports_without_an_error_are_left_out(self) -> None:
        obs = reports(**{"2m_temperature": [0.0, 1.0, 2.0], "sea_surface_temperature": 0.0})
        obs["2m_temperature_error"][:2] = [np.nan, 0.0]
        stencil, seen = interpolate(obs.drop_vars("sea_surface_temperature_error"), StateContext(SPEC, TIMES))
        assert flags(seen, "2m_temperature") == [Flag.NO_ERROR, Flag.NO_ERROR, Flag.GOOD]
        assert flags(seen, "sea_surface_temperature") == [Flag.NO_ERROR] * 3
        assert stencil.observation.tolist() == [2]

    @pytest.mark.parametrize(
        "obs",
        [
            reports(**{"2m_temperature": 0.0}).rename(obs="station_number"),
            reports(**{"2m_temperature": 0.0}).reset_coords("latitude"),
            reports(**{"2m_temperature": 0.0}).expand_dims(member=2),
        ],
    )
    def test_other_forms_are_refused(self, obs: xr.Dataset) -> None:
        with pytest.raises(ObservationError, match="expected one"):
            interpolate(obs, StateContext(SPEC, TIMES))

    def test_flags_are_cf(self) -> None:
        seen = interpolate(reports(**{"2m_temperature": 0.0}), StateContext(SPEC, TIMES))[1]
        flag = seen["2m_temperature_flag"]
        assert flag.dtype == np.int8 and len(flag.attrs["flag_values"]) == len(flag.attrs["flag_meanings"].split())
        assert "2m_temperature_flag" in seen["2m_temperature"].attrs["ancillary_variables"]


class TestMask:
    mask = np.ones(SPEC.shape, bool)
    mask[2, :, :12] = False  # land from 0 to 165 degrees east

    def read(self, longitude: list[float]) -> tuple[SparseOperator, xr.Dataset]:
        return interpolate(
            reports(3.0, longitude, **{"sea_surface_temperature": 0.0}), StateContext(SPEC, TIMES, mask=self.mask)
        )

    def test_only_cells_that_exist_are_read(self) -> None:
        stencil, seen = self.read([200, 175, 350, 90, 165, 180])
        assert flags(seen, "sea_surface_temperature") == [0, 0, 0, Flag.MASKED, Flag.MASKED, 0]
        sea = np.where(self.mask, 290.0, np.nan)
        np.testing.assert_allclose(stencil.apply(np.broadcast_to(sea, (5, *SPEC.shape))), 290)

    def test_weights_are_shared_among_them(self, trajectory: np.ndarray) -> None:
        stencil, _ = self.read([175])  # 165 is land: all is read at 180, in the latitudes' own proportion
        column = trajectory[0, 2, :, 12]
        assert stencil.apply(trajectory)[0] == pytest.approx(0.3 * column[5] + 0.7 * column[6])

    def test_other_channels_do_not_mind(self) -> None:
        obs = reports(3.0, 90, **{"2m_temperature": 0.0})
        assert flags(interpolate(obs, StateContext(SPEC, TIMES, mask=self.mask))[1], "2m_temperature") == [0]


class TestHeights:
    obs = reports(altitude=[0.0, 500.0, np.nan], **{"2m_temperature": 280.0, "10m_u_component_of_wind": 1.0})

    def test_temperature_is_brought_to_the_station(self) -> None:
        stencil, seen = interpolate(self.obs, StateContext(SPEC, TIMES, np.full(SPEC.shape[1:], 300.0)))
        np.testing.assert_allclose(stencil.offset, [0.0065 * 300, -0.0065 * 200, 0, 0, 0, 0])
        np.testing.assert_allclose(stencil.apply(np.zeros((5, *SPEC.shape))), stencil.offset)
        assert seen.attrs["height_correction"] == "0.0065 K m-1"
        assert seen.attrs["height_correction_unknown_altitude"] == 1

    def test_another_lapse_rate(self) -> None:
        stencil, _ = interpolate(self.obs, StateContext(SPEC, TIMES, np.full(SPEC.shape[1:], 300.0)), lapse_rate=0.01)
        assert stencil.offset[0] == pytest.approx(3)

    def test_the_surface_is_interpolated(self) -> None:
        surface = np.broadcast_to(np.array(SPEC.latitude)[:, None] * 10 + 1000, SPEC.shape[1:])
        obs = reports(latitude=30, altitude=0.0, **{"2m_temperature": 280.0})
        assert interpolate(obs, StateContext(SPEC, TIMES, surface))[0].offset[0] == pytest.approx(0.0065 * 1300)

    def test_unknown_surface_is_said_once(self) -> None:
        with pytest.warns(UserWarning, match="height of the model's surface is not known") as warned:
            stencil, seen = interpolate(self.obs, StateContext(SPEC, TIMES))
        assert len(warned) == 1 and warned[0].filename == __file__
        assert (stencil.offset == 0).all() and seen.attrs["height_correction"].startswith("off")

    @pytest.mark.parametrize(
        ("pressure", "height"), [(1013.25, 0), (850, 1457), (500, 5574), (226.32, 11000), (100, 16180)]
    )
    def test_standard_atmosphere(self, pressure: float, height: float) -> None:
        assert compute_standard_height(np.array(pressure)) == pytest.approx(height, abs=1)


class TestStencil:
    def test_windows_share_what_lies_between_them(self, rng: np.random.Generator, trajectory: np.ndarray) -> None:
        stencil, _ = interpolate(random_reports(rng, 200), StateContext(SPEC, TIMES))
        found = []
        for start in range(0, 4):
            part = stencil.select_window(start, 2)
            np.testing.assert_allclose(part.apply(trajectory[start : start + 2]), stencil.apply(trajectory)[
                [i for i in range(len(stencil)) if ((stencil.time[i] >= start) & (stencil.time[i] < start + 2)).all()]
            ])  # fmt: skip
            found += list(zip(part.observation, part.variable, strict=True))
        assert set(found) == set(zip(stencil.observation, stencil.variable, strict=True))

    def test_zero_weights_read_nothing_else(self) -> None:
        weight = np.array([[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]])
        index = np.arange(8).reshape(2, 4)
        weight, index = compact(weight, index)
        np.testing.assert_array_equal(weight, [[0.5, 0.5], [1, 0]])
        np.testing.assert_array_equal(index, [[1, 2], [4, 4]])

    def test_arrays_tell_stencils_apart(self, rng: np.random.Generator) -> None:
        stencil, _ = interpolate(random_reports(rng, 5), StateContext(SPEC, TIMES))
        assert len(stencil.list_arrays()) == 9 and all(len(array) == len(stencil) for array in stencil.list_arrays())

    def test_registry(self) -> None:
        assert choose("operator", "interpolate", OPERATORS) == Interpolate()
        with pytest.raises(OptionError, match="Unknown operator.*did you mean 'interpolate'"):
            choose("operator", "interpolat", OPERATORS)


class TestTensors:
    def reading(
        self, rng: np.random.Generator, **options: Any
    ) -> tuple[SparseOperator, WhitenedOperator, np.ndarray, np.ndarray]:
        stencil, _ = interpolate(random_reports(rng, 100), StateContext(SPEC, TIMES[:4]))
        climatology, scale = rng.normal(size=(4, *SPEC.shape)), rng.uniform(1, 2, SPEC.shape)
        return (
            stencil,
            WhitenedOperator(stencil, climatology, scale, dtype=torch.float64, **options),
            climatology,
            scale,
        )

    def test_whitened_residual(self, rng: np.random.Generator) -> None:
        stencil, reading, climatology, scale = self.reading(rng)
        x = rng.normal(size=(2, 4, *SPEC.shape))
        expected = (stencil.value - stencil.apply(climatology + scale * x)) / stencil.error
        residual = reading.y - reading(torch.from_numpy(x))
        assert residual.shape == (2, len(stencil)) == (2, len(reading))
        np.testing.assert_allclose(residual, expected, atol=1e-12)

    def test_adjoint(self, rng: np.random.Generator) -> None:
        _, reading, _, _ = self.reading(rng)
        x = torch.from_numpy(rng.normal(size=(3, *reading.shape))).requires_grad_()
        y = torch.from_numpy(rng.normal(size=(3, len(reading))))
        predicted = reading(x)
        (adjoint,) = torch.autograd.grad(predicted, x, y)
        assert (predicted * y).sum().item() == pytest.approx((x * adjoint).sum().item(), rel=1e-12)
        derivative = torch.func.jvp(reading, (torch.zeros_like(x),), (x.detach(),))[1]
        torch.testing.assert_close(derivative, predicted.detach(), rtol=0, atol=0)

    def test_only_frames_that_are_read(self, rng: np.random.Generator) -> None:
        obs = reports(0, 0, [6, 18.0, 18], **{"2m_temperature": 0.0})
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES))
        reading = WhitenedOperator(stencil, np.zeros((5, *SPEC.shape)), np.ones(SPEC.shape))
        assert reading.frames == (1, 3)
        x = torch.randn(1, 5, *SPEC.shape)
        np.testing.assert_allclose(reading(x[:, [1, 3]])[0], stencil.apply(x[0].numpy()), rtol=1e-5, atol=1e-6)

    def test_the_state_s_own_error(self, rng: np.random.Generator) -> None:
        sd = rng.uniform(0.1, 0.5, SPEC.shape[0])
        stencil, _, _, scale = self.reading(np.random.default_rng(1))
        extra = rng.uniform(0, 1, len(stencil))
        reading = self.reading(np.random.default_rng(1), representation=sd, extra_variance=extra)[1]
        row, column = np.divmod(stencil.cell, SPEC.shape[2])
        common = (stencil.weight * scale[stencil.channel, row, column] * sd[stencil.channel]).sum(axis=1)
        np.testing.assert_allclose(reading.deviation**2, stencil.error**2 + common**2 + extra)
        field = np.broadcast_to(np.full(SPEC.shape[0], 0.3)[:, None, None], SPEC.shape)
        by_cell = self.reading(np.random.default_rng(1), representation=field)[1]
        by_channel = self.reading(np.random.default_rng(1), representation=np.full(SPEC.shape[0], 0.3))[1]
        np.testing.assert_array_equal(by_cell.deviation, by_channel.deviation)

    def test_missing_cells_are_refused(self) -> None:
        obs = reports(3.0, 90, **{"sea_surface_temperature": [0.0, 1.0]})
        stencil, _ = interpolate(obs, StateContext(SPEC, TIMES))
        climatology = np.broadcast_to(np.where(TestMask.mask, 290.0, np.nan), (5, *SPEC.shape))
        with pytest.raises(ObservationError, match="2 of 2 reports read cells where"):
            WhitenedOperator(stencil, climatology, np.ones(SPEC.shape))

    def test_no_report(self) -> None:
        stencil, _ = interpolate(reports(temperature=[0.0, 1.0]), StateContext(SPEC, TIMES))
        reading = WhitenedOperator(stencil, np.zeros((5, *SPEC.shape)), np.ones(SPEC.shape))
        assert reading.frames == () and reading(torch.zeros(2, *reading.shape)).shape == (2, 0)
