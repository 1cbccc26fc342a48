"""A background that does not tell everything: what it tells is checked, and what it does not is said and counted."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import xarray as xr

import xappa
from xappa.errors import CheckWarning, OptionError
from xappa.observations import Flag, quantities
from xappa.observations.qc.control import BY_CLIMATOLOGY, NOT_CHECKED

T, P = "2m_temperature", "mean_sea_level_pressure"
ALONE = xappa.Quality(buddies=None, near_duplicates=None)


@pytest.fixture(scope="module")
def nature() -> xr.Dataset:
    return xappa.tutorial.nature_run().isel(time=slice(6)).load()


@pytest.fixture(scope="module")
def reports(nature) -> xr.Dataset:
    """Sound reports, of which the first five temperatures are 35 K too cold."""
    network = xappa.tutorial.network(nature, stations=30, soundings=3)
    obs = nature.appa.observe(network)
    obs[T].values[wrong_of(obs)] -= 35.0
    return obs


def wrong_of(obs: xr.Dataset) -> np.ndarray:
    return np.flatnonzero(np.isfinite(obs[T].values))[:5]


def flags(obs: xr.Dataset) -> list[int]:
    return obs[f"{T}_flag"].values[wrong_of(obs)].tolist()


def members(nature: xr.Dataset, *shifts: float) -> xr.Dataset:
    shifted = [nature.assign({T: nature[T] + shift}) for shift in shifts]
    joined = xr.concat(shifted, "member", data_vars="all", coords="minimal", compat="override")
    joined = joined.assign_coords(member=range(len(shifts)))
    return joined.assign({name: joined[name].assign_attrs(nature[name].attrs) for name in joined.data_vars})


def gaps(ds: xr.Dataset, there: xr.DataArray) -> xr.Dataset:
    found = ds.where(there)
    return found.assign({name: found[name].assign_attrs(ds[name].attrs) for name in found.data_vars})


def said(obs: xr.Dataset, background: xr.Dataset, checks: xappa.Quality = ALONE):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        checked = xappa.quality_control(obs, checks, background=background)
    return checked, [warning for warning in found if warning.category is CheckWarning]


def test_a_whole_background_needs_no_word(nature, reports):
    checked, warned = said(reports, members(nature, -1.0, 0.0, 1.0, 0.5))
    assert not warned and flags(checked) == [Flag.BACKGROUND_CHECK] * 5
    assert json.loads(checked.attrs[NOT_CHECKED]) == json.loads(checked.attrs[BY_CLIMATOLOGY]) == {}


@pytest.mark.parametrize("failed", [0, 2])
def test_sound_members_serve_where_another_failed(nature, reports, failed):
    ensemble = members(nature, -1.0, 0.0, 1.0, 0.5)
    checked, warned = said(reports, gaps(ensemble, ensemble.member != failed))
    sound = ensemble.isel(member=[k for k in range(4) if k != failed])
    expected, _ = said(reports, sound)
    assert not warned
    for name in quantities(reports):
        np.testing.assert_array_equal(checked[f"{name}_flag"], expected[f"{name}_flag"])


def test_of_few_sound_members_the_mean_is_theirs_and_the_spread_the_climates(nature, reports):
    ensemble = members(nature, 0.0, 0.0, 0.0)
    checked, warned = said(reports, gaps(ensemble, ensemble.member == 1))
    expected, _ = said(reports, nature)
    assert not warned
    np.testing.assert_array_equal(checked[f"{T}_flag"], expected[f"{T}_flag"])


def test_cells_that_are_missing_concern_the_reports_next_to_them(nature, reports):
    north = gaps(nature, nature.latitude < 0)
    checked, warned = said(reports, north)
    counts = json.loads(checked.attrs[BY_CLIMATOLOGY])
    edge = float(nature.latitude[nature.latitude < 0].max())
    touched = (reports.latitude > edge) & reports[T].notnull()
    assert counts[T] == int(touched.sum()) and len(warned) == 1
    whole, _ = said(reports, nature)
    south = ~touched.values
    np.testing.assert_array_equal(checked[f"{T}_flag"].values[south], whole[f"{T}_flag"].values[south])


def unsuited(nature: xr.Dataset) -> dict[str, xr.Dataset]:
    ensemble = members(nature, -1.0, 0.0, 1.0)
    return {
        "the first times are not written": gaps(nature, nature.time > nature.time[3]),
        "all members failed": gaps(ensemble, ensemble.member > 5),
        "another year": nature.assign_coords(time=nature.time + np.timedelta64(365, "D")),
        "one time": nature.isel(time=[-1]),
        "one time, as a scalar": nature.isel(time=-1),
        "another region": nature.sel(latitude=nature.latitude[nature.latitude > 60]),
        "without the variable": nature.drop_vars(T),
        "with no variable of the reports": nature[["specific_humidity"]],
    }


CASES = [
    "the first times are not written",
    "all members failed",
    "another year",
    "one time",
    "one time, as a scalar",
    "another region",
    "without the variable",
    "with no variable of the reports",
]


@pytest.mark.parametrize("case", CASES)
def test_what_a_background_does_not_tell_is_compared_with_the_climatology(nature, reports, case):
    first = reports.isel(obs=np.flatnonzero((reports.time < nature.time[1]).values & (reports.latitude < 50).values))
    checked, warned = said(first, unsuited(nature)[case])
    climatology = xappa.quality_control(first, ALONE)
    np.testing.assert_array_equal(checked[f"{T}_flag"], climatology[f"{T}_flag"])
    # One of them lies where the climate varies by more than that.
    assert flags(checked) == [Flag.BACKGROUND_CHECK] * 4 + [Flag.GOOD]
    assert json.loads(checked.attrs[BY_CLIMATOLOGY])[T] == int(first[T].notnull().sum())
    assert len(warned) == 1 and warned[0].filename == __file__
    assert "background" in str(warned[0].message) and f"{T} {int(first[T].notnull().sum())}" in str(warned[0].message)


@pytest.mark.parametrize("case", CASES)
def test_neighbours_are_compared_as_without_it(nature, reports, case):
    checks = xappa.Quality(background=None, near_duplicates=None)
    first = reports.isel(obs=np.flatnonzero((reports.time < nature.time[1]).values & (reports.latitude < 50).values))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckWarning)
        found = xappa.quality_control(first, checks, background=unsuited(nature)[case])
    np.testing.assert_array_equal(found[f"{T}_flag"], xappa.quality_control(first, checks)[f"{T}_flag"])


def test_what_nothing_tells_is_counted_apart(nature, reports):
    obs = reports[[T]].rename({T: "total_column_water_vapour"}).isel(obs=slice(20))
    obs["total_column_water_vapour"] = obs["total_column_water_vapour"] * 0 + 20.0
    obs["total_column_water_vapour"].attrs = {"units": "kg m-2"}
    checked, warned = said(obs, nature)
    there = int(obs["total_column_water_vapour"].notnull().sum())
    assert json.loads(checked.attrs[NOT_CHECKED]) == {"total_column_water_vapour": there}
    assert len(
        warned
    ) == 1 and f"with nothing, as its climatology does not tell them either: total_column_water_vapour {there}" in str(
        warned[0].message
    )
    alone = xappa.quality_control(obs, ALONE)
    assert json.loads(alone.attrs[NOT_CHECKED]) == {"total_column_water_vapour": there}


def test_lazy_reports_are_checked_alike_and_it_is_said_as_they_are_computed(nature, reports):
    background = gaps(nature, nature.time > nature.time[3])
    expected, _ = said(reports, background)
    with warnings.catch_warnings():
        warnings.simplefilter("error", CheckWarning)
        lazy = xappa.quality_control(reports.chunk(obs=50), ALONE, background=background)
    with pytest.warns(CheckWarning, match="The background says nothing of some of the reports"):
        np.testing.assert_array_equal(lazy[f"{T}_flag"].compute(), expected[f"{T}_flag"])
    assert NOT_CHECKED not in lazy.attrs


def test_joined_observations_add_the_numbers_up(nature, reports):
    checked, _ = said(reports, nature.drop_vars(T))
    both = xappa.observations.concat([checked, checked])
    number = json.loads(checked.attrs[BY_CLIMATOLOGY])[T]
    assert json.loads(both.attrs[BY_CLIMATOLOGY])[T] == 2 * number > 0


def test_a_field_with_a_name_is_a_background(nature, reports):
    of_field, warned = said(reports, nature[T])
    np.testing.assert_array_equal(of_field[f"{T}_flag"], said(reports, nature)[0][f"{T}_flag"])
    assert len(warned) == 1 and T not in str(warned[0].message) and P in str(warned[0].message)
    with pytest.raises(OptionError, match="DataArray without a name.*expected an xarray Dataset"):
        said(reports, nature[T].rename(None))
