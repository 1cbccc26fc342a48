"""Latitudes and longitudes as text: letters, minutes and seconds, and hemispheres in columns of their own."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import ObservationError
from xappa.observations import read_observations
from xappa.observations.readers.tables.degrees import parse_degrees

pytestmark = pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning", "ignore::xappa.errors.RejectionWarning")


def table(**columns):
    basis = {"time": "2018-11-02T12:00", "lat": [52.5, 33.5], "lon": [13.25, 70.5], "t2m": [280.0, 281.0]}
    return pd.DataFrame(basis | columns)


@pytest.mark.parametrize(
    ("text", "meaning", "degrees"),
    [
        ("52.5N", "latitude", 52.5),
        ("33.5 S", "latitude", -33.5),
        ("N52.5", "latitude", 52.5),
        ("w 70.5", "longitude", -70.5),
        ("52°30'N", "latitude", 52.5),
        ("013°15′E", "longitude", 13.25),
        ("33°30'36\"S", "latitude", -33.51),
        ("52 30 36 N", "latitude", 52.51),
        ("52:30:36", "latitude", 52.51),
        ("52-30N", "latitude", 52.5),
        ("52d30m36sN", "latitude", 52.51),
        ("-33.5°", "latitude", -33.5),
        ("33° 30.6' S", "latitude", -33.51),
    ],
)
def test_angles_are_read(text, meaning, degrees):
    assert parse_degrees(text, meaning) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("13.4E", "latitude"),
        ("52.5N", "longitude"),
        ("-33.5S", "latitude"),
        ("52°75'N", "latitude"),
        ("5231N", "latitude"),
        ("95N", "latitude"),
        ("52.5°30'N", "latitude"),
        ("52 30", "latitude"),
        ("north", "latitude"),
        ("", "latitude"),
    ],
)
def test_what_is_no_angle_is_missing(text, meaning):
    assert np.isnan(parse_degrees(text, meaning))


@given(st.integers(0, 89), st.integers(0, 59), st.integers(0, 59), st.sampled_from("NS"))
def test_degrees_minutes_and_seconds_are_those_of_decimals(whole, minutes, seconds, letter):
    degrees = (whole + minutes / 60 + seconds / 3600) * (1 if letter == "N" else -1)
    assert parse_degrees(f"{whole}°{minutes:02d}'{seconds:02d}\"{letter}", "latitude") == pytest.approx(degrees)


def test_a_table_of_angles_is_read():
    obs = read_observations(table(lat=["52°30'N", "33.5S"], lon=["13.25E", b"70.5W"]))
    assert obs["latitude"].values.tolist() == [52.5, -33.5]
    assert obs["longitude"].values.tolist() == [13.25, -70.5]
    assert (obs["2m_temperature_flag"] == 0).all()


def test_single_angles_that_are_not_readable_are_missing_places():
    obs = read_observations(table(lat=["52.5N", "33.5X"]))
    assert (obs["2m_temperature_flag"].values != 0).tolist() == [False, True]


@pytest.mark.parametrize("names", [("lat_hem", "lon_hem"), ("NS", "EW"), ("N/S", "E/W"), ("Lat Dir", "Lon Dir")])
def test_hemispheres_of_columns_give_the_signs(names):
    letters = dict(zip(names, (["N", "S"], ["east", "W"]), strict=True))
    obs = read_observations(table().assign(**letters))
    assert obs["latitude"].values.tolist() == [52.5, -33.5]
    assert obs["longitude"].values.tolist() == [13.25, -70.5]
    assert "unknown_variables" not in obs.attrs


def test_signs_that_agree_with_hemispheres_stay():
    obs = read_observations(table(lat=[52.5, -33.5], NS=["N", "S"]))
    assert obs["latitude"].values.tolist() == [52.5, -33.5]


def test_a_sign_that_contradicts_its_hemisphere_is_refused():
    with pytest.raises(ObservationError, match=r"latitude is -52.*'N' in the column 'NS'"):
        read_observations(table(lat=[-52.5, 33.5], NS=["N", "S"]))


def test_a_hemisphere_that_is_missing_is_a_missing_place():
    obs = read_observations(table(NS=["N", None]))
    assert (obs["2m_temperature_flag"].values != 0).tolist() == [False, True]


def test_winds_from_north_are_no_hemispheres():
    obs = read_observations(table(wind=["N", "S"]))
    assert obs["latitude"].values.tolist() == [52.5, 33.5]
