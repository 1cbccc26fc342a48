"""Superobs against sums over groups in pandas and closed forms; chunks; memory; thinning."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xappa
from xappa.binning.averages import merge_sums, sum_groups
from xappa.binning.cells import BinAxis, BinGrid, number_groups
from xappa.errors import ObservationError, OptionError
from xappa.observations import Flag, read_observations, with_flag
from xappa.observations.schema import build_observations, is_one_form

T, U, V = "2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"
HOUR = np.timedelta64(3600, "s")


def swath(rng, size: int = 3000, **errors) -> xr.Dataset:
    """Reports all over the globe, within two days."""
    place = {
        "time": np.datetime64("2024-01-01", "us") + rng.integers(0, 172_800, size) * np.timedelta64(1_000_000, "us"),
        "latitude": rng.uniform(-90, 90, size),
        "longitude": rng.uniform(-180, 180, size),
        "altitude": rng.uniform(0, 500, size),
    }
    return build_observations(
        place, {T: 280 + 5 * rng.standard_normal(size)}, {T: rng.uniform(0.5, 3.0, size)} | errors
    )


def grouped(obs: xr.Dataset, size: float, hours: int) -> pd.DataFrame:
    """The same means by pandas."""
    frame = obs.to_dataframe().reset_index()
    row = np.minimum(np.floor((frame.latitude + 90) / size), 180 / size - 1)
    column = np.floor((frame.longitude % 360) / size) % (360 / size)
    seconds = (frame.time - pd.Timestamp(0)) / pd.Timedelta("1s")
    frame["w"] = frame[f"{T}_error"] ** -2
    frame["wx"], frame["x"], frame["seconds"] = frame.w * frame[T], frame[T], seconds
    frame["east"] = frame.longitude % 360
    keys = [np.floor((seconds + 1800 * hours) / 3600 / hours).rename("moment"), row.rename("row"), column.rename("col")]
    table = frame.groupby(keys).agg(
        n=("w", "size"), w=("w", "sum"), wx=("wx", "sum"), lat=("latitude", "mean"), lon=("east", "mean"),
        seconds=("seconds", "mean"), altitude=("altitude", "mean"),
    )  # fmt: skip
    return table.assign(mean=table.wx / table.w)


@pytest.mark.parametrize(("size", "hours"), [(10.0, 6), (2.5, 1), (45.0, 48)])
def test_means_are_those_of_pandas(rng, size, hours):
    obs = swath(rng)
    found, expected = xappa.superob(obs, size, f"{hours}h"), grouped(obs, size, hours)
    assert found.sizes["obs"] == len(expected)
    np.testing.assert_allclose(found[T], expected["mean"])
    np.testing.assert_array_equal(found[f"{T}_count"], expected["n"])
    np.testing.assert_allclose(found.latitude, expected["lat"])
    np.testing.assert_allclose(found.longitude % 360, expected["lon"])
    np.testing.assert_allclose(found.altitude, expected["altitude"])
    seconds = (found.time.values - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    np.testing.assert_allclose(seconds, expected["seconds"], atol=0.5)
    assert found.longitude.min() < 0, "longitudes are written as they were"
    assert is_one_form(found)


def one_cell(values, error: float = 2.0, **columns) -> xr.Dataset:
    size = len(values)
    frame = {"time": "2024-01-01", "lat": np.linspace(50.1, 50.4, size), "lon": 4.5, T: values, "error": error}
    return read_observations(pd.DataFrame(frame | columns).drop(columns="error"), error={T: error})


@pytest.mark.parametrize("rho", [0.0, 0.25, 1.0])
def test_independent_errors_shrink_and_the_common_part_does_not(rho):
    values = 280 + np.array([-1.0, 1.0] * 8) * np.sqrt(15 / 16) * 2 * np.sqrt(1 - rho)  # as much scatter as expected
    found = xappa.superob(one_cell(values), 1.0, correlation=rho)
    assert float(found[f"{T}_error"][0]) == pytest.approx(2 * np.sqrt((1 - rho) / 16 + rho))
    assert float(found[f"{T}_spread"][0]) == pytest.approx(np.std(values, ddof=1))


def test_a_cell_that_scatters_is_known_less_well():
    values = 280 + np.array([-8.0, 8.0] * 8)
    found = xappa.superob(one_cell(values), 1.0, correlation=0.0)
    assert float(found[f"{T}_error"][0]) == pytest.approx(np.std(values, ddof=1) / 4)


def test_one_report_keeps_its_error_and_has_no_spread():
    found = xappa.superob(one_cell([280.0], 1.5), 1.0)
    assert float(found[f"{T}_error"][0]) == 1.5 and np.isnan(found[f"{T}_spread"][0])


def test_a_precise_report_counts_more():
    frame = pd.DataFrame(
        {"time": "2024-01-01", "lat": [50.1, 50.2], "lon": 4.5, T: [280.0, 286.0], "error": [1.0, 2.0]}
    )
    tidy = frame.melt(["time", "lat", "lon", "error"], var_name="variable", value_name="observation")
    found = xappa.superob(tidy, 1.0, correlation=0.5)
    assert float(found[T][0]) == pytest.approx((280 + 286 / 4) / 1.25)
    scatter = (1.2**2 + 4.8**2 / 4) / 1
    assert float(found[f"{T}_error"][0]) == pytest.approx(np.sqrt(scatter / 1.25 + 0.5 * (1.5 / 1.25) ** 2))


def test_without_errors_there_are_means_and_no_errors():
    frame = pd.DataFrame({"time": "2024-01-01", "lat": [50.1, 50.2], "lon": 4.5, T: [280.0, 286.0]})
    found = xappa.superob(frame, 1.0)
    assert float(found[T][0]) == 283.0 and f"{T}_error" not in found


def test_rejected_reports_do_not_enter_and_are_counted():
    obs = one_cell([280.0, 281.0, 372.0, np.nan])
    obs = with_flag(obs, T, np.array([False, True, False, False]), Flag.BUDDY_CHECK)
    found = xappa.superob(obs, 1.0)
    assert float(found[T][0]) == 280.0 and int(found[f"{T}_count"][0]) == 1
    assert json.loads(found.attrs["superob_reports"]) == {T: {"good": 1, "out_of_range": 1, "buddy_check": 1}}
    with pytest.raises(ObservationError, match="Not one good report"):
        xappa.superob(obs.isel(obs=[1, 2, 3]), 1.0)


def test_winds_are_averaged_as_components():
    frame = {"time": "2024-01-01", "lat": [50.1, 50.2], "lon": 4.5, "wind_speed": 10.0, "wind_direction": [350.0, 10.0]}
    found = xappa.superob(pd.DataFrame(frame), 1.0, error={"wind_speed": 2.0})
    assert float(found[U][0]) == pytest.approx(0, abs=1e-12)
    assert float(found[V][0]) == pytest.approx(-10 * np.cos(np.deg2rad(10)))
    assert float(found[f"{V}_error"][0]) == pytest.approx(2 * np.sqrt(0.75 / 2 + 0.25))
    assert not any("direction" in str(name) or "speed" in str(name) for name in found.data_vars)


def test_places_across_the_date_line_and_greenwich():
    grid = xr.Dataset(coords={"latitude": [-10.0, 0, 10], "longitude": np.arange(0, 360, 10.0)})
    frame = pd.DataFrame({"time": "2024-01-01", "lat": 0.0, "lon": [179.0, -178.0, 359.0, 3.0], T: 280.0})
    found = xappa.superob(frame, grid)
    assert sorted((found.longitude.values % 360).tolist()) == pytest.approx([1.0, 180.5])
    assert found[f"{T}_count"].values.tolist() == [2, 2]


def test_reports_outside_a_regional_grid_are_counted():
    grid = xr.Dataset(coords={"latitude": [45.0, 50, 55], "longitude": [-10.0, 0, 10]})
    frame = pd.DataFrame({"time": "2024-01-01", "lat": [50.0, 50, 70, 50], "lon": [350.0, 14.9, 0, 180], T: 280.0})
    found = xappa.superob(frame, grid)
    assert found.sizes["obs"] == 2 and found.attrs["superob_reports_outside_grid"] == 2


def test_levels_periods_and_sources_stay_apart():
    place = {"time": "2024-01-01", "lat": 50.1, "lon": 4.5}
    aloft = pd.DataFrame({"level": [500.0, 520.0, 850.0, 1050.0], "temperature": [250.0, 252.0, 270.0, 290.0]} | place)
    aloft["lat"] += 0.01 * np.arange(4)
    grid = xr.Dataset(coords={"latitude": [45.0, 50], "longitude": [0.0, 10], "level": [500, 850, 1000]})
    found = xappa.superob(aloft, grid)
    np.testing.assert_allclose(found.level, [np.sqrt(500 * 520), 850, 1050])
    np.testing.assert_allclose(found["temperature"], [251, 270, 290])
    assert xappa.superob(aloft, 5.0).sizes["obs"] == 4, "without levels each is its own"
    near = pd.DataFrame({T: [280.0, 282.0]} | place | {"lat": [50.1, 50.2]})
    both = xappa.superob({"a": near, "b": near.assign(lat=[50.3, 50.4])}, 5.0)
    assert both.source.values.tolist() == ["a", "b"] and both[T].values.tolist() == [281.0, 280.0 + 1.0]
    period = read_observations(near).assign_coords(period=("obs", np.array([6, 24], "timedelta64[h]")))
    assert sorted(xappa.superob(period, 5.0)[T].values.tolist()) == [280.0, 282.0]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_change_nothing(rng, chunk):
    obs = swath(rng, 1000)
    obs = with_flag(obs, T, rng.random(1000) < 0.1, Flag.BUDDY_CHECK) if chunk > 1 else obs.isel(obs=slice(40))
    expected = xappa.superob(obs, 15.0, "12h")
    for lazy in (obs.chunk(obs=chunk), obs.reset_coords().chunk(obs=chunk).set_coords(list(obs.coords))):
        found = xappa.superob(lazy, 15.0, "12h")
        xr.testing.assert_allclose(found, expected, rtol=1e-10)
        assert found.attrs == expected.attrs


def test_the_model_s_grid_is_a_target_and_superobs_are_assimilated(tiny_model, rng):
    obs = swath(rng, 500)
    obs = obs.assign_coords(time=obs.time - obs.time + np.datetime64("2001-03-13T06", "us"))
    found = xappa.superob(obs, model=tiny_model)
    assert found.sizes["obs"] <= 8 * 16
    ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
    analysis = ds.appa.assimilate(found, model=tiny_model, seed=0, steps=2, quality="none")
    assert analysis.appa.summary().loc[T, "good"] == found.sizes["obs"]


def test_wrong_options_are_refused(rng):
    obs = swath(rng, 10)
    for target in ("modle", 0.0, -1.0, 200.0, None, True):
        with pytest.raises(OptionError, match="target="):
            xappa.superob(obs, target)
    with pytest.raises(OptionError, match="time='soon'"):
        xappa.superob(obs, 1.0, "soon")
    with pytest.raises(OptionError, match=r"correlation=.*2m_temperature: 1.5"):
        xappa.superob(obs, 1.0, correlation={T: 1.5})
    with pytest.raises(OptionError, match=r"Unknown keep 'nearst'.*'nearest'"):
        xappa.thin(obs, 1.0, keep="nearst")


@given(st.lists(st.floats(-400, 800), min_size=1, max_size=20), st.integers(2, 40))
def test_every_longitude_lies_in_the_cell_of_the_nearest_column(longitudes, columns):
    centres = -100 + 360 / columns * np.arange(columns)
    axis = BinAxis.from_longitudes(centres)
    index = axis.find_intervals(axis.unroll(np.array(longitudes)))
    found = (np.array(axis.edges[:-1]) + np.array(axis.edges[1:]))[index] / 2
    away = np.abs((np.array(longitudes) - found + 180) % 360 - 180)
    assert (away <= 180 / columns + 1e-6).all()


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 5, 2**40])), min_size=1, max_size=30))
def test_groups_are_those_of_equal_keys(rows):
    keys = list(np.array(rows).T)
    group, unique = number_groups(keys)
    assert [tuple(row) for row in unique.T] == sorted(set(rows))
    assert [tuple(unique[:, g]) for g in group] == rows


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_parts_put_together_are_the_whole(seed, parts):
    rng = np.random.default_rng(seed)
    key, value, deviation = rng.integers(0, 5, 60), 1e5 + rng.standard_normal(60), rng.uniform(0.1, 2, 60)
    whole = sum_groups([key], {"x": value}, {"x": deviation}, {"x": value > 1e5 - 1})
    pieces = [
        sum_groups(
            [key[i::parts]], {"x": value[i::parts]}, {"x": deviation[i::parts]}, {"x": value[i::parts] > 1e5 - 1}
        )
        for i in range(parts)
    ]
    together = merge_sums(pieces)
    np.testing.assert_array_equal(together.keys, whole.keys)
    for field in ("count", "weight", "mean", "scatter", "precision"):
        expected = getattr(whole.means["x"], field)
        np.testing.assert_allclose(getattr(together.means["x"], field), expected, rtol=1e-9, atol=1e-7)


def test_moments_are_whole_intervals_round_utc_hours():
    times = np.array(["2024-01-01T00:29:59", "2024-01-01T00:30:00", "1969-12-31T23:00:00"])
    for unit in ("s", "ms", "us", "ns"):
        number, seconds = BinGrid.from_degrees(1.0, HOUR).find_time_intervals(times.astype(f"datetime64[{unit}]"))
        assert (np.diff(number[:2]) == 1).all() and number[2] == -1
        assert seconds.tolist() == [1799, -1800, 0]


MEMORY = """
import resource, sys
import dask, dask.array as da, numpy as np
import xarray as xr, xappa
from xappa.observations.schema import COORDINATE_ATTRS, get_quantity_attrs
chunks, size = int(sys.argv[1]), 500_000
dask.config.set(scheduler="threads", num_workers=1)
def column(seed, low, high):
    return da.random.RandomState(seed).uniform(low, high, chunks * size, chunks=size)
