"""What a network would have reported of a Dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import DatasetError, ObservationError, OptionError
from xappa.model.state import StateSpec
from xappa.observations.errors.correlation import Correlation, with_correlation
from xappa.observations.errors.noise import draw_standard_errors
from xappa.observations.flags import Flag
from xappa.observations.schema import build_observations, is_one_form
from xappa.state import to_dataset
from xappa.tasks.observe import observe

SPEC = StateSpec(
    channels=(
        ("2m_temperature", None),
        ("sea_surface_temperature", None),
        ("mean_sea_level_pressure", None),
        ("temperature", 500),
        ("temperature", 850),
    ),
    latitude=tuple(np.arange(-82.5, 90, 15)),
    longitude=tuple(np.arange(0.0, 360, 15)),
    step_hours=6,
    window=5,
)
TIMES = np.datetime64("2021-03-21", "s") + np.arange(5) * SPEC.step


def truth(members: int = 1) -> xr.Dataset:
    """Fields that are linear in latitude, time, log-pressure and member, so that any place has a known value."""
    hours = (6.0 * np.arange(5))[:, None, None, None]
    level = np.log([1000.0, 1000, 1000, 500, 850])[:, None, None]
    fields = 250 + hours + 10 * level + np.array(SPEC.latitude)[:, None] / 10 + np.zeros((*SPEC.shape,))
    fields = fields + 5 * np.arange(members)[:, None, None, None, None]
    return to_dataset(fields, SPEC, TIMES, range(members)).isel(member=slice(None) if members > 1 else 0)


def expected(obs: xr.Dataset, level: float | xr.DataArray = 1000.0) -> np.ndarray:
    hours = (obs.time.values - TIMES[0]) / np.timedelta64(1, "h")
    return 250 + hours + 10 * np.log(np.asarray(level)) + obs.latitude.values / 10


def network(values: Mapping[str, Any], size: int = 30) -> xr.Dataset:
    rng = np.random.default_rng(3)
    coords = {
        "time": TIMES[0] + rng.integers(0, 24 * 3600, size).astype("m8[s]"),
        "latitude": rng.uniform(-80, 80, size),
        "longitude": rng.uniform(-180, 180, size),
        "level": rng.uniform(500, 850, size),
    }
    return build_observations(coords, {name: np.broadcast_to(value, size) for name, value in values.items()})


def test_values_are_those_of_the_fields() -> None:
    obs = observe(truth(), network({"2m_temperature": 1.0, "temperature": np.nan}))
    np.testing.assert_allclose(obs["2m_temperature"], expected(obs), atol=1e-4)
    np.testing.assert_allclose(obs["temperature"], expected(obs, obs.level), atol=1e-4)
    assert is_one_form(obs) and (obs["temperature_flag"] == Flag.GOOD).all()


def test_any_spelling_of_the_fields() -> None:
    where = network({"2m_temperature": 1.0, "temperature": 1.0})
    ds = truth().rename({"2m_temperature": "t2m", "latitude": "lat", "longitude": "lon", "level": "plev"})
    ds = ds.assign_coords(lon=(ds.lon + 180) % 360 - 180, plev=("plev", ds.plev.values * 100.0, {"units": "Pa"}))
    ds = ds.sortby("lon").isel(lat=slice(None, None, -1)).chunk(time=2)
    ds["t2m"] = (ds["t2m"] - 273.15).assign_attrs(units="degC")
    xr.testing.assert_allclose(observe(ds, where), observe(truth(), where), rtol=1e-6)


def test_what_was_not_reported_is_not_reported() -> None:
    values = np.ones(30)
    values[:10] = np.nan
    where = network({"2m_temperature": values})
    where["2m_temperature_flag"] = ("obs", np.where(np.arange(30) < 20, 0, Flag.DUPLICATE).astype("i1"))
    obs = observe(truth(), where)
    np.testing.assert_array_equal(np.isfinite(obs["2m_temperature"]), (np.arange(30) >= 10) & (np.arange(30) < 20))
    np.testing.assert_array_equal(obs["2m_temperature_flag"], where["2m_temperature_flag"])


def test_tables_are_taken() -> None:
    frame = pd.DataFrame({"time": TIMES[:2], "lat": [0.0, 7.5], "lon": [0, 355], "t2m": [280.0, 281.0]})
    obs = observe(truth(), frame)
    np.testing.assert_allclose(obs["2m_temperature"], expected(obs), atol=1e-4)


def test_members() -> None:
    ds = truth(3)
    where = network({"2m_temperature": 1.0})
    obs = observe(ds, where)
    assert obs["2m_temperature"].dims == ("member", "obs")
    np.testing.assert_array_equal(obs.member, [0, 1, 2])
    for member in range(3):
        one = observe(ds.isel(member=member), where)
        np.testing.assert_array_equal(obs["2m_temperature"][member], one["2m_temperature"])
    noisy = observe(ds, where, error={"2m_temperature": 1.0}, seed=0)["2m_temperature"] - obs["2m_temperature"]
    assert noisy.dims == ("member", "obs") and abs(float(np.corrcoef(noisy)[0, 1])) < 0.5


def test_missing_cells_are_avoided() -> None:
    ds = truth()
    ds["sea_surface_temperature"] = ds["sea_surface_temperature"].where((ds.longitude > 170) & (ds.longitude < 350))
    where = build_observations(
        {"time": TIMES[[0, 0, 0]], "latitude": np.zeros(3), "longitude": np.array([200.0, 172, 90])},
        {"sea_surface_temperature": np.ones(3)},
    )
    obs = observe(ds, where)
    np.testing.assert_allclose(obs["sea_surface_temperature"], [*expected(obs)[:2], np.nan], rtol=1e-6)
    assert obs["sea_surface_temperature_flag"].values.tolist() == [0, 0, Flag.MASKED]


def test_a_region() -> None:
    where = network({"2m_temperature": 1.0})
    obs = observe(truth().sel(latitude=slice(0, 60), longitude=slice(0, 180)), where)
    inside = (where.latitude.values >= 7.5) & (where.latitude.values <= 52.5) & (where.longitude.values >= 0)
    np.testing.assert_array_equal(np.isfinite(obs["2m_temperature"]), inside)
    np.testing.assert_allclose(obs["2m_temperature"][inside], expected(obs)[inside], rtol=1e-6)
    assert set(obs["2m_temperature_flag"].values[~inside]) == {Flag.MASKED}


def test_height_of_the_station() -> None:
    ds = truth().assign(orography=(("latitude", "longitude"), np.full(SPEC.shape[1:], 400.0)))
    where = network({"2m_temperature": 1.0}).assign_coords(altitude=("obs", np.full(30, 1400.0)))
    obs = observe(ds, where)
    np.testing.assert_allclose(obs["2m_temperature"], expected(obs) - 6.5, rtol=1e-6)
    with pytest.warns(UserWarning, match="height of the model's surface is not known"):
        assert observe(truth(), where).attrs["height_correction"].startswith("off")


class TestNoise:
    where = network({"2m_temperature": 1.0, "mean_sea_level_pressure": 1.0}, 4000)

    def noise(self, **options: Any) -> xr.Dataset:
        clean, noisy = observe(truth(), self.where), observe(truth(), self.where, **options)
        return noisy.assign({name: noisy[name] - clean[name] for name in ("2m_temperature", "mean_sea_level_pressure")})

    def test_deviation(self) -> None:
        with pytest.warns(UserWarning, match="nothing of mean_sea_level_pressure: these reports are perfect"):
            obs = self.noise(error={"2m_temperature": 2.0}, seed=1)
        assert float(obs["2m_temperature"].std()) == pytest.approx(2, rel=0.05)
        assert float(obs["2m_temperature"].mean()) == pytest.approx(0, abs=0.15)
        assert (obs["2m_temperature_error"] == 2).all()
        assert (obs["mean_sea_level_pressure"] == 0).all() and "mean_sea_level_pressure_error" not in obs

    def test_the_noise_is_a_function_of_the_seed(self) -> None:
        first, again, other = (self.noise(error="speedy-twin", seed=seed) for seed in (1, 1, 2))
        xr.testing.assert_identical(first, again)
        assert not np.allclose(first["2m_temperature"], other["2m_temperature"])
        assert abs(np.corrcoef(first["2m_temperature"], first["mean_sea_level_pressure"])[0, 1]) < 0.05
        one = observe(truth(), self.where[["2m_temperature"]], error={"2m_temperature": 1.0}, seed=1)
        both = observe(truth(), self.where, error="speedy-twin", seed=1)
        np.testing.assert_array_equal(one["2m_temperature"], both["2m_temperature"])

    def test_a_seed_that_was_drawn_is_kept(self) -> None:
        obs = observe(truth(), self.where, error="speedy-twin")
        again = observe(truth(), self.where, error="speedy-twin", seed=obs.attrs["noise_seed"])
        xr.testing.assert_identical(obs, again)

    def test_errors_without_noise(self) -> None:
        where = self.where.assign({"2m_temperature_error": ("obs", np.full(4000, 3.0))})
        obs = observe(truth(), where)
        assert (obs["2m_temperature_error"] == 3).all() and "noise_seed" not in obs.attrs
        xr.testing.assert_equal(obs["2m_temperature"], observe(truth(), self.where)["2m_temperature"])
        assert (observe(truth(), where, error={"2m_temperature": 1.0}, seed=0)["2m_temperature_error"] == 1).all()


class TestCorrelatedNoise:
    """Drawn as the network says: the sample's correlations are those of the formula."""

    draws = 4000
    size = 6

    def errors(self, correlation: Correlation, **coords: Any) -> np.ndarray:
        """Sample correlations (obs, obs) over independent draws, of a network of six reports."""
        base = {
            "time": np.repeat(TIMES[0], self.size),
            "latitude": np.zeros(self.size),
            "longitude": np.array([0.0, 1, 2, 3, 4, 5]),
            "level": np.array([850.0, 700, 600, 500, 550, 650]),
            "station": np.array(list("aaabbb")),
        }
        obs = build_observations(base | coords, {"temperature": np.zeros(self.size)})
        obs = with_correlation(obs, {"temperature": correlation})
        rows = np.arange(self.size)
        noise = draw_standard_errors(obs, "temperature", rows, (self.draws, self.size), seed=1)
        np.testing.assert_allclose(noise.std(0), 1, atol=0.06)
        return np.corrcoef(noise.T)

    def test_along_a_profile(self) -> None:
        found = self.errors(Correlation("exponential", "level", 0.3, by=("station",)))
        height = np.log([850.0, 700, 600, 500, 550, 650]) / 0.3
        expected = np.exp(-abs(height[:, None] - height)) * np.kron(np.eye(2), np.ones((3, 3)))
        np.testing.assert_allclose(found, expected, atol=0.06)

    def test_the_same_in_a_block(self) -> None:
        found = self.errors(Correlation("uniform", strength=0.6, by=("station",)))
        expected = np.where(np.eye(6), 1, 0.6) * np.kron(np.eye(2), np.ones((3, 3)))
        np.testing.assert_allclose(found, expected, atol=0.06)

    def test_with_distance(self) -> None:
        found = self.errors(Correlation("exponential", "place", 300.0, by=()))
        degrees = abs(np.arange(6)[:, None] - np.arange(6))
        np.testing.assert_allclose(found, np.exp(-degrees * np.deg2rad(6371.0) / 300), atol=0.06)

    def test_through_observe(self) -> None:
        where = network({"2m_temperature": 1.0, "mean_sea_level_pressure": 1.0}, 2000)
        where = where.assign_coords(station=("obs", np.repeat(["a", "b"], 1000)))
        where = with_correlation(where, {"2m_temperature": Correlation("uniform", strength=0.9, by=("station",))})
        errors = {"2m_temperature": 1.0, "mean_sea_level_pressure": 1.0}
        clean = observe(truth(), where)
        noise = observe(truth(), where, error=errors, seed=3) - clean
        spread = noise["2m_temperature"].values.reshape(2, 1000).std(1)
        np.testing.assert_allclose(spread, np.sqrt(0.1), rtol=0.1)
        plain = observe(truth(), network({"mean_sea_level_pressure": 1.0}, 2000), error=1.0, seed=3) - clean
        np.testing.assert_allclose(noise["mean_sea_level_pressure"], plain["mean_sea_level_pressure"], atol=1e-9)
        assert observe(truth(), where, error=errors)["2m_temperature"].attrs["error_correlation"]


