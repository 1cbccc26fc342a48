"""Representativeness by grid spacing, and correlated errors from observations to tensors."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import xappa
from xappa.errors import OptionError
from xappa.observations import (
    Correlation,
    concat,
    observation_errors,
    read_observations,
    with_correlation,
    with_representativeness,
)
from xappa.observations.correlation import correlation_of
from xappa.observations.representativeness import representativeness, spacing_of
from xappa.operators.correlated import error_covariance

T, T2 = "temperature", "2m_temperature"


def soundings() -> xr.Dataset:
    frame = pd.DataFrame(
        {
            "time": "2024-01-01",
            "lat": [0.0] * 3 + [10.0] * 3,
            "lon": 0.0,
            "station": ["a"] * 3 + ["b"] * 3,
            "level": [1000.0, 500.0, 850.0, 1000.0, 500.0, 250.0],
            "t": 250.0,
        }
    )
    return read_observations(frame, error={"t": 2.0})


def test_it_grows_with_the_cell_and_is_added_to_the_variance():
    sizes = [representativeness(T2, side) for side in (10.0, 40.0, 300.0)]
    assert sizes == sorted(sizes) and 0.8 < sizes[-1] < 1.2
    # By definition: k(p) a (L / 300 km)^p, here with p = 1.01 and k = 0.112.
    assert float(sizes[-1]) == pytest.approx(np.sqrt(9.4 * 0.1111), rel=0.01)
    frame = pd.DataFrame({"time": "2024-01-01", "lat": [0.0, 60.0], "lon": 0.0, "t2m": 280.0})
    obs = with_representativeness(read_observations(frame, error={T2: 0.5}), 2.8)
    side = 111.2 * 2.8 * np.sqrt([1.0, 0.5])
    np.testing.assert_allclose(obs[f"{T2}_error"], np.sqrt(0.25 + representativeness(T2, side) ** 2))
    with pytest.raises(OptionError, match="already"):
        with_representativeness(obs, 2.8)


def test_it_is_what_a_linear_fit_leaves_of_a_random_field(rng):
    """Fields with this structure function, drawn on a square; what a plane leaves of them has the stated variance."""
    n, side = 14, 300.0
    axis = (np.arange(n) + 0.5) / n * side
    x, y = (a.ravel() for a in np.meshgrid(axis, axis))
    structure = 9.4 * (np.hypot(x[:, None] - x, y[:, None] - y) / 300.0) ** 1.01
    plane = np.linalg.qr(np.stack([np.ones_like(x), x, y], 1))[0]
    project = np.eye(n * n) - plane @ plane.T
    covariance = -0.5 * project @ structure @ project
    values, vectors = np.linalg.eigh(covariance)
    fields = vectors * np.sqrt(values.clip(0)) @ rng.standard_normal((n * n, 4000))
    assert float(fields.std()) == pytest.approx(float(representativeness(T2, side)), rel=0.03)


def test_aloft_it_goes_by_level():
    level = np.array([850.0, 500.0, 250.0, np.nan])
    wind = representativeness("u_component_of_wind", 300.0, level)
    assert wind[2] > wind[1] > 1.0
    assert (representativeness("brightness_temperature", 300.0, level) == 0.0).all()
    obs = with_representativeness(soundings(), xr.Dataset(coords={"lat": [0.0, 3.75], "lon": [0.0, 3.75]}))
    assert (obs[f"{T}_error"] > 2.0).all()
    assert obs[f"{T}_error"].attrs["representativeness_km"] == pytest.approx(414.0, abs=4.0)


def test_tables_with_a_grid():
    plain, coarse = observation_errors("ecmwf-like"), observation_errors("ecmwf-like", grid=3.75)
    assert coarse[T2] > plain[T2] and all(coarse[T][p] > plain[T][p] for p in plain[T])
    assert observation_errors("ecmwf-like", grid=0.25) == plain  # 40 km are in it already
    assert observation_errors("speedy-twin", grid=3.75) == observation_errors("speedy-twin")
    assert read_observations(soundings(), error=coarse).sizes["obs"] == 6


@pytest.mark.parametrize("grid", [0.0, -1.0, xr.Dataset()])
def test_grids_that_are_none(grid):
    with pytest.raises(OptionError, match="grid"):
        spacing_of(grid, np.zeros(1))


def dense(obs: xr.Dataset, covariance) -> np.ndarray:
    return (covariance @ torch.eye(obs.sizes["obs"], dtype=torch.float64)).numpy()


def rows(obs: xr.Dataset, **more):
    size = obs.sizes["obs"]
    zeros, error = np.zeros(size, int), obs[f"{T}_error"].to_numpy()
    return error_covariance(obs, (T,), zeros, np.arange(size), error, dtype=torch.float64, **more)


def test_along_profiles():
    obs = with_correlation(soundings(), {T: Correlation("exponential", "level", scale=0.5)})
    found = dense(obs, rows(obs))
    p = np.log(obs["level"].to_numpy())
    same = obs["station"].to_numpy()[:, None] == obs["station"].to_numpy()
    np.testing.assert_allclose(found, 4.0 * same * np.exp(-np.abs(p[:, None] - p) / 0.5), atol=1e-12)


def test_in_blocks_and_along_tracks():
    obs = soundings()
    uniform = with_correlation(obs, {T: Correlation("uniform", strength=0.3)})
    same = obs["station"].to_numpy()[:, None] == obs["station"].to_numpy()
    np.testing.assert_allclose(dense(obs, rows(uniform)), 4.0 * np.where(np.eye(6) > 0, 1.0, 0.3 * same), atol=1e-12)
    place = with_correlation(obs, {T: Correlation("exponential", "place", scale=1000.0, by=())})
    far = dense(obs, rows(place))[0, 3]
    assert far == pytest.approx(4.0 * np.exp(-6371.0 * np.deg2rad(10.0) / 1000.0), rel=1e-3)
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=4, freq="h"),
            "lat": [0.0, 1.0, 2.0, 1.0],
            "lon": 0.0,
            "station": "ship",
            "t": 280.0,
            "level": 1000.0,
        }
    )
    ship = read_observations(frame, error={"t": 2.0})
    track = with_correlation(ship, {T: Correlation("exponential", "track", scale=500.0, by=("station",))})
    degree = 6371.0 * np.deg2rad(1.0)
    np.testing.assert_allclose(dense(ship, rows(track))[0], 4.0 * np.exp(-degree / 500.0 * np.arange(4)), rtol=1e-9)
    hours = with_correlation(ship, {T: Correlation("exponential", "time", scale=2.0, by=("station",))})
    np.testing.assert_allclose(dense(ship, rows(hours))[0], 4.0 * np.exp(-np.arange(4) / 2.0), rtol=1e-9)


def test_large_blocks_are_cut():
    frame = pd.DataFrame({"time": "2024-01-01", "lat": np.linspace(0, 1, 1100), "lon": 0.0, "t": 250.0, "level": 500.0})
    obs = read_observations(frame, error={"t": 1.0})
    covariance = rows(with_correlation(obs, {T: Correlation("uniform", by=("time",))}))
    assert max(index.shape[1] for _, part in covariance.parts for index, _ in part.parts) <= 512
    v = torch.ones(1100, dtype=torch.float64)
    torch.testing.assert_close(covariance.solve(covariance @ v), v)


def test_with_an_independent_part_beside_it():
    obs = with_correlation(soundings(), {T: Correlation("exponential", "level", scale=0.5)})
    total = np.full(6, 2.5)
    found = dense(obs, rows(obs, total=total))
    alone = dense(obs, rows(obs))
    np.testing.assert_allclose(found, (alone + (2.5**2 - 4.0) * np.eye(6)) / 2.5**2, atol=1e-12)


def test_independent_errors_need_no_covariance():
    assert rows(soundings()) is None


def test_the_correlation_is_kept():
    one = Correlation("exponential", "level", scale=0.5)
    obs = with_correlation(soundings(), {T: one})
    assert correlation_of(obs, T) == one
    assert correlation_of(read_observations(obs, error={"t": 1.0}), T) == one
    assert correlation_of(concat([obs, soundings()]), T) == one


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "gaussian"}, "kind='gaussian'"),
        ({"along": "channel", "scale": -1.0}, "(?s)along='channel'.*scale=-1"),
        ({"strength": 1.0}, "strength=1.0"),
        ({"along": "time", "scale": "12h"}, "scale='12h', expected a number above 0"),
        ({"scale": np.timedelta64(12, "h"), "strength": "half"}, "(?s)scale=.*12.*strength='half', expected a number"),
    ],
)
def test_wrong_options_are_named_together(options, match):
    with pytest.raises(OptionError, match=match):
        Correlation(**options)


def test_what_observations_lack():
    with pytest.raises(OptionError, match="No observed quantity 'q'"):
        with_correlation(soundings(), {"q": Correlation()})
    with pytest.raises(OptionError, match="needs the coordinate source"):
        with_correlation(soundings(), {T: Correlation(by=("source",))})


def test_an_analysis_takes_the_correlation_into_account(tiny_model):
    ds = xappa.template("2000-01-01", "2000-01-02", tiny_model)
    times = ds["time"].values
    frame = pd.DataFrame({"time": times[0], "lat": np.linspace(-60, 60, 12), "lon": 0.0, "t2m": 285.0, "station": "a"})
    obs = read_observations(frame, error={"t2m": 1.0})
    alike = with_correlation(obs, {T2: Correlation("uniform", strength=0.95)})
    options = {"model": tiny_model, "seed": 0, "steps": 2}
    independent, correlated = (xappa.assimilate(ds, one, **options)[T2] for one in (obs, alike))
    again = xappa.assimilate(ds, alike, **options)[T2]
    assert independent.data.name != correlated.data.name == again.data.name
    assert float(abs(independent - correlated).max()) > 1e-3
    with pytest.raises(OptionError, match=r"correlated.*mmps"):
        xappa.assimilate(ds, alike, guidance="sda", **options)[T2].compute()
