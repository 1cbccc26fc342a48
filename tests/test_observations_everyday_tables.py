"""Tables as people have them: Arrow's columns, pressures that are levels, codes in errors, options that are no text."""

import json

import numpy as np
import pandas as pd
import pytest

from xappa.errors import AssumptionWarning, ObservationError, OptionError, RejectionWarning
from xappa.observations import read_observations

pytestmark = pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning")


def table(**columns):
    basis = {
        "time": ["2018-11-02T12:00", "2018-11-02T13:00", "2018-11-02T14:00"],
        "lat": [52.0, 53.0, 54.0],
        "lon": [13.0, 14.0, 15.0],
        "station": list("abc"),
        "t2m": [280.0, 281.0, 282.0],
    }
    return pd.DataFrame(basis | columns)


def flags(obs, name="2m_temperature"):
    return obs[f"{name}_flag"].values.tolist()


class TestArrow:
    @pytest.fixture(autouse=True)
    def arrow(self):
        pytest.importorskip("pyarrow")

    def test_text_and_numbers_are_read_as_those_of_numpy(self):
        plain = table(t2m=[280.0, None, 282.0], t2m_qc=["good", "bad", None])
        arrow = plain.convert_dtypes(dtype_backend="pyarrow")
        assert read_observations(arrow).identical(read_observations(plain))

    def test_flags_of_a_table_that_xappa_wrote_stay(self):
        obs = read_observations(table())
        obs["2m_temperature_flag"].values[:] = [0, 11, 17]
        again = read_observations(obs.to_dataframe().convert_dtypes(dtype_backend="pyarrow"))
        assert flags(again) == [0, 11, 17]


@pytest.mark.parametrize("rename", [str.upper, lambda name: name.replace("_", " ").title()])
def test_flags_under_other_spellings_of_a_name_stay(rename):
    obs = read_observations(table())
    obs["2m_temperature_flag"].values[:] = [0, 11, 17]
    assert flags(read_observations(obs.to_dataframe().rename(columns=rename))) == [0, 11, 17]


class TestPressuresBesideValues:
    def sounding(self, **columns):
        basis = {"time": "2018-11-02T12:00", "lat": 52.0, "lon": 13.0, "air_temperature": [285.0, 280.0, 260.0]}
        return pd.DataFrame(basis | columns)

    @pytest.mark.parametrize(
        "pressure",
        [
            {"air_pressure": [1000.0, 850.0, 500.0]},
            {"pressure": [100000, 85000, 50000]},
            {"Pressure (hPa)": [1000, 850, 500]},
            {"P [mb]": [1000, 850, 500]},
        ],
        ids=str,
    )
    def test_pressures_of_a_sounding_are_levels(self, pressure):
        with pytest.warns(AssumptionWarning, match="is taken for the level of each value"):
            obs = read_observations(self.sounding(**pressure))
        assert obs["level"].values.tolist() == [1000.0, 850.0, 500.0]
        assert flags(obs, "temperature") == [0, 0, 0]

    def test_codes_in_them_are_missing_places(self):
        with pytest.warns(AssumptionWarning, match="level"):
            obs = read_observations(self.sounding(pressure=[-999.0, 850.0, 500.0]))
        assert np.isnan(obs["level"].values[0]) and flags(obs, "temperature")[0] != 0
        assert json.loads(obs.attrs["missing_codes"]) == {"level": 1}

    def test_pressures_of_a_flight_with_altitudes_are_levels(self):
        flight = {"time": pd.date_range("2018-11-02T12", periods=3, freq="min"), "alt": [100.0, 5000.0, 10000.0]}
        with pytest.warns(AssumptionWarning, match="level"):
            obs = read_observations(self.sounding(pressure=[1000.0, 540.0, 265.0], **flight))
        assert obs["level"].values.tolist() == [1000.0, 540.0, 265.0]

    @pytest.mark.parametrize(
        "stations",
        [
            {"station": list("abc"), "pressure": [1000.0, 1010.0, 700.0]},
            {"lat": [50.0, 51.0, 52.0], "pressure": [1000.0, 1010.0, 700.0]},
            {"lat": [50.0, 51.0, 52.0], "elev": [10.0, 3000.0, 5000.0], "pressure": [1013.0, 700.0, 500.0]},
        ],
        ids=str,
    )
    def test_pressures_of_stations_are_no_levels(self, stations):
        obs = read_observations(self.sounding(**stations))
        assert "level" not in obs.coords and flags(obs) == [0, 0, 0]

    def test_other_numbers_under_such_a_name_are_no_levels(self):
        obs = read_observations(self.sounding(lat=[50.0, 51.0, 52.0], p=[0.0, 10.0, 2.0]))
        assert "level" not in obs.coords and flags(obs) == [0, 0, 0]


