"""Codes for missing values (-999.9, 9999, 1e20), and verdicts of a source's own quality control."""

import json
import warnings

import dask.array
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import AssumptionWarning, ObservationError, OptionError
from xappa.observations import Flag, read_observations
from xappa.observations.readers.cf.quality import read_flag
from xappa.observations.readers.missing_codes import are_codes
from xappa.observations.readers.quality_words import classify_meaning
from xappa.observations.readers.source_quality import SCHEMES, classify_codes

T, P, RH = "2m_temperature", "mean_sea_level_pressure", "2m_relative_humidity"


def table(**columns) -> pd.DataFrame:
    size = max(len(column) for column in columns.values() if isinstance(column, list))
    places = {"time": pd.Timestamp("2018-11-02T06"), "lat": 50.0 + np.arange(size), "lon": 8.0, "elev": 100.0}
    return pd.DataFrame({"t2m": [280.0] * size} | places | columns)


def dataset(frame: pd.DataFrame, lazy: bool = False) -> xr.Dataset:
    ds = xr.Dataset({name: ("obs", frame[name].to_numpy()) for name in frame})
    for name, units in {"t2m": "K", "lat": "degrees_north", "lon": "degrees_east", "elev": "m"}.items():
        ds[name].attrs["units"] = units
    ds = ds.set_coords(["time", "lat", "lon", "elev"])
    return ds.chunk({"obs": 2}) if lazy else ds


def codes(obs: xr.Dataset) -> dict[str, int]:
    return json.loads(obs.attrs.get("missing_codes", "{}"))


class TestMissingCodes:
    @pytest.mark.parametrize(
        "code", [-999.9, -99, -999, -9999, -99.9, 9999.9, 99999, 1e20, 9.96921e36, -32768, 2147483647]
    )
    @pytest.mark.parametrize(
        "source", [lambda frame: frame, dataset, lambda frame: dataset(frame.astype({"elev": "f4"}))]
    )
    def test_in_heights(self, code, source):
        obs = read_observations(source(table(elev=[float(code), 120.0])))
        np.testing.assert_array_equal(obs["altitude"], [np.nan, 120.0])
        assert codes(obs) == {"altitude": 1}

    @pytest.mark.parametrize("code", [-9999.0, -999.9, 999.9, 99999.0, 1e36])
    @pytest.mark.parametrize("source", [lambda frame: frame, dataset])
    def test_in_places(self, code, source):
        obs = read_observations(source(table(lat=[code, 51.0], lon=[code, 8.0])))
        assert np.isnan(obs["latitude"].values[0]) and np.isnan(obs["longitude"].values[0])
        assert obs[f"{T}_flag"].values.tolist() == [Flag.MISSING_PLACE, Flag.GOOD]
        assert codes(obs) == {"latitude": 1, "longitude": 1}

    @pytest.mark.parametrize("code", [-9999.0, -999.0, -99.9, 9999.9, 1e20, 99999.0])
    def test_in_values_before_their_units_are_converted(self, code):
        for source in (table(t2m=[code, 7.0]), dataset(table(t2m=[code, 7.0])).drop_attrs()):
            obs = read_observations(source, units={"t2m": "degC"})
            np.testing.assert_allclose(obs[T], [np.nan, 280.15])
            assert obs[f"{T}_flag"].values.tolist() == [0, 0]
            assert codes(obs) == {T: 1}

    def test_in_levels(self):
        frame = table(level=[850.0, -9999.0, 9999.0], t=[270.0] * 3).drop(columns="t2m")
        obs = read_observations(frame)
        np.testing.assert_array_equal(obs["level"], [850.0, np.nan, np.nan])
        assert codes(obs) == {"level": 2}

    def test_in_periods(self):
        obs = read_observations(table(tp=[0.001, 0.002], period=[6, -9999]).drop(columns="t2m"))
        np.testing.assert_array_equal(obs["period"], np.array([6, "NaT"], "timedelta64[h]"))

    def test_in_tidy_tables(self):
        frame = table(observation=[-9999.0, 281.0]).drop(columns="t2m").assign(variable="t2m")
        obs = read_observations(frame)
        np.testing.assert_array_equal(obs[T], [np.nan, 281.0])
        assert codes(obs) == {T: 1}

    def test_numbers_that_are_true_values_stay(self):
        frame = table(msl=[999.9], rh2m=[99.0], lon=[-99.0], elev=[999.9], wdir=[99.0], wspd=[9.9])
        obs = read_observations(frame, units={"msl": "hPa", "rh2m": "percent"})
        assert (obs[P].values, obs["longitude"].values, obs["altitude"].values) == (99990.0, -99.0, 999.9)
        np.testing.assert_allclose(obs[RH], 0.99)
        assert codes(obs) == {}

    def test_other_values_out_of_range_are_no_codes(self):
        obs = read_observations(table(t2m=[20.0, np.inf, 280.0]))
        assert obs[f"{T}_flag"].values.tolist() == [Flag.OUT_OF_RANGE, Flag.OUT_OF_RANGE, Flag.GOOD]
        assert codes(obs) == {}

    def test_declared_codes_of_what_was_not_decoded(self):
        ds = dataset(table(t2m=[290.0, 281.0]))
        ds["t2m"].attrs["missing_value"] = 290.0
        np.testing.assert_array_equal(read_observations(ds)[T], [np.nan, 281.0])

    def test_lazy_values_stay_lazy(self):
        obs = read_observations(dataset(table(t2m=[-9999.0, 281.0, 282.0]), lazy=True))
        assert isinstance(obs[T].data, dask.array.Array)
        np.testing.assert_array_equal(obs[T], [np.nan, 281.0, 282.0])

    @given(st.integers(-8999, 8999), st.integers(0, 2))
    def test_only_numbers_of_nines_are_codes(self, number, decimals):
        value = number / 10**decimals
        nines = set(f"{abs(value):g}") <= {"9", "."} and abs(value) >= 99
        assert are_codes(np.array([value]))[0] == (nines or abs(value) in (7777, 8888))


