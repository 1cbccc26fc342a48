"""Every row of docs/observations-errors.md that concerns reading: an error that says what to do, or a reason."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import ObservationError, OptionError, UnitsError
from xappa.observations import flag_counts, is_one_form, read_observations

T, P = "2m_temperature", "mean_sea_level_pressure"
DOCS = Path(__file__).parents[1] / "docs" / "observations-errors.md"


def frame(size: int = 4, **columns) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=size, freq="h")
    place = {"time": times, "lat": np.arange(size) * 10.0, "lon": np.arange(size) * 20.0, "t2m": 280.0}
    return pd.DataFrame(place | columns)


def reasons(source, name: str = T, **options) -> dict[str, int]:
    row = flag_counts(read_observations(source, **options)).loc[name]
    return row[row > 0].to_dict()


def test_the_document_lists_what_is_tested_here():
    text = DOCS.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    words = (
        ("empty source", "no overlap in time", "no overlap in space", "unknown variable", "two names for one quantity")
        + ("no units", "wrong units", "longitudes of both conventions", "latitude 91", "time without zone")
        + ("time with a zone", "cftime", "levels in pa", "descending", "negative", "zero", "all values nan", "infinite")
        + ("10⁷ points", "truncated bufr", "two observation dimensions", "wrong shape", "breaks the gradient")
        + ("operator that returns nan",)
    )
    for word in words:
        assert any(word in row.lower() for row in rows), word
    flags = ("missing_place", "out_of_range", "missing_time", "unused", "period_not_representable", "high_station")
    for flag in flags:
        assert f"`{flag}`" in text


@pytest.mark.parametrize(
    "source",
    [
        frame(0),
        [],
        {},
        xr.Dataset(
            {"t2m": ("obs", np.zeros(0))},
            {"time": ("obs", np.zeros(0, "datetime64[s]")), "lat": ("obs", np.zeros(0)), "lon": ("obs", np.zeros(0))},
        ),
    ],
)
def test_an_empty_source(source):
    with pytest.raises(ObservationError, match=r"no rows|empty"):
        read_observations(source)


def test_unknown_variables_are_counted_and_all_of_them_refused():
    obs = read_observations(frame(gust=10.0))
    assert json.loads(obs.attrs["unknown_variables"]) == {"gust": 4}
    with pytest.raises(ObservationError, match=r"'temprature'; did you mean 'temperature'.*rename="):
        read_observations(frame().rename(columns={"t2m": "temprature"}))


@pytest.mark.parametrize("missing", [None, np.nan])
def test_rows_without_a_variable_are_counted(missing):
    table = frame(4).rename(columns={"t2m": "observation"}).assign(variable=[T, missing, "nonsense", "nonsense"])
    obs = read_observations(table)
    assert obs.sizes["obs"] == 1
    assert json.loads(obs.attrs["unknown_variables"]) == {"nonsense": 2, "(no name)": 1}


def test_two_names_of_one_quantity():
    with pytest.raises(ObservationError, match=r"2m_temperature \(t2m, tas\).*rename="):
        read_observations(frame(tas=281.0))


def test_no_units_and_wrong_units():
    assert read_observations(frame()).attrs["units_assumed"] == T
    ds = read_observations(frame()).rename({T: "t2m"}).drop_vars(f"{T}_flag")
    ds["t2m"].attrs = {"units": "furlong"}
    with pytest.raises(UnitsError, match=r"2m_temperature: units 'furlong' cannot.*K, degC or degF are converted"):
        read_observations(ds)
    ds["t2m"].attrs = {"units": "Kelwin"}
    with pytest.raises(UnitsError, match=r"'Kelwin' are not understood"):
        read_observations(ds)
    # Numbers in other units than they should be are out of range.
    assert reasons(frame(t2m=20.0)) == {"out_of_range": 4}


def test_longitudes_of_both_conventions():
    mixed = frame(lon=[-170.0, 190.0, 370.0, 10.0], lat=0.0, time=pd.Timestamp("2024-01-01"))
    assert reasons(mixed) == {"good": 2, "missing_place": 1, "duplicate": 1}  # 370 is in neither convention
    same = frame(2, lon=[-170.0, 190.0], lat=0.0, time=pd.Timestamp("2024-01-01"))
    assert reasons(same) == {"good": 1, "duplicate": 1}


def test_places_that_do_not_exist():
    assert reasons(frame(lat=[0.0, 91.0, np.nan, np.inf])) == {"good": 1, "missing_place": 3}
    with pytest.raises(ObservationError, match=r"latitude runs from 0 to 98.*rename="):
        read_observations(frame(lat=[91.0, 92.0, 98.0, 0.0]))


def test_times():
    with_zone = frame(1, time=["2024-01-01T01:00+01:00"])
    for source in (frame(1, time=["2024-01-01"]), with_zone):
        assert read_observations(source)["time"].values[0] == np.datetime64("2024-01-01T00:00")
    assert reasons(frame(2, time=["2024-01-01", "noon"])) == {"good": 1, "missing_time": 1}
    with pytest.raises(ObservationError, match="cannot be read as times"):
        read_observations(frame(time="noon"))
    with pytest.raises(ObservationError, match=r"holds numbers.*units=\{'time'"):
        read_observations(frame(time=[0.0, 1.0, 2.0, 3.0]))


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian", "noleap", "360_day"])
def test_calendars(calendar):
    pytest.importorskip("cftime")
    times = xr.date_range("2024-01-01", periods=4, freq="h", calendar=calendar, use_cftime=True)
    source = frame().assign(time=times)
    if calendar in ("noleap", "360_day"):
        with pytest.raises(ObservationError, match=rf"{calendar}.*convert_calendar"):
            read_observations(source)
    else:
        np.testing.assert_array_equal(read_observations(source)["time"], read_observations(frame())["time"])


def test_levels():
    up = frame(t=250.0, level=[500.0, 700.0, 850.0, 1000.0]).drop(columns="t2m")
    down = up.assign(level=[100000.0, 85000.0, 70000.0, 50000.0])
    obs = read_observations(down, units={"level": "Pa"})
    assert obs["level"].values.tolist() == [1000.0, 850.0, 700.0, 500.0]
    with pytest.raises(ObservationError, match=r"level runs from 50000 to 100000.*units=\{'level': 'Pa'\}"):
        read_observations(down)
    assert reasons(up.assign(level=[500.0, 0.0, -1.0, np.nan]), "temperature") == {"good": 1, "missing_place": 3}


def test_errors_that_are_none():
    obs = read_observations(frame(t2m_error=[1.0, 0.0, -1.0, np.inf]), error={T: 2.0})
    assert obs[f"{T}_error"].values.tolist() == [1.0, 2.0, 2.0, 2.0]
    assert reasons(frame(t2m_error=[1.0, 0.0, -1.0, np.inf])) == {"good": 4}
    for wrong in (0.0, -1.0, np.inf):
        with pytest.raises(OptionError, match="expected a number above zero"):
            read_observations(frame(), error={T: wrong})


def test_missing_and_infinite_values():
    assert reasons(frame(t2m=[280.0, np.nan, np.inf, -np.inf])) == {"good": 1, "out_of_range": 2}
    obs = read_observations(frame(t2m=np.nan))
    assert flag_counts(obs).to_numpy().sum() == 0
    assert reasons([frame(), frame(t2m=np.nan)]) == {"good": 4}


def test_values_that_are_no_numbers():
    obs = read_observations(frame(t2m=["280", "?", "281", None]))
    assert json.loads(obs.attrs["unreadable_values"]) == {T: 1}
    assert reasons(frame(t2m=["280", "?", "281", None])) == {"good": 2}


@pytest.mark.parametrize("kind", [object, "string", np.bytes_])
@pytest.mark.parametrize("chunks", [None, {}])
def test_values_of_a_dataset_that_are_no_numbers(kind, chunks):
    table = frame(t2m=["280", "?", "281", ""], lat=["0", "10", "x", "30"], t2m_error=["1", "2", "?", "3"])
    ds = xr.Dataset.from_dataframe(table.astype(object)).chunk(chunks) if chunks is not None else table.to_xarray()
    ds = ds.assign({name: ds[name].astype(kind if kind != "string" else str) for name in ("t2m", "lat", "t2m_error")})
    obs, expected = read_observations(ds), read_observations(table)
    xr.testing.assert_identical(obs.compute(), expected)
    assert json.loads(obs.attrs["unreadable_values"]) == {"latitude": 1, T: 2, f"{T}_error": 1}
    np.testing.assert_array_equal(obs["latitude"], [0.0, 10.0, np.nan, 30.0])
    obs[T] = obs[T].astype(object)
    assert not is_one_form(obs) and read_observations(obs)[T].dtype == float


def test_objects_with_gaps_and_text_along_a_dimension():
    table = frame(t2m=[280, None, "x", 281.0])
    xr.testing.assert_identical(read_observations(table.to_xarray()), read_observations(table))
    ds = xr.Dataset(
        {"t2m": (("lat", "lon"), np.full((2, 1), 280.0))},
        {"time": np.datetime64("2024-01-01", "s"), "lat": ["1", "2"], "lon": ["3"]},
    )
    np.testing.assert_array_equal(read_observations(ds)["latitude"], [1.0, 2.0])


def test_times_in_place_of_numbers():
    hours = pd.to_timedelta([1, 2, 3, 4], unit="h")
    ds = frame(t2m=hours, lat=pd.Timestamp("2024-01-01")).to_xarray()
    with pytest.raises(ObservationError, match=r"lat \(datetime64.*t2m \(timedelta64.*Expected numbers.*rename="):
        read_observations(ds)


def test_two_dimensions_of_reports():
    def along(dim, size):
        time = np.datetime64("2024-01-01", "s") + np.arange(size) * np.timedelta64(3600, "s")
        return {
            f"time_{dim}": (dim, time),
            f"lat_{dim}": (dim, np.arange(size) * 1.0),
            f"lon_{dim}": (dim, np.zeros(size)),
        }

    ds = xr.Dataset({"t2m": ("a", [280.0, 281.0]), "msl": ("b", [1e5, 1e5, 1e5])}, along("a", 2) | along("b", 3))
    with pytest.raises(ObservationError, match="not found among"):
        read_observations(ds)
    # With coordinates that go with both, each quantity makes its own reports.
    both = (
        ds[["t2m", "msl"]]
        .reset_coords(drop=True)
        .assign_coords(time=np.datetime64("2024-01-01", "s"), lat=0.0, lon=0.0)
    )
    obs = read_observations(both, derive=False)
    assert obs.sizes["obs"] == 5
    assert (int(obs[T].notnull().sum()), int(obs[P].notnull().sum())) == (2, 3)


# The size is what bounds memory: a tenth of it is measured here, all of it is in the documentation.
MEMORY = """
import resource
import numpy as np, pandas as pd
from xappa.observations import read_observations
n, rng = 1_000_000, np.random.default_rng(0)
frame = pd.DataFrame({"time": np.datetime64("2024-01-01", "s") + rng.integers(0, 86400, n).astype("timedelta64[s]"),
    "lat": rng.uniform(-90, 90, n), "lon": rng.uniform(-180, 180, n), "t2m": rng.normal(280, 5, n),
    "station": rng.integers(0, 20000, n)})