def test_errors_that_the_network_brings() -> None:
    deviation = np.repeat([0.5, 3.0], 2000)
    where = network({"2m_temperature": 1.0}, 4000).assign({"2m_temperature_error": ("obs", deviation)})
    obs = observe(truth(), where, error="reported", seed=0)
    noise = (obs - observe(truth(), where))["2m_temperature"].values.reshape(2, 2000)
    np.testing.assert_allclose(noise.std(1), [0.5, 3.0], rtol=0.06)
    np.testing.assert_array_equal(obs["2m_temperature_error"], deviation)
    with pytest.raises(OptionError, match="the network has no errors"):
        observe(truth(), network({"2m_temperature": 1.0}), error="reported")


def test_any_operator() -> None:
    def warmer(state: xr.Dataset) -> xr.DataArray:
        return state["temperature"] + 2.0

    where = network({"temperature": np.nan})
    plain = observe(truth(), where)["temperature"]
    np.testing.assert_allclose(observe(truth(), where, operator=warmer)["temperature"], plain + 2, rtol=1e-6)
    near = observe(truth(), where, operator="nearest")["temperature"]
    assert np.isfinite(near).all() and not np.allclose(near, plain, atol=0.1)


@pytest.mark.parametrize("members", [1, 2])
def test_a_function_that_no_report_can_be_read_from(members: int) -> None:
    def tropics(state: xr.Dataset) -> xr.DataArray:
        return state["2m_temperature"].where(abs(state.latitude) < 30)

    where = build_observations(
        {"time": TIMES[[1, 2]], "latitude": [60.0, -70.0], "longitude": [0.0, 9.0]}, {"2m_temperature": [1.0, 1.0]}
    )
    obs = observe(truth(members), where, operator=tropics)
    assert obs["2m_temperature"].isnull().all() and obs["2m_temperature"].sizes["obs"] == 2
    assert (obs["2m_temperature_flag"] == Flag.MASKED).all()


