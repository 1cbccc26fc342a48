"""Conversions of quantities: formulas against MetPy and tables, errors against sampling, flags, laziness."""

import json
import subprocess
import sys

import dask.array as da
import numpy as np
import pandas as pd
import pytest

from xappa.observations import Flag, formulas, read_observations
from xappa.observations.convert import CONVERSIONS, HIGHEST_REDUCTION

Q, TD, RH, T, TH, Z = (
    "specific_humidity",
    "dewpoint_temperature",
    "relative_humidity",
    "temperature",
    "potential_temperature",
    "geopotential_height",
)
PS, PM, T2, QNH = "surface_pressure", "mean_sea_level_pressure", "2m_temperature", "altimeter_setting"

# MetPy stays out of the process of the tests: importing it changes pint's registry of the process.
ORACLE = """
import json, sys
import numpy as np
import metpy.calc as mc
from metpy.units import units as u
t = np.linspace(215, 310, 20)
h = np.array([-50.0, 0.0, 300.0, 1500.0])
print(json.dumps({
    "es": mc.saturation_vapor_pressure(t * u.K).m_as("Pa").tolist(),
    "q": mc.specific_humidity_from_dewpoint(850 * u.hPa, t * u.K).m_as("").tolist(),
    "td": mc.dewpoint_from_relative_humidity(t * u.K, 0.6).m_as("K").tolist(),
    "t": mc.temperature_from_potential_temperature([1000.0, 500.0, 50.0] * u.hPa, 300 * u.K).m_as("K").tolist(),
    "p": mc.altimeter_to_station_pressure(1010 * u.hPa, h * u.m).m_as("Pa").tolist(),
}))
"""