read_observations(frame.iloc[:1000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read_observations(frame)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / n)
"""


def test_a_million_reports_take_bounded_memory():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 600.0  # bytes a report; the result itself has 61


def test_an_analysis_of_nothing(tiny_model):
    ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
    inside = frame(time=pd.date_range("2001-03-13", periods=4, freq="h"))
    with pytest.raises(ObservationError, match="no usable report at all"):
        xappa.assimilate(ds, inside.assign(t2m=np.nan), model=tiny_model, seed=0)
    with pytest.raises(ObservationError, match=r"No report lies inside the times.*2024-01-01.*2001-03-13"):
        xappa.assimilate(ds, frame(), model=tiny_model, seed=0)
    # Those that only the operator rejects, too: the result would be a sample of the prior.
    unreadable = inside.assign(sp=90000.0, elev=np.nan).drop(columns="t2m")
    for obs, why in (
        (inside.assign(t2m=20.0), r"(?s)no usable report at all:\n- 2m_temperature: 4 out_of_range \(K were assumed"),
        (unreadable, "(?s)no usable report at all.*surface_pressure: 4 no_height"),
        (inside.assign(lat=np.nan), "2m_temperature: 4 missing_place"),
    ):
        with pytest.raises(ObservationError, match=why):
            xappa.assimilate(ds, obs, model=tiny_model, seed=0)
    with pytest.raises(ObservationError, match="2m_temperature: 4 outside_times"):
        xappa.filter(ds.isel(time=[0]), inside.assign(time=inside.time + pd.Timedelta("7h")), model=tiny_model, seed=0)
    some = pd.concat([inside, frame()])
    counts = xappa.diagnostics(xappa.assimilate(ds, some, model=tiny_model, seed=0))["reports"].sel(variable=T)
    assert int(counts.sel(status="outside_times")) == 4
