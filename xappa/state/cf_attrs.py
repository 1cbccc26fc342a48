"""CF attributes of a field in the units in which a user keeps it."""

from __future__ import annotations

from xappa.errors import UnitsError
from xappa.grids.variable_encoding import PRECIPITATION, VariableEncoding
from xappa.observations.units import find_conversion
from xappa.state.units import make_conversion
from xappa.vocabulary import VARIABLES

# Masses first: they would pass for thicknesses.
_PRECIPITATION = (
    ("kg m-2 s-1", "precipitation_flux", "mean"),
    ("kg m-2", "precipitation_amount", "sum"),
    ("m s-1", "lwe_precipitation_rate", "mean"),
    ("m", "lwe_thickness_of_precipitation_amount", "sum"),
)


def make_cf_attributes(name: str, written: VariableEncoding | None = None) -> dict[str, str]:
    """CF attributes of the quantity `name`, as `written`.

    Parameters
    ----------
    name : str
        WeatherBench name.
    written : VariableEncoding, optional
        Default: in the units of the vocabulary.

    Returns
    -------
    dict
        ``units``, ``standard_name``, ``long_name`` and ``cell_methods``. Heights of geopotentials, and masses and rates
        of precipitation, have standard names of their own.
    """
    if name not in VARIABLES:
        return {"long_name": name.replace("_", " ")}
    attrs = VARIABLES[name].attrs
    if written is None or written.units is None:
        return attrs
    attrs["units"] = written.units
    if name == "geopotential" and _is_convertible(written.units, "m"):
        attrs |= {"standard_name": "geopotential_height", "long_name": "Geopotential height"}
    if name in PRECIPITATION:
        standard, method = next((s, m) for units, s, m in _PRECIPITATION if _is_convertible(written.units, units))
        interval = attrs["cell_methods"].partition(" (")[2]
        attrs |= {"standard_name": standard, "cell_methods": f"time: {method} ({interval}"}
    return attrs


def find_output_problems(names: dict[str, VariableEncoding], known: dict[str, str]) -> list[str]:
    """Variables that cannot be given in the user's units: user's name -> notation, and -> WeatherBench name."""
    problems = []
    for user, written in names.items():
        try:
            make_conversion(written, known[user])
        except UnitsError as error:
            problems.append(f"variable {user!r} ({known[user]}): {error}".replace("ds[...]", f"ds[{user!r}]"))
    return problems


def _is_convertible(found: str, expected: str) -> bool:
    try:
        find_conversion(found, expected)
    except UnitsError:
        return False
    return True
