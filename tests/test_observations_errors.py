"""Error deviations: tables, numbers, text, levels."""

import numpy as np
import pandas as pd
import pytest

from xappa.errors import OptionError
from xappa.observations import observation_errors, read_observations, with_errors
from xappa.observations.errors.tables import TABLES
from xappa.vocabulary import VARIABLES

T = "2m_temperature"


def table(**columns) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    return pd.DataFrame({"time": "2024-01-01", "lat": np.arange(size), "lon": 0.0} | columns)


def test_the_twin_experiment_table():
    errors = observation_errors("speedy-twin")
    assert errors["temperature"] == errors["u_component_of_wind"] == errors[T] == 1.0
    assert errors["specific_humidity"] == 1e-3
    assert errors["mean_sea_level_pressure"] == 100.0


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_copies_of_positive_numbers(name):
    errors = observation_errors(name)
    for variable, deviation in errors.items():
        values = list(deviation.values()) if isinstance(deviation, dict) else [deviation]
        assert all(value > 0 for value in values)
        # No error reaches a quarter of what is believable at all: a unit slip would.
        assert variable not in VARIABLES or max(values) < 0.25 * VARIABLES[variable].valid_max
    errors["temperature"] = -1.0
    assert observation_errors(name)["temperature"] != -1.0


def test_an_unknown_table_is_answered_with_the_known_ones():
    with pytest.raises(OptionError, match=r"'ecmwf'.*'ecmwf-like', 'speedy-twin'; did you mean 'ecmwf-like'"):
        observation_errors("ecmwf")


def test_levels_are_linear_in_log_pressure_and_constant_beyond():
    frame = table(t=[250.0] * 5, level=[1050.0, 850.0, np.sqrt(850.0 * 700.0), 5.0, np.nan])
    obs = read_observations(frame, error={"temperature": {850: 1.5, 700: 1.3}})
    np.testing.assert_allclose(obs["temperature_error"], [1.5, 1.5, 1.4, 1.3, np.nan], rtol=1e-12)


def test_only_gaps_are_filled_and_only_where_something_was_reported():
    obs = read_observations(table(t2m=[280.0, 281.0, np.nan], t2m_error=[0.5, 0.0, np.nan]), error="speedy-twin")
    np.testing.assert_array_equal(obs[f"{T}_error"], [0.5, 1.0, np.nan])


@pytest.mark.parametrize("error", ["1 K", "1 degC", 1, 1.0, {"t2m": "1 K"}, {T: "1"}, {T: np.float32(1)}])
def test_ways_to_say_one_kelvin(error):
    obs = with_errors(read_observations(table(t2m=[280.0])), error)
    assert obs[f"{T}_error"].values.tolist() == [1.0]
    assert obs[f"{T}_error"].attrs["units"] == "K"


def test_one_number_for_two_quantities_is_ambiguous():
    with pytest.raises(OptionError, match=r"2 quantities \(2m_temperature, mean_sea_level_pressure\).*ambiguous"):
        read_observations(table(t2m=[280.0], msl=[1e5]), error=1.0)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ({T: 0.0}, "above zero"),
        ({T: -1.0}, "above zero"),
        ({T: np.nan}, "above zero"),
        ({T: "1 hPa"}, "cannot be converted"),
        ({T: None}, "no deviation"),
        ({"2m_temprature": 1.0}, "did you mean '2m_temperature'"),
        ("emcwf-like", "did you mean 'ecmwf-like'"),
    ],
)
def test_errors_that_make_no_sense(error, message):
    with pytest.raises(OptionError, match=message):
        read_observations(table(t2m=[280.0]), error=error)


def test_errors_for_quantities_that_are_not_there_are_left():
    obs = read_observations(table(t2m=[280.0]), error={"msl": 100.0, T: 1.0})
    assert set(obs.data_vars) == {T, f"{T}_error", f"{T}_flag"}