@pytest.mark.parametrize("name", ["air_temperature", "Air Temperature (K)"])
def test_flights_are_known_by_standard_names_too(name):
    flight = pd.DataFrame(
        {"time": pd.date_range("2018-11-02T12", periods=3, freq="min"), "lat": 52.0, "lon": 13.0}
        | {"alt": [100.0, 5000.0, 10000.0], name: [280.0, 255.0, 225.0]}
    )
    with pytest.warns(RejectionWarning, match="wrong_height"):
        obs = read_observations(flight)
    assert "2m_temperature" not in obs and all(flags(obs, "temperature"))


@pytest.mark.parametrize("tidy", [False, True])
def test_a_mast_has_one_height_whatever_its_column_is_called(tidy):
    mast = pd.DataFrame({"time": "2018-11-02T12:00", "lat": 52.0, "lon": 13.0, "height": [100.0, 2.0, 40.0]})
    values = {"variable": "t2m", "value": [282.0, 280.0, 281.0]} if tidy else {"t2m": [282.0, 280.0, 281.0]}
    assert [flag != 0 for flag in flags(read_observations(mast.assign(**values)))] == [True, False, True]


@pytest.mark.parametrize("code", [9999.0, -999.9, 99.9, 1e20, 2147483647.0])
def test_codes_in_errors_are_errors_that_are_not_known(code):
    wide = read_observations(table(t2m_error=[code, 1.0, 2.0]))
    rows = pd.DataFrame(table().drop(columns="t2m")).assign(variable="t2m", value=280.0, error=[code, 1.0, 2.0])
    for obs in (wide, read_observations(rows)):
        np.testing.assert_array_equal(obs["2m_temperature_error"], [np.nan, 1.0, 2.0])


def test_large_errors_that_are_no_codes_stay():
    obs = read_observations(table(t2m_error=[1e6, 50.0, 9.0], msl=[101300.0] * 3, msl_error=[99.0, 999.0, 150.0]))
    assert obs["2m_temperature_error"].values.tolist() == [1e6, 50.0, 9.0]
    assert obs["mean_sea_level_pressure_error"].values.tolist() == [99.0, 999.0, 150.0]


@pytest.mark.parametrize(
    "options",
    [
        {"units": {"t2m": ["K"]}},
        {"units": "K"},
        {"rename": {"t2m": 5}},
        {"rename": {"t2m": None}},
        {"rename": ["t2m"]},
        {"source_quality": 5},
        {"source_quality": {"t2m_qc": 5}},
    ],
    ids=str,
)
def test_options_of_other_types_are_refused(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        read_observations(table(), **options)


def test_complex_numbers_are_refused():
    with pytest.raises(ObservationError, match="t2m: found complex numbers"):
        read_observations(table(t2m=np.array([280 + 1j, 281, 282])))


def test_signs_of_typesetting_are_read():
    obs = read_observations(table(t2m=["\u22125.0", "\u00a06.0", "7.0"]), units={"t2m": "degC"})
    np.testing.assert_allclose(obs["2m_temperature"], [268.15, 279.15, 280.15])


@pytest.mark.parametrize("values", [["280,1", "281,2", "282,3"], ["MM"] * 3])
def test_a_quantity_without_one_number_is_told(values):
    with pytest.warns(RejectionWarning, match=r"2m_temperature \(3, unreadable"):
        read_observations(table(t2m=values))


@pytest.mark.parametrize("units", ["10s deg", "tens of degrees", "10 degree", "10's deg"])
def test_directions_in_tens_of_degrees(units):
    obs = read_observations(table(wind_direction=[20, 21, 36]), units={"wind_direction": units})
    assert obs["wind_from_direction"].values.tolist() == [200.0, 210.0, 360.0]


@pytest.mark.parametrize("frequency", ["D", "M", "Y"])
def test_periods_of_pandas_are_no_instants(frequency):
    with pytest.raises(ObservationError, match="holds periods"):
        read_observations(table(time=pd.period_range("2018-11-02", periods=3, freq=frequency)))


def test_hourly_periods_of_pandas_are_their_begins():
    obs = read_observations(table(time=pd.period_range("2018-11-02T12", periods=3, freq="h")))
    assert obs["time"].values[1] == np.datetime64("2018-11-02T13")


def test_names_with_a_line_break_are_refused(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text('time,lat,lon,"t2m\n(degC)"\n2018-11-02T12:00,52,13,8.1\n')
    with pytest.raises(ObservationError, match="quote that is not closed"):
        read_observations(path)


def test_numbers_of_stations_are_found_in_the_table_of_stations(tmp_path):
    path = tmp_path / "hourly.csv"
    path.write_text("station,time,t2m\n  433,2018-11-02T12:00,281\n 1001,2018-11-02T12:00,271\n")
    places = pd.DataFrame({"station": ["433", "01001"], "latitude": [52.4, 70.9], "longitude": [13.4, -8.7]})
    obs = read_observations(path, stations=places)
    assert obs["latitude"].values.tolist() == [52.4, 70.9] and flags(obs) == [0, 0]
