"""Observations that Dask reads: each task its own, none before, and the same analysis."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import ObservationError, OptionError, UnitsError
from xappa.segments import Independent
from xappa.streaming import sampling
from xappa.tasks.lazy_observations import SAMPLE, is_lazy

pytestmark = pytest.mark.usefixtures("nothing_on_disk")

COUNT, CHUNK = 640, 20
FIRST = np.datetime64("2001-03-13T00", "s")


@pytest.fixture(scope="module")
def reports() -> xr.Dataset:
    """Four reports an hour over 160 hours, sorted, of two quantities."""
    rng = np.random.default_rng(0)
    coords = {
        "time": ("obs", FIRST + np.arange(COUNT) * np.timedelta64(900, "s")),
        "latitude": ("obs", rng.uniform(-80, 80, COUNT)),
        "longitude": ("obs", rng.uniform(0, 360, COUNT)),
    }
    values = {
        "2m_temperature": ("obs", 285 + rng.standard_normal(COUNT), {"units": "K"}),
        "mean_sea_level_pressure": ("obs", 101000 + 300 * rng.standard_normal(COUNT), {"units": "Pa"}),
    }
    values["2m_temperature"][1][::50] = 999.0
    return xr.Dataset(values, coords)


@pytest.fixture
def read(reports) -> tuple[xr.Dataset, list]:
    """The same, in chunks that tell when they are read."""
    chunks: list[tuple[str, int]] = []

    def lazy(name: str, variable: xr.Variable) -> da.Array:
        def block(number: int) -> np.ndarray:
            chunks.append((name, number))
            return variable.values[number * CHUNK : (number + 1) * CHUNK]

        parts = [
            da.from_delayed(dask.delayed(block)(number, dask_key_name=f"{name}-{number}"), (CHUNK,), variable.dtype)
            for number in range(COUNT // CHUNK)
        ]
        return da.concatenate(parts)

    variables = {
        name: (v.dims, lazy(str(name), v.variable), v.attrs)
        for name, v in reports.variables.items()
        for v in [reports[name]]
    }
    return xr.Dataset(variables).set_coords(list(reports.coords)), chunks


@pytest.fixture
def assimilate(tiny_model):
    ds = xappa.template("2001-03-13T00", "2001-03-19T12", model=tiny_model)

    def call(obs, **options):
        settings = {"model": tiny_model, "members": 1, "seed": 0, "steps": 3, "sampler": "lms", "quality": "none"}
        settings |= {"segments": Independent(4, 2), "error": {"2m_temperature": 1.0, "mean_sea_level_pressure": 100.0}}
        sampling._CACHE.clear()
        return ds.appa.assimilate(obs, **(settings | options))

    return call


def numbers(chunks: list, name: str) -> set[int]:
    return {number for found, number in chunks if found == name}


def test_each_task_reads_its_own_reports(assimilate, read) -> None:
    obs, chunks = read
    assert is_lazy(obs)
    found = assimilate(obs)
    assert numbers(chunks, "time") == set(range(COUNT // CHUNK)), "times tell which chunks are needed"
    assert numbers(chunks, "2m_temperature") == set(range(-(-SAMPLE // CHUNK))), "of the rest, the first few reports"
    chunks.clear()
    last = found["2m_temperature"].isel(time=-1)
    last.compute()
    # 27 times: the last segment begins with number 20 (hour 120); 5 hours are in a chunk, and one step before counts
    assert numbers(chunks, "2m_temperature") == set(range(22, COUNT // CHUNK))
    assert len(chunks) == len(set(chunks)), "none is read twice"


def test_the_analysis_is_that_of_the_same_reports_in_memory(assimilate, read, reports) -> None:
    lazy, eager = assimilate(read[0]).compute(), assimilate(reports).compute()
    np.testing.assert_allclose(lazy["temperature"], eager["temperature"], atol=1e-3)
    xr.testing.assert_allclose(lazy["2m_temperature"], eager["2m_temperature"], atol=1e-3)


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_files_of_reports_of_which_some_are_made_from_others(assimilate, reports, tmp_path, kind) -> None:
    dew = 0.98 * reports["2m_temperature"]
    reports = xappa.read_observations(reports.assign({"2m_dewpoint_temperature": dew.assign_attrs(units="K")}))
    path = tmp_path / f"reports.{kind}"
    reports.to_netcdf(path) if kind == "nc" else reports.to_zarr(path)
    again = xappa.read_observations(path)
    assert is_lazy(again)
    expected = assimilate(reports)["2m_temperature"].isel(time=slice(0, 4)).compute()
    result = assimilate(again)["2m_temperature"].isel(time=slice(0, 4)).compute()
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_counts_are_lazy_and_right(assimilate, read, reports) -> None:
    obs, chunks = read
    lazy = assimilate(obs)
    chunks.clear()
    learned = xappa.diagnostics(lazy)
    assert not chunks
    assert "xappa_reports" not in lazy.attrs
    with pytest.raises(ObservationError, match=r"xappa\.diagnostics\(analysis\)\[\"reports\"\] has the counts"):
        lazy.appa.summary()
    counts, expected = learned["reports"].compute(), xappa.diagnostics(assimilate(reports))["reports"]
    for name in reports.data_vars:
        for status in ("good", "out_of_range"):
            own = {"variable": name, "status": status}
            assert int(counts.sel(own)) == int(expected.sel(own))
    assert np.isfinite(learned["chi_squared"].compute()).all()


def test_reports_without_order_and_times_without_reports(assimilate, reports) -> None:
    shuffled = reports.isel(obs=np.random.default_rng(1).permutation(COUNT)).chunk(obs=CHUNK)
    expected = assimilate(reports).compute()
    np.testing.assert_allclose(assimilate(shuffled).compute()["temperature"], expected["temperature"], atol=1e-2)
    early = reports.isel(obs=slice(0, 40)).chunk(obs=CHUNK)
    assert np.isfinite(assimilate(early)["2m_temperature"].isel(time=-1).compute()).all()


def test_quality_control_and_functions(assimilate, reports) -> None:
    def pressure(state: xr.Dataset) -> xr.DataArray:
        return state["mean_sea_level_pressure"]

    lazy = reports[["mean_sea_level_pressure"]].chunk(obs=CHUNK)
    found = assimilate(lazy, operator=pressure, quality="standard", error={"mean_sea_level_pressure": 100.0})
    assert np.isfinite(found["2m_temperature"].isel(time=3).compute()).all()


def test_tokens(assimilate, reports) -> None:
    one, two = (assimilate(reports.chunk(obs=CHUNK)).attrs for _ in range(2))
    assert one["xappa_run"] == two["xappa_run"]
    other = assimilate((reports + 0.1).assign_coords(reports.coords).chunk(obs=CHUNK)).attrs
    assert other["xappa_run"] != one["xappa_run"]


class TestErrors:
    """What is wrong with all reports is an error at the call."""

    def test_units(self, assimilate, reports) -> None:
        wrong = reports.copy()
        wrong["2m_temperature"] = wrong["2m_temperature"].assign_attrs(units="m s-1")
        with pytest.raises(UnitsError):
            assimilate(wrong.chunk(obs=CHUNK))

    def test_unknown_variables(self, assimilate, reports) -> None:
        with pytest.raises(ObservationError, match="chlorophyll"):
            assimilate(reports[["2m_temperature"]].rename({"2m_temperature": "chlorophyll"}).chunk(obs=CHUNK))

    def test_no_report_inside(self, assimilate, reports) -> None:
        other = reports.assign_coords(time=reports.time + pd.Timedelta("1000D")).chunk(obs=CHUNK)
        with pytest.raises(ObservationError, match=r"No report lies inside the times.*2003.*2001"):
            assimilate(other)

    def test_options(self, assimilate, reports) -> None:
        with pytest.raises(OptionError, match="operator"):
            assimilate(reports.chunk(obs=CHUNK), operator="interpolat")