class TestVerdicts:
    @pytest.mark.parametrize(
        ("name", "given", "failed", "suspect"),
        [
            ("t2m_qc", [1, 2, 3, 4, 9], [4], [3]),
            ("t2m_flag", ["1", "1", "4", "1", "3"], ["4"], ["3"]),
            ("qc_t2m", [0.0, 1.0, 4.0, np.nan, 5.0], [4.0], []),
            ("t2mDD", list("VSCXQ"), ["X"], ["Q"]),
            ("t2m_qc", list("VZGBQ"), ["B"], ["Q"]),
            ("t2m_quality", ["good", "suspect", "bad", "good", "rejected"], ["bad", "rejected"], ["suspect"]),
            ("quality_code", [1, 1, 4, 3, 1], [4], [3]),
        ],
    )
    def test_columns_beside_a_quantity(self, name, given, failed, suspect):
        frame = table(**{name: given})
        kept = read_observations(frame)
        rejected = [Flag.REJECTED_BY_SOURCE if code in failed else Flag.GOOD for code in given]
        assert kept[f"{T}_flag"].values.tolist() == rejected
        assert (kept[T].values == 280.0).all()
        assert kept.attrs["reports_refused"] == sum(code in failed for code in given)
        assert kept.attrs.get("reports_suspect", 0) == sum(code in suspect for code in given)
        strictly = read_observations(frame, suspect="reject")
        rejected = [Flag.REJECTED_BY_SOURCE if code in failed + suspect else Flag.GOOD for code in given]
        assert strictly[f"{T}_flag"].values.tolist() == rejected
        assert "unknown_variables" not in kept.attrs

    @pytest.mark.parametrize(
        "given", [["0", "1", "1"], ["u", "v", "w"], [True, False, True], ["D", "S", "X"], [10, 20, 30]]
    )
    def test_codes_of_no_known_scheme_reject_nothing_and_are_said(self, given):
        with pytest.warns(AssumptionWarning, match=r"'t2m_qc'.*source_quality=\{'t2m_qc'"):
            obs = read_observations(table(t2m_qc=given))
        assert not obs[f"{T}_flag"].values.any()
        with pytest.raises(ObservationError, match="'t2m_qc'"):
            read_observations(table(t2m_qc=given), units={"t2m": "K"}, strict=True)

    def test_a_scheme_that_is_told(self):
        frame = table(t2m_qc=["1", "0", "3"])
        with warnings.catch_warnings():
            warnings.simplefilter("error", AssumptionWarning)
            obs = read_observations(frame, units={"t2m": "K"}, source_quality={"t2m_qc": {"1": "failed"}})
            assert obs[f"{T}_flag"].values.tolist() == [Flag.REJECTED_BY_SOURCE, 0, 0]
            obs = read_observations(frame, units={"t2m": "K"}, source_quality="isd")
            assert obs[f"{T}_flag"].values.tolist() == [0, 0, Flag.REJECTED_BY_SOURCE]
        with pytest.raises(OptionError, match="qartod"):
            read_observations(frame, source_quality="quartod")
        with pytest.raises(OptionError, match="good, suspect, failed"):
            read_observations(frame, source_quality={"t2m_qc": {"1": "bad"}})
        with pytest.raises(OptionError, match="keep"):
            read_observations(frame, suspect="drop")
        with pytest.raises(ObservationError, match="source_quality names 'other'"):
            read_observations(frame, source_quality={"other": "isd"})

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_every_code_has_one_verdict(self, scheme):
        found = SCHEMES[scheme]
        assert len(found.codes) == len(found.good) + len(found.suspect) + len(found.failed)
        failed, suspect = classify_codes([*found.codes, "", None], found)
        assert (failed.sum(), suspect.sum()) == (len(found.failed), len(found.suspect))

    @pytest.mark.parametrize(
        ("words", "verdict"),
        [
            ("probably_bad_data", "failed"),
            ("bad_data_that_are_potentially_correctable", "failed"),
            ("no_qc_performed", "good"),
            ("not_suspect", "good"),
            ("failed_gross_range_check", "failed"),
            ("passed", "good"),
            ("sea_ice", None),
        ],
    )
    def test_verdicts_in_words(self, words, verdict):
        assert classify_meaning(words) == verdict

    def test_cf_flags_by_value_by_bit_and_both(self):
        def flag(values, **attrs):
            return xr.DataArray(np.array(values, "int8"), dims="obs", attrs=attrs).chunk()

        by_value = flag([1, 3, 4], flag_values=[1, 3, 4], flag_meanings="good suspect bad")
        bits = flag([0, 2, 3], flag_masks=[1, 2], flag_meanings="failed_range_test suspect_spike")
        both = flag([1, 2, 7], flag_masks=[3, 3, 3], flag_values=[1, 2, 3], flag_meanings="ok suspect bad")
        argo = flag([1, 3, 4], conventions="Argo reference table 2")
        for codes, failed, suspect in (
            (by_value, [0, 0, 1], [0, 1, 0]),
            (bits, [0, 0, 1], [0, 1, 1]),
            (both, [0, 0, 1], [0, 1, 0]),
            (argo, [0, 1, 1], [0, 0, 0]),
        ):
            found = read_flag(codes)
            assert found.failed.chunks is not None
            np.testing.assert_array_equal(found.failed, np.array(failed, bool))
            np.testing.assert_array_equal(found.suspect, np.array(suspect, bool))
        assert read_flag(flag([0, 1], flag_values=[0, 1], flag_meanings="land sea")) is None


