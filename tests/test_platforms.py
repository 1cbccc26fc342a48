"""Networks for twin experiments: where they are, what they ask for, and that they can be observed."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xappa
from tests.benchmarks import networks
from xappa import platforms
from xappa.errors import DatasetError, ObservationError, OptionError
from xappa.geometry import to_unit_vectors
from xappa.grids.axes import recognise
from xappa.observations.schema import is_one_form, quantities
from xappa.platforms import ORBITS, Orbit
from xappa.platforms.domain import NetworkDomain
from xappa.platforms.orbit import offset_across_track
from xappa.state import derive_spec

TIMES = np.datetime64("2021-03-21", "s") + np.arange(9) * np.timedelta64(6, "h")
LATITUDE, LONGITUDE, LEVELS = np.arange(-85.0, 90, 10), np.arange(0.0, 360, 10), np.array([850, 500, 250])


def truth() -> xr.Dataset:
    """Land from 0 to 90 degrees east, 400 m high; fields that tell their latitude."""
    shape = (len(TIMES), len(LATITUDE), len(LONGITUDE))
    surface = np.broadcast_to(LATITUDE[:, None], shape).astype("f4")
    aloft = np.broadcast_to(surface[:, None], (len(TIMES), 3, *shape[1:]))
    land = np.broadcast_to(LONGITUDE < 90, shape[1:]).astype(float)
    flat, whole = ("time", "latitude", "longitude"), ("time", "level", "latitude", "longitude")
    ds = xr.Dataset(
        {
            "2m_temperature": (flat, 280 + surface / 10, {"units": "K"}),
            "mean_sea_level_pressure": (flat, 1e5 + surface, {"units": "Pa"}),
            "10m_u_component_of_wind": (flat, 3 + 0 * surface, {"units": "m s-1"}),
            "10m_v_component_of_wind": (flat, 4 + 0 * surface, {"units": "m s-1"}),
            "sea_surface_temperature": (flat, np.where(land, np.nan, 285 + 0 * surface), {"units": "K"}),
            "temperature": (whole, 250 + aloft / 10, {"units": "K"}),
            "u_component_of_wind": (whole, aloft, {"units": "m s-1"}),
            "v_component_of_wind": (whole, aloft, {"units": "m s-1"}),
            "land_sea_mask": (flat[1:], land),
            "orography": (flat[1:], 400 * land),
        },
        {"time": TIMES, "latitude": LATITUDE, "longitude": LONGITUDE, "level": ("level", LEVELS, {"units": "hPa"})},
    )
    return ds


Make = Callable[..., xr.Dataset]
GENERATORS: dict[str, tuple[Make, dict[str, Any]]] = {
    "stations": (platforms.stations, {"count": 50}),
    "radiosondes": (platforms.radiosondes, {"count": 20}),
    "columns": (platforms.columns, {"fraction": 0.02}),
    "values": (platforms.values, {"fraction": 0.01}),
    "swaths": (platforms.swaths, {"spacing": 5.0}),
    "buoys": (platforms.buoys, {"count": 20}),
}


@pytest.fixture(params=GENERATORS)
def generator(request: pytest.FixtureRequest) -> Callable[..., xr.Dataset]:
    make, options = GENERATORS[request.param]
    return lambda **more: make(truth(), **options, **more)


class TestEveryGenerator:
    def test_the_one_form_without_values(self, generator: Make) -> None:
        network = generator(seed=1)
        assert is_one_form(network)
        for name in quantities(network):
            assert set(np.unique(network[name])[:1]) == {0.0} and float(network[name].max()) == 0
        assert network.time.values.min() >= TIMES[0] and network.time.values.max() <= TIMES[-1]
        assert float(abs(network.latitude).max()) <= 90
        assert float(network.longitude.min()) >= 0 and float(network.longitude.max()) < 360

    def test_seeds_decide(self, generator: Make) -> None:
        one, same, other = (generator(seed=seed) for seed in (1, 1, 2))
        xr.testing.assert_identical(one, same)
        assert one.sizes != other.sizes or not np.array_equal(one.latitude, other.latitude)

    def test_it_can_be_observed(self, generator: Make) -> None:
        network = generator(seed=1)
        reports = truth().appa.observe(network)
        for name in quantities(network):
            asked = network[name].notnull().values
            assert not np.isfinite(reports[name].values[~asked]).any()
            if name != "sea_surface_temperature":
                assert np.isfinite(reports[name].values[asked]).mean() > 0.85
        for name in set(quantities(network)) & {"mean_sea_level_pressure"}:
            there = np.isfinite(reports[name].values) & (abs(reports.latitude.values) < 85)
            np.testing.assert_allclose(reports[name].values[there], 1e5 + reports.latitude.values[there], atol=0.02)

    def test_errors_are_kept(self, generator: Make) -> None:
        network = generator(seed=1, errors="speedy-twin")
        known = [name for name in quantities(network) if name != "sea_surface_temperature"]
        for name in known:
            np.testing.assert_array_equal(np.isfinite(network[f"{name}_error"]), network[name].notnull())


@pytest.mark.parametrize("name", [name for name in GENERATORS if name != "values"])
def test_fields_are_not_read(name: str) -> None:
    """Only single values need to know where fields are missing."""

    def refuse(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a field was read")

    ds = truth().chunk()
    for key in ("2m_temperature", "temperature", "sea_surface_temperature"):
        ds[key] = ds[key].copy(data=ds[key].data.map_blocks(refuse, dtype="f4", meta=np.empty(0, "f4")))
    make, options = GENERATORS[name]
    xr.testing.assert_identical(make(ds, **options), make(truth(), **options))


def test_stations_are_dense_over_land() -> None:
    network = platforms.stations(truth(), 2000, every=12)
    assert sorted(set(network.time.values)) == sorted(TIMES[::2])
    first = network.isel(obs=slice(2000))
    over_land = (first.longitude.values < 85) | (first.longitude.values > 355)
    # A quarter of the sphere, five times as dense: 5 / 8.
    assert over_land.mean() == pytest.approx(5 / 8, abs=0.04)
    assert (first.altitude.values[~over_land] == 0).all()
    assert np.median(first.altitude.values[over_land]) == pytest.approx(400, abs=20)
    assert len(set(first.station.values)) == 2000
    for name in ("latitude", "longitude", "altitude"):
        np.testing.assert_array_equal(first[name], network[name][2000:4000])


def test_stations_of_a_density() -> None:
    density = np.zeros((18, 36))
    density[4, 7], density[12, 30] = 1, 3
    network = platforms.stations(truth(), 400, density=density, every=24)
    south = network.latitude.values < 0
    np.testing.assert_allclose(network.latitude.values[south], -45, atol=5.001)
    np.testing.assert_allclose(network.longitude.values[~south], 300, atol=5.001)
    assert south.mean() == pytest.approx(
        np.cos(np.deg2rad(45)) / (np.cos(np.deg2rad(45)) + 3 * np.cos(np.deg2rad(35))), abs=0.06
    )


def test_radiosondes_report_profiles() -> None:
    network = platforms.radiosondes(truth(), 30, variables=("temperature", "mean_sea_level_pressure"))
    assert network.sizes["obs"] == 5 * 4 * 30
    surface = np.isnan(network.level.values)
    np.testing.assert_array_equal(network["temperature"].isnull(), surface)
    np.testing.assert_array_equal(network["mean_sea_level_pressure"].isnull(), ~surface)
    frame = pd.DataFrame({"time": network.time, "station": network.station, "level": network.level})
    assert (frame.groupby(["time", "station"]).size() == 4).all() and set(frame.level.dropna()) == {850, 500, 250}
    assert set(platforms.radiosondes(truth(), 3, levels=[700]).level.values) == {700}


def test_columns_are_whole_and_on_grid_points() -> None:
    network = platforms.columns(truth(), 0.05, every=24)
    points = set(zip(network.latitude.values, network.longitude.values, strict=True))
    assert len(points) == round(0.05 * 18 * 36)
    assert {y for y, _ in points} <= set(LATITUDE) and {x for _, x in points} <= set(LONGITUDE)
    assert network.sizes["obs"] == 3 * 4 * len(points)
    per_row = pd.Series([y for y, _ in platforms_points(platforms.columns(truth(), 0.5, seed=3))])
    assert (per_row.abs() < 30).mean() == pytest.approx(0.5, abs=0.12)


def platforms_points(network: xr.Dataset) -> set[tuple[float, float]]:
    return set(zip(network.latitude.values, network.longitude.values, strict=True))


def test_values_lie_where_fields_have_values() -> None:
    network = platforms.values(truth(), 0.02)
    count = sum(int(network[name].notnull().sum()) for name in quantities(network))
    total = 4 * 18 * 36 + 18 * 27 + 9 * 18 * 36
    assert count == len(TIMES) * round(0.02 * total)
    sea = network["sea_surface_temperature"].notnull().values
    assert sea.any() and (network.longitude.values[sea] >= 90).all()
    everything = platforms.values(truth(), 1.0, variables=["temperature"], every=24)
    assert everything.sizes["obs"] == 3 * 3 * 18 * 36


def test_swaths_follow_the_track() -> None:
    network = platforms.swaths(truth(), "leo", spacing=1.0, width=1000, gap=300)
    hours = (network.time.values - TIMES[0]) / np.timedelta64(1, "h")
    below = to_unit_vectors(*ORBITS["leo"].compute_track(hours))
    here = to_unit_vectors(network.latitude.values, network.longitude.values)
    km = 6371.0088 * np.arccos(np.clip((below * here).sum(-1), -1, 1))
    assert km.min() > 150 - 8 and km.max() < 500 + 8  # times are whole seconds, in which it goes 7 km
    scans = network.sizes["obs"] / len(set(network.time.values))
    assert scans == 6
    assert float(abs(network.latitude).max()) == pytest.approx(75 + km.max() / 111.2, abs=0.6)
    steps = np.diff(np.unique(hours))
    assert steps.mean() == pytest.approx(1 / 360 * ORBITS["leo"].period, rel=0.01)


def test_swaths_over_sea_and_thinned() -> None:
    ds, wide = truth(), {"spacing": 3.0, "seed": 4}
    sea = platforms.swaths(ds, over="sea", **wide)
    land = platforms.swaths(ds, over="land", **wide)
    assert sea.sizes["obs"] + land.sizes["obs"] == platforms.swaths(ds, **wide).sizes["obs"]
    assert ((land.longitude.values < 85.1) | (land.longitude.values > 354.9)).all()
    thin = platforms.swaths(ds, thin=True, **wide)
    row, column = NetworkDomain.from_dataset(ds).find_nearest(thin.latitude.values, thin.longitude.values)
    about = np.rint((thin.time.values - TIMES[0]) / np.timedelta64(6, "h") - 1e-9)
    assert len(set(zip(about, row, column, strict=True))) == thin.sizes["obs"] < sea.sizes["obs"]


def test_channels_are_told_apart() -> None:
    names = ["brightness_temperature"]
    network = platforms.swaths(truth(), variables=names, channels=3, spacing=10.0)
    np.testing.assert_array_equal(network.channel[:6], [1, 2, 3, 1, 2, 3])
    assert len(set(network.latitude.values[:3])) == 1
    assert network.sizes["obs"] == 3 * platforms.swaths(truth(), variables=names, spacing=10.0).sizes["obs"]


def test_buoys_drift_and_stay_at_sea() -> None:
    network = platforms.buoys(truth(), 400, speed=0.5, memory=1.0)
    sea = NetworkDomain.from_dataset(truth()).is_sea[
        NetworkDomain.from_dataset(truth()).find_nearest(network.latitude.values, network.longitude.values)
    ]
    assert sea.all()
    track = to_unit_vectors(*(network[name].values.reshape(9, 400) for name in ("latitude", "longitude")))
    km = 6371 * np.arccos(np.clip((track[1:] * track[:-1]).sum(-1), -1, 1))
    # The mean of a two-dimensional normal speed is sqrt(pi / 2) times the deviation of its components.
    assert km.mean() == pytest.approx(0.5 * np.sqrt(np.pi / 2) * 21.6, rel=0.06)
    steps = track[1:] - track[:-1]
    along = (steps[1:] * steps[:-1]).sum(-1) / np.linalg.norm(steps[1:], axis=-1) / np.linalg.norm(steps[:-1], axis=-1)
    assert 0.4 < np.nanmean(along) < 0.95  # it goes on as before, for a while


class TestOrbit:
    @given(st.floats(200, 2000), st.floats(1, 179), st.floats(-180, 180))
    def test_latitudes_end_at_the_inclination(self, altitude: float, inclination: float, phase: float) -> None:
        orbit = Orbit(altitude, inclination, phase)
        latitude, longitude = orbit.compute_track(np.linspace(0, orbit.period, 400))
        assert abs(latitude).max() == pytest.approx(90 - abs(90 - inclination), abs=0.5)
        assert (abs(longitude) <= 180).all()
        assert latitude[0] == pytest.approx(0, abs=1e-9) and latitude[1] < 0

    def test_the_period_is_kepler_s(self) -> None:
        assert Orbit(35786.0).period == pytest.approx(23.93, abs=0.01)  # geostationary: a sidereal day
        assert ORBITS["iss"].period * 60 == pytest.approx(92.8, abs=0.2)

    def test_the_earth_turns_below(self) -> None:
        """After one revolution the satellite is above the same latitude, farther west by what the Earth has turned."""
        orbit = ORBITS["leo"]
        (y0, y1), (x0, x1) = orbit.compute_track(np.array([0.3, 0.3 + orbit.period]))
        assert y1 == pytest.approx(y0, abs=1e-9)
        assert (x0 - x1) % 360 == pytest.approx(15 * orbit.period)

    def test_across(self) -> None:
        right = offset_across_track(
            np.array([0.0]), np.array([10.0]), (np.array([1.0]), np.array([10.0])), np.array([-5.0, 5.0])
        )
        np.testing.assert_allclose(right, [[[0, 0]], [[5, 15]]], atol=1e-9)


class TestMasks:
    def test_cells_against_all_distances(self) -> None:
        latitude, longitude, orbit = np.linspace(90, -90, 37), np.arange(0, 360, 5.0), Orbit(700, 65, 33)
        track = to_unit_vectors(*orbit.compute_track(3 + np.arange(30) / 30))
        points = to_unit_vectors(latitude[:, None], longitude).reshape(-1, 3)
        expected = np.flatnonzero(((points @ track.T) >= np.cos(np.deg2rad(8))).any(1))
        found = platforms.satellite_cells(orbit, latitude, longitude, hour=1, delay=2, per_hour=30, radius=8)
        np.testing.assert_array_equal(found, expected)

    @given(st.integers(1, 300), st.integers(0, 2**31))
    def test_the_order_is_that_of_torch(self, size: int, seed: int) -> None:
        import torch

        cells = np.arange(size) * 3
        order = torch.randperm(size, generator=torch.Generator().manual_seed(seed)).numpy()
        kept, held = platforms.split(cells, size // 3, seed)
        np.testing.assert_array_equal(np.concatenate([held, kept]), cells[order])

    def test_stations_at_the_date_line_are_lost(self) -> None:
        cells = platforms.station_cells(np.array([0.0, 0.0, 0.1, 90.0]), np.array([179.9, -180.0, 0.1, -0.2]))
        np.testing.assert_array_equal(cells, sorted({360 * 1440 + 720, 360 * 1440, 1439}))


class TestWrongInput:
    def test_options(self) -> None:
        ds = truth()
        for call, text in (
            (lambda: platforms.stations(ds, variables=["2m_temprature"]), "did you mean '2m_temperature'"),
            (lambda: platforms.stations(ds.isel(time=[1]), every=12), "no time of the Dataset"),
            (lambda: platforms.stations(ds, density=np.ones((3, 4))), r"expected \(18, 36\)"),
            (lambda: platforms.columns(ds, 0.0), "above 0 and at most 1"),
            (lambda: platforms.swaths(ds, "metopp"), "expected one of 'leo', 'iss', 'metop'"),
            (lambda: platforms.swaths(ds, over="ice", width=-1), "width=-1.*over='ice'"),
        ):
            with pytest.raises(OptionError, match=text):
                call()

    def test_datasets(self) -> None:
        with pytest.raises(DatasetError, match="does not say where land is"):
            platforms.buoys(truth().drop_vars("land_sea_mask"))
        with pytest.raises(ObservationError, match="one time only"):
            platforms.swaths(truth().isel(time=[0]))
        with pytest.raises(DatasetError, match="latitude"):
            platforms.stations(truth().drop_vars("latitude"))


def test_any_spelling_of_the_fields() -> None:
    ds = truth().rename(latitude="lat", longitude="lon", land_sea_mask="lsm")
    turned = ds.assign_coords(lon=(ds.lon + 180) % 360 - 180).sortby("lon").isel(lat=slice(None, None, -1))
    for make in (platforms.stations, platforms.buoys):
        xr.testing.assert_equal(make(turned, 60), make(truth(), 60))


class TestBenchmarkNetworks:
    ds = truth()
    spec = derive_spec(ds, recognise(ds))

    @pytest.mark.parametrize(("kind", "count"), [("E-0.1%", 1), ("E-1%", 6), ("E-5%", 32), ("E-10%", 65)])
    def test_columns_of_a_share(self, kind: str, count: int) -> None:
        reports = networks.network(kind, self.spec, np.ones(len(self.spec.channels)), times=8)
        assert len(np.unique(reports.cell)) == count and set(reports.time) == set(range(8))
        seen = {self.spec.channels[c][0] for c in reports.channel}
        assert seen == {*networks.SURFACE, "temperature", "u_component_of_wind", "v_component_of_wind"}

    def test_published_networks_are_as_they_were(self) -> None:
        """Scores on A, B and C are published: their places are those of these draws."""
        spec, land = self.spec, truth()["land_sea_mask"].values
        ones, size = np.ones(len(spec.channels)), 18 * 36
        latitude = np.repeat(LATITUDE, 36)
        area = np.cos(np.deg2rad(latitude))
        for kind, count, density in (
            ("A", 415, area * (1 + 3 * land.ravel()) * (2 + np.tanh(latitude / 15))),
            ("B", 230, area),
        ):
            rng = np.random.default_rng([7, ord(kind)])
            cells = np.sort(rng.choice(size, count, replace=False, p=density / density.sum()))
            found = networks.network(kind, spec, ones, land=land, seed=7)
            np.testing.assert_array_equal(np.unique(found.cell), cells)
        rng, there = np.random.default_rng([7, ord("C")]), np.arange(len(ones) * size)
        drawn = [np.sort(rng.choice(there, round(0.01 * len(there)), replace=False)) for _ in range(8)]
        found = networks.network("C", spec, ones, seed=7)
        np.testing.assert_array_equal(found.channel * size + found.cell, np.concatenate(drawn))

    def test_all_of_them(self) -> None:
        ds = truth()
        parts = networks.all_networks(ds, self.spec, np.ones(len(self.spec.channels)))
        assert set(parts) == set(networks.OPERATORS)
        assert (parts["F"]["brightness_temperature_error"] == 0.5).all() and set(parts["F"].channel.values) == set(
            range(1, 9)
        )
        assert (parts["G"]["10m_wind_speed_error"] == 1.5).all()
        for key in ("A", "D", "G"):
            reports = ds.appa.observe(parts[key], operator=networks.OPERATORS[key])
            assert all(np.isfinite(reports[name]).any() for name in quantities(reports)), key
        np.testing.assert_allclose(reports["10m_wind_speed"].dropna("obs"), 5, rtol=1e-5)


def test_the_page_runs() -> None:
    """All code of the page on twin experiments, but for the analyses."""
    text = (Path(__file__).parents[1] / "docs" / "twin-experiments.md").read_text()
    blocks = [b for b in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if ".assimilate(" not in b]
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "twin-experiments.md", "exec"), names)
    assert len(blocks) > 5 and np.isfinite(names["speeds"]["10m_wind_speed"]).any()
    assert len(names["cells"]) == pytest.approx(55466, rel=1e-3)


def test_the_module_is_public_and_light() -> None:
    code = "import sys, xappa; xappa.platforms.ORBITS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert "platforms" in xappa.__all__