@pytest.fixture(scope="module")
def metpy():
    pytest.importorskip("matplotlib")
    done = subprocess.run([sys.executable, "-c", ORACLE], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("MetPy is not installed")
    return {name: np.array(values) for name, values in json.loads(done.stdout).items()}


def test_formulas_are_those_of_metpy(metpy):
    t = np.linspace(215, 310, 20)
    np.testing.assert_allclose(formulas.saturation_vapour_pressure(t), metpy["es"], rtol=1e-6)
    np.testing.assert_allclose(formulas.specific_humidity(t, 85000.0), metpy["q"], rtol=2e-4)
    by_relative = formulas.specific_humidity_of_relative(0.6, t, 85000.0)
    # MetPy inverts another approximation of the same curve.
    np.testing.assert_allclose(by_relative, formulas.specific_humidity(metpy["td"], 85000.0), rtol=3e-2)
    pressure = np.array([1e5, 5e4, 5e3])
    np.testing.assert_allclose(formulas.temperature_of_potential(300.0, pressure), metpy["t"], rtol=1e-6)
    # MetPy adds the 0.3 hPa of the Smithsonian tables, the height of a barometer in the cockpit.
    altitude = np.array([-50.0, 0.0, 300.0, 1500.0])
    np.testing.assert_allclose(formulas.station_pressure(101000.0, altitude), metpy["p"] - 30.0, atol=0.5)


def test_sea_level_pressure_against_the_worked_values():
    assert formulas.sea_level_pressure(101300.0, 288.15, 0.0) == 101300.0
    # The standard atmosphere's station at 500 m has 95461 Pa and 284.90 K, and 101325 Pa at sea level.
    assert formulas.sea_level_pressure(95461.0, 284.90, 500.0) == pytest.approx(101325.0, abs=15.0)
    assert formulas.station_pressure(101325.0, 500.0) == pytest.approx(95461.0, abs=15.0)


def test_flight_levels_are_pressures():
    heights = np.array([0.0, 5000.0, 11000.0, 15000.0])
    np.testing.assert_allclose(formulas.standard_pressure(heights), [101325.0, 54020.0, 22632.0, 12044.6], rtol=1e-4)


def aloft(**columns) -> pd.DataFrame:
    return pd.DataFrame({"time": "2024-01-01", "lat": [1.0, 2.0, 3.0], "lon": 0.0, "level": 850.0} | columns)


def near(**columns) -> pd.DataFrame:
    place = {"time": "2024-01-01", "lat": [1.0, 2.0, 3.0], "lon": 0.0, "elev": [0.0, 300.0, 2000.0]}
    return pd.DataFrame(place | columns)


def test_what_was_reported_stays_beside_what_was_derived():
    obs = read_observations(aloft(**{TD: [270.0, 280.0, np.nan], TH: 300.0, Z: 1500.0}))
    np.testing.assert_allclose(obs[Q][:2], formulas.specific_humidity(np.array([270.0, 280.0]), 85000.0))
    np.testing.assert_allclose(obs[T], 300.0 * 0.85 ** (2 / 7))
    np.testing.assert_allclose(obs["geopotential"], 1500 * 9.80665)
    assert obs[TD].values[:2].tolist() == [270.0, 280.0]
    assert obs[Q].attrs["derived_from"] == TD
    for name in (TD, TH, Z):
        assert (obs[f"{name}_flag"].values[obs[name].notnull()] == Flag.UNUSED).all()
    assert (obs[f"{T}_flag"] == 0).all()


def test_a_reported_value_comes_before_a_derived_one():
    obs = read_observations(aloft(**{TD: [270.0, 280.0, 285.0], Q: [0.001, np.nan, np.nan]}))
    assert float(obs[Q][0]) == 0.001
    assert obs[f"{TD}_flag"].values.tolist() == [Flag.GOOD, Flag.UNUSED, Flag.UNUSED]


def test_relative_humidity_needs_a_temperature():
    obs = read_observations(aloft(**{RH: [50.0, 60.0, 70.0], T: [280.0, np.nan, 285.0]}), units={RH: "percent"})
    wanted = formulas.specific_humidity_of_relative(np.array([0.5, 0.7]), np.array([280.0, 285.0]), 85000.0)
    np.testing.assert_allclose(obs[Q].values[[0, 2]], wanted)
    assert np.isnan(obs[Q].values[1])
    assert (obs[f"{T}_flag"].values[[0, 2]] == 0).all()


def test_pressure_is_reduced_from_low_stations_only():
    obs = read_observations(near(**{PS: [101000.0, 97500.0, 80000.0], T2: 285.0}))
    wanted = formulas.sea_level_pressure(np.array([101000.0, 97500.0]), 285.0, np.array([0.0, 300.0]))
    np.testing.assert_allclose(obs[PM].values[:2], wanted)
    assert HIGHEST_REDUCTION < 2000 and np.isnan(obs[PM].values[2])
    assert obs[f"{PS}_flag"].values.tolist() == [Flag.UNUSED, Flag.UNUSED, Flag.GOOD]


def test_an_altimeter_setting_becomes_pressure_at_sea_level():
    obs = read_observations(near(**{"altimeter": [29.92, 30.10, 30.0], T2: 285.0}), units={"altimeter": "inHg"})
    assert float(obs[PM][0]) == pytest.approx(29.92 * 3386.389, rel=1e-5)
    assert obs[f"{QNH}_flag"].values.tolist() == [Flag.UNUSED] * 3
    assert obs[f"{PS}_flag"].values.tolist() == [Flag.UNUSED, Flag.UNUSED, Flag.GOOD]


def test_a_bad_source_rejects_what_was_derived_of_it():
    obs = read_observations(near(**{PS: [101000.0, 97500.0, 96000.0], T2: [372.0, 285.0, 285.0]}))
    assert obs[f"{PM}_flag"].values[0] == Flag.OUT_OF_RANGE
    assert obs[f"{PM}_flag"].values[1] == Flag.GOOD


def test_errors_follow_by_the_derivative(rng):
    frame = aloft(**{RH: 0.6, T: 280.0, f"{RH}_error": 0.05, f"{T}_error": 0.5})
    obs = read_observations(frame)
    draws = formulas.specific_humidity_of_relative(
        0.6 + 0.05 * rng.standard_normal(400_000), 280.0 + 0.5 * rng.standard_normal(400_000), 85000.0
    )
    assert float(obs[f"{Q}_error"][0]) == pytest.approx(draws.std(), rel=0.01)
    frame = near(**{PS: 97500.0, T2: 285.0, f"{PS}_error": 50.0, f"{T2}_error": 1.0})
    draws = formulas.sea_level_pressure(
        97500.0 + 50.0 * rng.standard_normal(400_000), 285.0 + rng.standard_normal(400_000), 300.0
    )
    assert float(read_observations(frame)[f"{PM}_error"][1]) == pytest.approx(draws.std(), rel=0.01)


def test_where_the_error_of_a_derived_report_comes_from():
    frame = aloft(**{TD: 280.0})
    # What is told for the quantity itself comes first; else that of its source.
    assert float(read_observations(frame, error={TD: 1.0, Q: 1e-3})[f"{Q}_error"][0]) == 1e-3
    followed = float(read_observations(frame, error={TD: 1.0})[f"{Q}_error"][0])
    assert 2e-4 < followed < 1e-3
    own = read_observations(frame.assign(**{f"{TD}_error": 1.0}), error={TD: 5.0, Q: 1e-3})
    assert float(own[f"{Q}_error"][0]) == pytest.approx(followed)


def test_errors_of_wind_with_that_of_the_direction(rng):
    s, d = 10.0, 30.0
    frame = near(wind_speed=s, wind_direction=d, wind_speed_error=1.0, wind_direction_error=10.0)
    obs = read_observations(frame)
    speed, angle = s + rng.standard_normal(400_000), np.deg2rad(d + 10.0 * rng.standard_normal(400_000))
    for name, sampled in (("u", -speed * np.sin(angle)), ("v", -speed * np.cos(angle))):
        assert float(obs[f"10m_{name}_component_of_wind_error"][0]) == pytest.approx(sampled.std(), rel=0.03)


def test_nothing_is_derived_where_it_is_not_wanted():
    obs = read_observations(aloft(**{TD: 280.0}), derive=False)
    assert Q not in obs
    # And not when the result is read again, as `assimilate` does.
    assert Q not in read_observations(obs)


def test_what_was_derived_is_not_derived_again():
    obs = read_observations(near(**{PS: [101000.0, 97500.0, 80000.0], T2: 285.0}), error="ecmwf-like")
    again = read_observations(obs)
    assert again.identical(obs)


def test_lazy_sources_give_lazy_derived_values():
    obs = read_observations(near(**{PS: [101000.0, 97500.0, 80000.0], T2: 285.0}), derive=False)
    del obs.attrs["derived"]

    def refuse(block):
        raise AssertionError("computed")

    lazy = obs.copy()
    for name in (PS, T2):
        values = da.from_array(obs[name].values, chunks=2).map_blocks(refuse, dtype=float, meta=np.empty(0))
        lazy[name] = ("obs", values, obs[name].attrs)
    found = read_observations(lazy)
    assert found[PM].chunks is not None and found[f"{PM}_flag"].chunks is not None
    eager = read_observations(obs)
    assert read_observations(obs.chunk(obs=2)).compute().identical(eager)


def test_every_conversion_is_tested_here():
    assert len(CONVERSIONS) == 8
    frame = near(**{PS: 100000.0, T2: 285.0, "d2m": 280.0})
    by_dewpoint = read_observations(frame)["2m_specific_humidity"]
    np.testing.assert_allclose(by_dewpoint, formulas.specific_humidity(280.0, 1e5))
    by_relative = read_observations(near(**{PS: 100000.0, T2: 285.0, "rh": 0.7}))["2m_specific_humidity"]
    np.testing.assert_allclose(by_relative, formulas.specific_humidity_of_relative(0.7, 285.0, 1e5))