class TestEarth2Studio:
    rows = pd.DataFrame(
        {
            "time": pd.Timestamp("2020-01-01"),
            "pres": np.array([85000, 50000, 85000, 100300, 100300, 100300], "f4"),
            "elev": np.array([1500, 5600, 1500, 12, 12, 12], "f4"),
            "type": ["120", "120", "220", "181", "281", "181"],
            "class": ["ADPUPA"] * 3 + ["ADPSFC"] * 3,
            "lat": np.float32(42.5),
            "lon": np.array([286.25] * 3 + [287.5] * 3, "f4"),
            "station": ["A1"] * 3 + ["B2"] * 3,
            "station_elev": np.array([100] * 3 + [10] * 3, "f4"),
            "quality": np.array([0, 2, 13, 1, 3, 9], "u2"),
            "observation": np.array([275, 250, 10, 280, 5, 100310], "f4"),
            "variable": ["t", "t", "u", "t", "u", "pres"],
        }
    )

    def test_levels_heights_and_reports_near_the_ground(self):
        obs = read_observations(self.rows)
        aloft = obs["temperature"].dropna("obs")
        assert dict(zip(aloft["level"].values.tolist(), aloft.values.tolist(), strict=True)) == {
            850.0: 275.0,
            500.0: 250.0,
        }
        assert (aloft["altitude"] == 100.0).all()
        for name, value in ((T, 280.0), ("10m_u_component_of_wind", 5.0), ("surface_pressure", 100310.0)):
            found = obs[name].dropna("obs")
            assert found.values.tolist() == [value] and np.isnan(found["level"].values).all()

    def test_quality_markers(self):
        with pytest.warns(AssumptionWarning, match="NCEP's quality markers"):
            obs = read_observations(self.rows)
        bad = Flag.REJECTED_BY_SOURCE
        for name, flags in (("temperature", [0, 0]), ("u_component_of_wind", [bad]), ("surface_pressure", [bad])):
            assert obs[f"{name}_flag"].values[obs[name].notnull()].tolist() == flags
        assert obs["10m_u_component_of_wind_flag"].values.max() == 0  # 3 is suspect
        assert read_observations(self.rows, suspect="reject")["10m_u_component_of_wind_flag"].values.max() == bad
        judged = read_observations(self.rows.assign(pressure_quality=np.array([13, 2, 2, 13, 2, 2], "u2")))
        assert judged["temperature_flag"].values[judged["temperature"].notnull()].tolist() == [bad, 0]
        assert judged[f"{T}_flag"].values.max() == 0  # of a report near the ground, the pressure is no level

    def test_pressures_that_are_no_pascals_are_refused(self):
        hectopascals = self.rows.assign(pres=self.rows["pres"] / 100)
        with pytest.raises(ObservationError, match=r"'pres'.*units=\{'pres': 'hPa'\}"):
            read_observations(hectopascals)
        assert set(read_observations(hectopascals, units={"pres": "hPa"})["level"].dropna("obs").values) == {
            850.0,
            500.0,
        }

    def test_levels_in_names(self):
        frame = table(observation=[250.0, 10.0, 275.0, 281.0]).drop(columns="t2m")
        obs = read_observations(frame.assign(variable=["t500", "u500", "t850", "t2m"]))
        assert obs["temperature"].dropna("obs")["level"].values.tolist() == [500.0, 850.0]
        assert obs["u_component_of_wind"].dropna("obs")["level"].values.tolist() == [500.0]
        assert np.isnan(obs[T].dropna("obs")["level"].values).all()
        wind = read_observations(frame.assign(variable=["t500", "u100", "t850", "t2m"]))
        assert json.loads(wind.attrs["unknown_variables"]) == {"u100": 1}  # 100 m above the ground as often
