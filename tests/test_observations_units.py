"""Units of reports: exact conversions, deviations, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xappa.errors import UnitsError
from xappa.observations.units import UnitConversion, find_conversion, find_conversions


@pytest.mark.parametrize(
    ("found", "expected", "given", "converted"),
    [
        ("K", "K", 280.0, 280.0),
        ("degC", "K", 20.0, 293.15),
        ("celsius", "K", 0.0, 273.15),
        ("°C", "K", -40.0, 233.15),
        ("C", "K", 1.0, 274.15),
        ("degF", "K", 32.0, 273.15),
        ("hPa", "Pa", 1013.25, 101325.0),
        ("mbar", "Pa", 1000.0, 100000.0),
        ("mb", "Pa", 1.0, 100.0),
        ("Pa", "hPa", 85000.0, 850.0),
        ("m s**-1", "m s-1", 3.0, 3.0),
        ("m/s", "m s-1", 3.0, 3.0),
        ("m.s-1", "m s-1", 3.0, 3.0),
        ("m·s-1", "m s-1", 3.0, 3.0),
        ("m.s**-1", "m s-1", 3.0, 3.0),
        ("m s⁻¹", "m s-1", 3.0, 3.0),
        ("m2.s-2", "m2 s-2", 100.0, 100.0),
        ("knots", "m s-1", 36.0, 36.0 * 1852.0 / 3600.0),
        ("kt", "m s-1", 36.0, 36.0 * 1852.0 / 3600.0),
        ("km/h", "m s-1", 36.0, 10.0),
        ("mm", "m", 2.5, 0.0025),
        ("kg m-2", "m", 2.5, 0.0025),
        ("kg m**-2", "m", 2.5, 0.0025),
        ("gpm", "m2 s-2", 100.0, 980.665),
        ("m**2 s**-2", "m2 s-2", 100.0, 100.0),
        ("g/kg", "kg kg-1", 5.0, 0.005),
        ("1", "kg kg-1", 0.005, 0.005),
        ("degrees_north", "degree", 45.0, 45.0),
        ("radian", "degree", np.pi, 180.0),
        ("ft", "m", 1000.0, 304.8),
        ("Kelvin", "K", 280.0, 280.0),
        ("kelvins", "K", 280.0, 280.0),
        ("deg c", "K", 0.0, 273.15),
        ("degrees_Celsius", "K", 0.0, 273.15),
        ("degree_Celsius", "K", 0.0, 273.15),
        ("degree_C", "K", 0.0, 273.15),
        ("degrees C", "K", 0.0, 273.15),
        ("degreeC", "K", 0.0, 273.15),
        ("degrees_F", "K", 32.0, 273.15),
        ("degrees Fahrenheit", "K", 32.0, 273.15),
        ("hectoPascal", "Pa", 1013.25, 101325.0),
        ("hectopascals", "Pa", 1013.25, 101325.0),
        ("Pascal", "hPa", 85000.0, 850.0),
        ("degrees true", "degree", 45.0, 45.0),
        ("degreesT", "degree", 45.0, 45.0),
    ],
)
def test_conversions_are_exact(found, expected, given, converted):
    assert find_conversion(found, expected).convert(given) == pytest.approx(converted, rel=1e-14)


def test_a_deviation_of_one_degree_celsius_is_one_kelvin():
    assert find_conversion("degC", "K").convert_deviation(1.0) == 1.0
    assert find_conversion("degF", "K").convert_deviation(9.0) == pytest.approx(5.0, rel=1e-14)
    assert find_conversion("hPa", "Pa").convert_deviation(1.0) == 100.0


def test_values_in_the_right_units_are_not_even_copied():
    values = np.arange(3.0)
    assert find_conversion("K", "K").convert(values) is values


@pytest.mark.parametrize("direction", ["north", "east", "N", "E"])
@pytest.mark.parametrize("degree", ["degree", "degrees", "degree_", "degrees_"])
def test_degrees_of_latitude_and_longitude_as_cf_writes_them(degree, direction):
    assert find_conversion(f"{degree}{direction}", "degree") == UnitConversion()


@given(st.floats(-90.0, 60.0))
def test_celsius_is_kelvin_with_an_offset(celsius):
    assert find_conversion("degC", "K").convert(celsius) == celsius + 273.15


@pytest.mark.parametrize("found", ["furlongs per fortnight per", "hPa", "K m-1", "mm/h", "0 K", "degC*10"])
def test_units_that_do_not_fit_name_variable_units_and_remedy(found):
    with pytest.raises(UnitsError) as error:
        find_conversions([("2m_temperature", found, "K")])
    for part in ("2m_temperature", repr(found), "expected K", "degC", "units={", "rename={"):
        assert part in str(error.value)


def test_the_example_of_the_remedy_fits_the_quantity():
    with pytest.raises(UnitsError, match=r"units=\{'<name>': 'degree'\}"):
        find_conversions([("latitude", "degrees_west", "degree"), ("2m_temperature", "Pa", "K")])


def test_all_wrong_units_are_told_at_once():
    with pytest.raises(UnitsError, match=r"(?s)2m_temperature.*mean_sea_level_pressure"):
        find_conversions([("2m_temperature", "Pa", "K"), ("mean_sea_level_pressure", "K", "Pa")])


def test_the_application_registry_stays_as_it_was():
    import pint

    before = pint.get_application_registry().get()
    assert find_conversion("kt", "m s-1") == UnitConversion(float(f"{1852.0 / 3600.0:.15g}"))
    assert pint.get_application_registry().get() is before
