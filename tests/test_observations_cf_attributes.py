"""CF Datasets as they are made by hand: attributes of other types, packed numbers, flags that are words."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError, RejectionWarning
from xappa.observations import read_observations


def dataset(values=(280.0, 281.0, 282.0), **attrs):
    return xr.Dataset(
        {"t2m": ("obs", np.asarray(values), {"units": "K"} | attrs)},
        coords={
            "time": ("obs", pd.date_range("2018-11-02T12", periods=3, freq="h")),
            "latitude": ("obs", [50.0, 51.0, 52.0]),
            "longitude": ("obs", [10.0, 11.0, 12.0]),
        },
    )


def good(obs, name="2m_temperature"):
    return (obs[name].notnull() & (obs[f"{name}_flag"] == 0)).values.tolist()


@pytest.mark.parametrize(
    "attrs",
    [
        {"ancillary_variables": ["t2m_qc", "t2m_error"]},
        {"units": ["K"]},
        {"units": b"K"},
        {"standard_name": ["air_temperature"]},
        {"standard_name": None},
        {"standard_name": 5, "long_name": 7.0},
        {"cell_methods": np.array(["time: point"])},
    ],
    ids=str,
)
def test_attributes_of_other_types_are_read_as_text(attrs):
    obs = read_observations(dataset(**attrs))
    assert obs["2m_temperature"].values.tolist() == [280.0, 281.0, 282.0]


def test_ancillary_variables_of_a_list_are_followed():
    ds = dataset(ancillary_variables=["checked", "spread"])
    ds["checked"] = ("obs", [1, 4, 1], {"standard_name": "air_temperature status_flag", "flag_values": [1, 4]})
    ds["checked"].attrs["flag_meanings"] = ["good", "bad"]
    ds["spread"] = ("obs", [1.0, 9999.0, 2.0], {"units": "K", "standard_name": "air_temperature standard_error"})
    obs = read_observations(ds)
    assert good(obs) == [True, False, True]
    np.testing.assert_array_equal(obs["2m_temperature_error"], [1.0, np.nan, 2.0])


def test_codes_in_lazy_errors_stay_lazy():
    ds = dataset().assign(t2m_error=("obs", [1.0, 9999.0, -999.0], {"units": "K"})).chunk(obs=2)
    error = read_observations(ds)["2m_temperature_error"]
    assert error.chunks is not None
    np.testing.assert_array_equal(error, [1.0, np.nan, np.nan])


@pytest.mark.parametrize("chunks", [None, 2])
def test_packed_numbers_that_were_left_packed_are_unpacked(chunks):
    ds = dataset(np.array([800, -32767, 1000], "i2"), units="degC", scale_factor=0.01, _FillValue=np.int16(-32767))
    obs = read_observations(ds if chunks is None else ds.chunk(obs=chunks))
    np.testing.assert_allclose(obs["2m_temperature"], [281.15, np.nan, 283.15])
    assert (obs["2m_temperature"].chunks is not None) == (chunks is not None)


def test_floats_with_a_scale_are_taken_for_unpacked_and_said_so():
    with pytest.warns(
        AssumptionWarning, match="t2m: its attributes scale_factor say how to unpack, but it holds floats"
    ):
        obs = read_observations(dataset(scale_factor=0.01))
    assert obs["2m_temperature"].values.tolist() == [280.0, 281.0, 282.0]


def test_flags_that_are_words_reject():
    ds = dataset().assign(t2m_qc=("obs", ["good", "bad", ""]))
    assert good(read_observations(ds)) == [True, False, True]


def test_letters_of_an_unknown_scheme_are_said():
    ds = dataset().assign(t2m_qc=("obs", ["A", "B", "A"]))
    with pytest.warns(AssumptionWarning, match="t2m_qc: its .* not understood"):
        read_observations(ds)


@pytest.mark.parametrize(
    "limits",
    [
        {"valid_range": "279, 281.5"},
        {"valid_range": "[279 281.5]"},
        {"valid_max": "281.5"},
        {"valid_range": [279, 281.5]},
    ],
    ids=str,
)
def test_limits_that_are_text_are_read(limits):
    assert good(read_observations(dataset(**limits))) == [True, True, False]


@pytest.mark.parametrize("limits", [{"valid_range": [1, 2, 3]}, {"valid_max": "hot"}, {"valid_range": ""}], ids=str)
def test_limits_that_are_none_are_said(limits):
    with pytest.warns(AssumptionWarning, match="t2m: valid_.* are no limits that are understood"):
        assert good(read_observations(dataset(**limits))) == [True, True, True]


@pytest.mark.parametrize("method", ["mean", "Average", "max", "median"])
def test_a_cell_method_without_its_dimension_is_that_of_time(method):
    ds = dataset(standard_name="air_temperature", cell_methods=method)
    if method == "median":
        with pytest.raises(ObservationError, match="time: median"):
            read_observations(ds)
        return
    with pytest.warns(RejectionWarning, match="period"):
        obs = read_observations(ds)
    assert not any(any(good(obs, name)) for name in obs.data_vars if f"{name}_flag" in obs)


def test_a_dimension_that_comes_twice_is_refused():
    with pytest.warns(UserWarning, match="Duplicate dimension"):
        values = xr.Variable(("x", "x"), np.full((2, 2), 280.0), {"units": "K"})
        ds = xr.Dataset({"t2m": values}, {"time": pd.Timestamp("2018-11-02"), "lat": 1.0, "lon": 1.0})
        with pytest.raises(ObservationError, match="a dimension comes twice"):
            read_observations(ds)


def test_a_height_counts_for_more_than_a_name_without_one():
    ds = dataset(standard_name="air_temperature").rename(t2m="tas").assign_coords(height=((), 40.0, {"units": "m"}))
    with pytest.warns(RejectionWarning, match="tas at 40 m"):
        assert good(read_observations(ds)) == [False] * 3