time = np.datetime64("2024-01-01", "s") + column(0, 0, 3600).astype("timedelta64[s]")
coords = {"time": time, "latitude": column(1, -90, 90), "longitude": column(2, -180, 180)}
obs = xr.Dataset(
    {"2m_temperature": ("obs", column(3, 270, 290), get_quantity_attrs("2m_temperature"))},
    {name: ("obs", array, COORDINATE_ATTRS[name]) for name, array in coords.items()},
)
found = xappa.superob(obs, 5.0, "2h", error={"t2m": 1.0})
assert int(found["2m_temperature_count"].sum()) == chunks * size
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def test_memory_does_not_grow_with_the_number_of_reports():
    """Peak resident memory for 1 and for 12 million reports: 44 MB more of them a column."""
    peaks = []
    for chunks in (2, 24):
        done = subprocess.run([sys.executable, "-c", MEMORY, str(chunks)], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout.split()[-1]))
    assert peaks[1] - peaks[0] < 60, peaks


class TestThinning:
    def test_one_report_a_cell_and_the_rest_marked(self, rng):
        obs = swath(rng, 2000)
        found = xappa.thin(obs, 10.0, "6h")
        kept = found.isel(obs=(found[f"{T}_flag"] == Flag.GOOD).values)
        assert kept.sizes["obs"] == xappa.superob(obs, 10.0, "6h").sizes["obs"]
        assert xappa.superob(kept, 10.0, "6h")[f"{T}_count"].max() == 1
        assert found[T].identical(obs[T].assign_attrs(found[T].attrs))
        assert xappa.summary(found).loc[T].to_dict() == {"good": kept.sizes["obs"], "thinned": 2000 - kept.sizes["obs"]}

    def test_which_one(self):
        place = {"time": ["2024-01-01T00:20", "2024-01-01T00:05", "2024-01-01T00:05"], "lat": [50.5, 50.9, 50.6]}
        obs = read_observations(pd.DataFrame(place | {"lon": 4.5, T: [1, 2, 3] + np.full(3, 280.0)}))
        obs[f"{T}_error"] = ("obs", [2.0, 1.0, 3.0])

        def kept(how: str) -> list[int]:
            return np.flatnonzero(xappa.thin(obs, 1.0, keep=how)[f"{T}_flag"] == Flag.GOOD).tolist()

        assert [kept(how) for how in ("nearest", "precise", "first")] == [[2], [1], [0]]
        drawn = [xappa.thin(obs, 1.0, keep="random", seed=seed)[f"{T}_flag"].values for seed in range(20)]
        assert {int(np.flatnonzero(flag == Flag.GOOD)[0]) for flag in drawn} == {0, 1, 2}

    def test_rejected_and_missing_reports_are_not_chosen(self):
        obs = read_observations(
            pd.DataFrame({"time": "2024-01-01", "lat": [50.5, 50.6, 50.7], "lon": 4.5, T: [372.0, np.nan, 280.0]})
        )
        assert xappa.thin(obs, 1.0)[f"{T}_flag"].values.tolist() == [Flag.OUT_OF_RANGE, 0, 0]

    def test_both_components_are_of_one_report(self, rng):
        size = 300
        obs = swath(rng, size).assign({n: ("obs", rng.standard_normal(size), {"units": "m s-1"}) for n in (U, V)})
        for how in ("nearest", "random"):
            found = xappa.thin(obs, 20.0, "1D", keep=how)
            assert np.array_equal(found[f"{U}_flag"], found[f"{V}_flag"])

    def test_values_stay_lazy(self, rng):
        import dask

        obs = swath(rng, 300)
        found = xappa.thin(obs.chunk(obs=50), 20.0)
        assert dask.is_dask_collection(found[T].data)
        xr.testing.assert_equal(found.compute(), xappa.thin(obs, 20.0))