def test_what_is_wrong_is_said() -> None:
    where = network({"2m_temperature": 1.0})
    with pytest.raises(DatasetError, match="'latitude' has no coordinate values"):
        observe(truth().drop_vars("latitude"), where)
    height = truth().isel(time=0)["2m_temperature"].drop_vars("time") * 0
    for ds in (truth(), truth().assign(orography=height.assign_attrs(units="m"))):
        with pytest.raises(
            DatasetError, match="'latitude' has no dimension and 'longitude' has no dimension; .*expand"
        ):
            observe(ds.sel(latitude=50, longitude=10, method="nearest"), where)
        with pytest.raises(DatasetError, match="'longitude' has no dimension; expected"):
            observe(ds.sel(longitude=10, method="nearest"), where)
    with pytest.raises(ObservationError, match="'specific_humidity'.*expected any of 2m_temperature"):
        observe(truth(), network({"specific_humidity": 1.0}))
    with pytest.raises(ObservationError, match="No report lies inside the times"):
        observe(truth().isel(time=[4]), where.isel(obs=where.time.values < TIMES[3]))
    nowhere = where.assign_coords(latitude=where.latitude.where(where.obs > 0))
    with pytest.raises(ObservationError, match="No report lies inside the times"):
        observe(truth().isel(time=[4]), nowhere.isel(obs=where.time.values < TIMES[3]))
    with pytest.raises(OptionError, match="expected one of 'column-water'"):
        observe(truth(), where, operator="nearest neighbour")


@pytest.mark.parametrize(
    "longitudes",
    [np.r_[np.arange(0.0, 181, 15), np.arange(-165.0, 0, 15)], np.arange(195.0, 555, 15), np.arange(-360.0, 0, 15)],
)
@pytest.mark.parametrize("hours", [5, 6, 36, 240])
def test_fields_need_not_be_like_a_models(longitudes: np.ndarray, hours: int) -> None:
    latitudes = np.arange(-82.5, 90, 15)
    values = 280 + latitudes[:, None] / 10 + np.cos(np.deg2rad(longitudes)) + np.arange(3)[:, None, None]
    times = pd.date_range("2021-03-21", periods=3, freq=f"{hours}h")
    ds = xr.Dataset(
        {"2m_temperature": (("time", "latitude", "longitude"), values, {"units": "K"})},
        {"time": times, "latitude": latitudes, "longitude": longitudes},
    )
    reports = pd.DataFrame({"time": times[1:], "latitude": 7.5, "longitude": -15.0, "t2m": [280.0, 281.0]})
    expected = 280.75 + np.cos(np.deg2rad(15)) + np.array([1, 2])
    np.testing.assert_allclose(observe(ds, reports)["2m_temperature"], expected, atol=1e-5)
