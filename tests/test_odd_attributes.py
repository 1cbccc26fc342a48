"""Attributes of every kind of value, on reports and fields: read, or refused in words."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import AssumptionWarning, ObservationError, UnitsError, XappaError
from xappa.observations import read_observations

T, ERROR = "2m_temperature", "2m_temperature_error"

KEYS = [
    *("_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max", "valid_range"),
    *("flag_values", "flag_masks", "flag_meanings", "units", "height", "standard_name", "long_name", "cell_methods"),
    *("ancillary_variables", "coordinates", "positive", "calendar", "bounds", "axis", "_Unsigned", "comment"),
    *("grid_mapping", "formula_terms", "cell_measures", "climatology", "instance_dimension", "sample_dimension"),
    *("cf_role", "actual_range", "dtype"),
]
VALUES = {
    "a number beyond floats": 10**400,
    "numbers beyond floats": [10**400, 1],
    "a matrix": np.array([[1, 2], [3, 4]]),
    "an empty list": [],
    "a tuple": ("a", 1),
    "None": None,
    "a complex number": 1 + 2j,
}


def reports() -> xr.Dataset:
    return xr.Dataset(
        {"t2m": ("obs", [280.0, 281, 282], {"units": "K"}), "qc": ("obs", [0, 1, 2])},
        coords={
            "time": ("obs", pd.date_range("2018-11-02T12", periods=3, freq="h")),
            "latitude": ("obs", [50.0, 51, 52], {"units": "degrees_north"}),
            "longitude": ("obs", [1.0, 2, 3]),
            "height": ((), 2.0, {"units": "m"}),
        },
    )


def fields() -> xr.Dataset:
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), np.full((2, 3, 4), 280.0), {"units": "K"})},
        coords={
            "time": pd.date_range("2018-11-02T12", periods=2, freq="6h"),
            "latitude": [-60.0, 0, 60],
            "longitude": [0.0, 90, 180, 270],
        },
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("key", KEYS)
def test_an_attribute_of_any_kind_is_read_or_refused(key):
    for what, value in VALUES.items():
        for make, names, read in (
            (reports, ("t2m", "time", "height"), read_observations),
            (fields, ("t2m", "latitude"), lambda ds: ds.appa.regrid(30.0)),
        ):
            for name in names:
                ds = make()
                ds[name].attrs[key] = value
                try:
                    read(ds)
                except XappaError:
                    pass
                except Exception as error:
                    pytest.fail(f"{what} as {key} of {name}: {type(error).__name__}: {error}")


class TestErrors:
    """Errors of reports in the schema: their units, and what no deviation can be."""

    def stated(self, error, **attrs) -> xr.Dataset:
        obs = read_observations(reports())
        return obs.assign({ERROR: ("obs", error, attrs)})

    @pytest.mark.parametrize("wrong", [0.0, -1.0, np.inf])
    def test_what_is_no_deviation_is_counted_and_unknown(self, wrong):
        with pytest.warns(AssumptionWarning, match=f"{ERROR}: 1 of 3 errors are no finite numbers above 0"):
            obs = read_observations(self.stated([wrong, 1, np.nan]))
        np.testing.assert_array_equal(obs[ERROR], [np.nan, 1, np.nan])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_observations(obs).identical(obs)
        with pytest.raises(ObservationError, match="nothing may be assumed.*no finite numbers"):
            read_observations(self.stated([wrong, 1, np.nan]), strict=True)

    @pytest.mark.parametrize("wrong", [0.0, -1.0, np.inf])
    def test_so_it_is_in_tables_and_lazily(self, wrong):
        table = self.stated([wrong, 1, np.nan]).to_dataframe()
        with pytest.warns(AssumptionWarning, match="1 of 3 errors are no finite numbers"):
            obs = read_observations(table)
        np.testing.assert_array_equal(obs[ERROR], [np.nan, 1, np.nan])
        np.testing.assert_array_equal(read_observations(self.stated([wrong, 1, np.nan]).chunk())[ERROR], obs[ERROR])

    def test_units_are_those_of_the_error(self):
        np.testing.assert_allclose(read_observations(self.stated([500.0, 1, 1], units="mK"))[ERROR], [0.5, 1e-3, 1e-3])
        with pytest.raises(UnitsError, match=f"{ERROR}: units 'degrees_east' cannot be converted to 'K'"):
            read_observations(self.stated([1.0, 1, 1], units="degrees_east"))


def test_regridding_reads_the_same_fields_whatever_their_attributes():
    ds = fields()
    ds["latitude"].attrs.update(bounds=["no", "such"], grid_mapping=7)
    xr.testing.assert_equal(ds.appa.regrid(30.0)["t2m"], fields().appa.regrid(30.0)["t2m"])


@pytest.mark.parametrize("name", ["station", "source"])
@pytest.mark.parametrize("value", [{"id": 1}, [1, 2], np.array([1, 2])], ids=["a dict", "a list", "an array"])
def test_names_without_a_hash_are_their_text(name, value):
    names = np.empty(3, object)
    names[:] = ["a", "b", "c"]
    names[1] = value
    obs = read_observations(read_observations(reports()).assign_coords({name: ("obs", names)}))
    assert obs[name].values.tolist() == ["a", str(value), "c"]
    assert int((xappa.quality_control(obs)["2m_temperature_flag"] != 0).sum()) == 0


class TestTables:
    """Cells of other types and byte orders, and levels where there is none."""

    def table(self, **columns) -> pd.DataFrame:
        given = {"time": ["2018-11-02T12"] * 3, "lat": [50.0, 51, 52], "lon": [1.0, 2, 3], T: [280.0, 281, 282]}
        return pd.DataFrame(given | columns)

    @pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">u2", "<f4"])
    def test_station_numbers_of_the_other_byte_order(self, dtype):
        obs = read_observations(self.table(station=np.array([11, 12, 13]).astype(dtype)), units={T: "K"})
        assert obs["station"].values.tolist() == ["11", "12", "13"]

    @pytest.mark.parametrize("missing", [pd.NA, pd.NaT, None, np.nan, np.float32("nan")], ids=repr)
    @pytest.mark.parametrize("column", ["time", "lat", "lon", T, "station", "elev"])
    def test_a_first_row_with_a_missing_cell(self, column, missing):
        table = self.table(station=["a", "b", "c"], elev=[1.0, 2, 3]).astype(object)
        table.loc[0, column] = missing
        obs = read_observations(table, units={T: "K"})
        np.testing.assert_array_equal(obs[T][1:], [281, 282])

    @pytest.mark.parametrize("level", [0.0, -1.0, 101325.0, np.inf])
    def test_levels_near_the_ground_that_are_none(self, level):
        table = self.table(level=[np.nan, level, 500.0], temperature=[np.nan, np.nan, 250.0])
        with pytest.warns(AssumptionWarning, match="level: 1 reports near the ground have levels that no pressure"):
            obs = read_observations(table, units={T: "K", "temperature": "K", "level": "hPa"})
        flags = obs[f"{T}_flag"].where(obs[T].notnull(), drop=True)
        assert flags.values.tolist() == [0, 0, 0]
        assert obs["level"].where(obs["temperature"].notnull(), drop=True).values.tolist() == [500.0]
        assert not (obs["level"] == level).any()
        assert read_observations(obs).identical(obs)

    def test_such_a_level_of_a_report_on_levels_is_flagged(self):
        table = self.table(level=[500.0, -1.0, 500.0], temperature=[250.0, 250.0, 250.0]).drop(columns=T)
        obs = read_observations(table, units={"temperature": "K", "level": "hPa"})
        assert (obs["temperature_flag"] != 0).values.tolist() == [False, True, False]
