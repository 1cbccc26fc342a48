"""Flags: each reason, and that nothing is lost."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xappa.errors import ObservationError
from xappa.observations import Flag, check, flag_attrs, flag_counts, quantities, read_observations, with_flag

T = "2m_temperature"


def reports(values, **columns) -> pd.DataFrame:
    size = len(values)
    place = {"time": ["2024-01-01T00"] * size, "lat": np.arange(size) * 0.5, "lon": np.arange(size) * 1.5}
    return pd.DataFrame(place | {T: values} | columns)


def flags(frame: pd.DataFrame, name: str = T) -> list[int]:
    return read_observations(frame)[f"{name}_flag"].values.tolist()


def test_numbers_of_the_reasons_are_fixed():
    assert [flag.value for flag in Flag] == list(range(len(Flag)))
    assert flag_attrs()["flag_meanings"].split()[:5] == [
        "good",
        "missing_place",
        "missing_time",
        "out_of_range",
        "duplicate",
    ]


def test_range_quotes_no_error_but_flags():
    assert flags(reports([280.0, 372.2, 100.0, np.inf, np.nan])) == [0, 3, 3, 3, 0]


def test_values_of_rejected_reports_are_kept():
    obs = read_observations(reports([280.0, 372.2]))
    assert obs[T].values.tolist() == [280.0, 372.2]
    assert obs[f"{T}_flag"].dtype == np.int8
    assert obs[T].attrs["ancillary_variables"] == f"{T}_flag"
    assert obs[f"{T}_flag"].attrs["standard_name"] == "air_temperature status_flag"


def test_single_impossible_places_are_flagged():
    frame = reports([280.0] * 6, lat=[0.0, 91.0, np.nan, -90.0, 3.0, 4.0], lon=[0.0, 1.0, 2.0, 3.0, np.inf, 400.0])
    assert flags(frame) == [0, 1, 1, 0, 1, 1]


def test_times_that_cannot_be_read_are_flagged():
    assert flags(reports([280.0] * 3, time=["2024-01-01T00", "soon", None])) == [0, 2, 2]


def test_upper_air_without_level_has_no_place():
    frame = reports([250.0] * 3, level=[500.0, np.nan, 0.0]).rename(columns={T: "temperature"})
    assert flags(frame, "temperature") == [0, 1, 1]


def test_the_first_good_of_several_reports_stays():
    frame = reports([400.0, 280.0, 281.0, 282.0], lat=[1.0, 1.0, 1.0002, 1.01], lon=[359.9999, 0.0, 0.0, 0.0])
    assert flags(frame) == [3, 0, 4, 0]


def test_other_times_levels_and_stations_are_no_duplicates():
    place = {"lat": [1.0] * 4, "lon": [1.0] * 4}
    assert flags(reports([280.0] * 4, time=[f"2024-01-01T0{h}" for h in range(4)], **place)) == [0] * 4
    assert flags(reports([280.0] * 4, station=["a", "b", "c", "a"], **place)) == [0, 0, 0, 4]
    aloft = reports([250.0] * 4, level=[500.0, 850.0, 500.0, 700.0], **place).rename(columns={T: "temperature"})
    assert flags(aloft, "temperature") == [0, 0, 4, 0]


def test_one_station_with_two_positions_is_one_but_a_shared_call_sign_is_not():
    frame = reports([280.0] * 3, station=["SHIP"] * 3, lat=[10.0, 10.02, 40.0], lon=[5.0, 5.0, 5.0])
    assert flags(frame) == [0, 4, 0]


def test_the_date_line_has_one_side():
    assert flags(reports([280.0] * 2, lat=[1.0, 1.0], lon=[-180.0, 180.0])) == [0, 4]


def test_most_latitudes_beyond_90_are_a_wrong_column():
    with pytest.raises(ObservationError, match=r"latitude runs from 100 to 350, expected -90 to 90.*rename"):
        read_observations(reports([280.0] * 3, lat=[100.0, 200.0, 350.0]))


def test_levels_in_pascal_are_told_by_their_size():
    frame = reports([250.0] * 3, level=[50000.0, 70000.0, 85000.0]).rename(columns={T: "temperature"})
    with pytest.raises(ObservationError, match=r"level runs from 50000 to 85000.*units=\{'level': 'Pa'\}"):
        read_observations(frame)
    assert read_observations(frame, units={"level": "Pa"})["level"].values.tolist() == [500.0, 700.0, 850.0]


def test_checking_again_changes_nothing_and_leaves_the_input_alone():
    obs = read_observations(reports([280.0, 372.2, 280.0], lat=[1.0, 2.0, 1.0], lon=[1.0, 2.0, 1.0]))
    before = obs.copy(deep=True)
    assert check(obs).identical(before)
    assert obs.identical(before)


def test_a_rejected_report_keeps_its_first_reason():
    obs = read_observations(reports([280.0, 372.2, np.nan]))
    again = with_flag(obs, T, np.ones(3, dtype=bool), Flag.WITHHELD)
    assert again[f"{T}_flag"].values.tolist() == [Flag.WITHHELD, Flag.OUT_OF_RANGE, Flag.GOOD]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([np.nan, 280.0, 998.0]),
            st.sampled_from([np.nan, 0.0, 45.0, 95.0]),
            st.sampled_from([np.nan, 3.0, 349.0]),
            st.sampled_from([np.nan, 90.0]),
            st.sampled_from(["2024-01-01T00", "never"]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_report_is_counted_once(rows):
    sane = [(280.0, 20.0 + i, 3.0, 90.0, "2024-01-01T00") for i in range(20)]
    frame = pd.DataFrame(rows + sane, columns=[T, "lat", "wind_speed", "wind_direction", "time"]).assign(lon=0.0)
    obs = read_observations(frame)
    counts = flag_counts(obs)
    assert list(counts.index) == quantities(obs)
    for name in counts.index:
        assert counts.loc[name].sum() == int(obs[name].notnull().sum())
    assert counts.loc[T].sum() == frame[T].notna().sum()
    assert counts["out_of_range"][T] <= (frame[T] == 998.0).sum()
