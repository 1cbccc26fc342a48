"""Observations that Dask reads: each task its own, none before, and the same analysis."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.callbacks import Callback

import xappa
from xappa.errors import ObservationError, OptionError, UnitsError
from xappa.sampling import sampling_tasks
from xappa.segments import Independent
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
def ask(tiny_model):
    """A task, asked of a Dataset of 27 times."""
    ds = xappa.template("2001-03-13T00", "2001-03-19T12", model=tiny_model)

    def call(task, *arguments, **options):
        settings = {"model": tiny_model, "members": 1, "seed": 0, "steps": 3, "sampler": "lms", "quality": "none"}
        settings |= {"segments": Independent(4, 2), "error": {"2m_temperature": 1.0, "mean_sea_level_pressure": 100.0}}
        sampling_tasks._CACHE.clear()
        return getattr(ds.appa, task)(*arguments, **(settings | options))

    return call


@pytest.fixture
def assimilate(ask):
    return lambda obs, **options: ask("assimilate", obs, **options)


TASKS = {
    "assimilate": lambda ask, obs, **options: ask("assimilate", obs, **options),
    "filter": lambda ask, obs, **options: ask("filter", obs, **options),
    "forecast": lambda ask, obs, **options: ask("forecast", "12h", obs=obs, **options),
    "all at once": lambda ask, obs, **options: ask("forecast", "12h", obs=obs, mode="all-at-once", **options),
}


class Counted(Callback):
    """How many tasks Dask computes, of which kinds."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        super().__init__(pretask=lambda key, graph, state: self.keys.append(str(key)))


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


@pytest.mark.parametrize("task", TASKS)
def test_all_tasks_compute_as_little_at_the_call(ask, reports, task) -> None:
    obs = reports.chunk(obs=CHUNK)
    with Counted() as expected:
        TASKS["assimilate"](ask, obs)
    with Counted() as found:
        TASKS[task](ask, obs)
    assert len(found.keys) == len(expected.keys)
    # A few of times for each chunk, and a few for the first reports; not every variable of every chunk.
    assert len(found.keys) < 4 * COUNT // CHUNK + 8 * len(reports.variables)


@pytest.mark.parametrize("task", TASKS)
def test_no_more_is_read_at_the_call_than_times_and_the_first_reports(ask, read, task) -> None:
    obs, chunks = read
    TASKS[task](ask, obs)
    assert numbers(chunks, "time") == set(range(COUNT // CHUNK))
    assert numbers(chunks, "2m_temperature") == set(range(-(-SAMPLE // CHUNK)))


@pytest.mark.parametrize("task", TASKS)
def test_every_result_is_that_of_the_same_reports_in_memory(ask, reports, task) -> None:
    # Reports go on for four hours after the last time: of the state now, and of a forecast, these are in the future.
    lazy = TASKS[task](ask, reports.chunk(obs=CHUNK)).compute()
    eager = TASKS[task](ask, reports).compute()
    assert lazy.sizes == eager.sizes and lazy.attrs["title"] == eager.attrs["title"]
    np.testing.assert_allclose(lazy["temperature"], eager["temperature"], atol=1e-3)
    np.testing.assert_allclose(lazy["2m_temperature"], eager["2m_temperature"], atol=1e-3)


@pytest.mark.parametrize("task", ["filter", "forecast", "all at once"])
def test_later_reports_are_neither_read_nor_used(ask, reports, task) -> None:
    now = np.datetime64("2001-03-19T12")
    later = (reports["time"] > now).values
    assert later.any()
    changed = reports.copy(deep=True)
    changed["2m_temperature"].values[later] += 5.0
    chunked = [obs.chunk(obs=CHUNK) for obs in (reports, changed, reports.isel(obs=~later))]
    one, two, three = (TASKS[task](ask, obs)["2m_temperature"].isel(time=-1).compute() for obs in chunked)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)
    counts = [xappa.diagnostics(TASKS[task](ask, obs))["reports"].compute() for obs in (chunked[0], chunked[2])]
    np.testing.assert_array_equal(*counts)


@pytest.mark.parametrize("task", ["filter", "forecast"])
def test_reports_of_the_future_alone_are_refused_at_the_call(ask, reports, task) -> None:
    future = reports.assign_coords(time=reports["time"] + np.timedelta64(157, "h")).chunk(obs=CHUNK)
    with pytest.raises(ObservationError, match="No report lies inside the times.*2001-03-19T13.* to 2001-03-19T12"):
        TASKS[task](ask, future)


@pytest.mark.parametrize("task", ["filter", "forecast"])
def test_counts_of_reports_that_were_read_later(ask, reports, task) -> None:
    counts = xappa.diagnostics(TASKS[task](ask, reports.chunk(obs=CHUNK)))["reports"].compute()
    expected = xappa.diagnostics(TASKS[task](ask, reports))["reports"]
    for name in reports.data_vars:
        for status in ("good", "out_of_range"):
            own = {"variable": name, "status": status}
            assert int(counts.sel(own)) == int(expected.sel(own)), own


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
