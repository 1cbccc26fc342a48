"""User-defined quantities: observed, not in the vocabulary, and made by a function of the state.

They are kept in the units that they come in, and marked, so that a Dataset with them is in the schema.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from xappa.errors import ObservationError, UnitsError
from xappa.observations.names import QUANTITIES, find_quantity
from xappa.observations.units import find_conversion

OF_OPERATOR = "operator"
"""Units that say: those of what the operator returns."""

_MARK, _OWN = "vocabulary", "own"
_FROM = "units_from"
_KEPT = ("standard_name", "long_name", "cell_methods", "comment")


def is_user_defined(variable: xr.DataArray) -> bool:
    """Whether a variable was kept as a user-defined quantity."""
    return variable.attrs.get(_MARK) == _OWN


def user_defined_names(names: object) -> set[str]:
    """Names, of a mapping by quantity, that the vocabulary does not have."""
    return {str(name) for name in names if find_quantity(str(name)) is None} if isinstance(names, Mapping) else set()


def build_user_attrs(attrs: Mapping[str, Any], units: str | None) -> dict[str, Any]:
    """Attributes of a user-defined quantity.

    Parameters
    ----------
    attrs : mapping
        Attributes of the variable in the source.
    units : str or None
        Its units, ``"operator"`` for those of the operator's result, None where nothing tells.
    """
    kept = {key: attrs[key] for key in _KEPT if key in attrs} | {_MARK: _OWN}
    if units == OF_OPERATOR or (units is None and attrs.get(_FROM) == OF_OPERATOR):
        return kept | {_FROM: OF_OPERATOR}
    return kept if units is None else {"units": units, **kept}


def get_target_units(variable: xr.DataArray) -> str:
    """Units that a result is brought to: ``""`` where they are not known, ``"operator"`` for its own."""
    return str(variable.attrs.get("units", variable.attrs.get(_FROM, "")))


def require_units(obs: xr.Dataset, names: Iterable[str]) -> None:
    """Refuse user-defined quantities that are used and have no units.

    Raises
    ------
    UnitsError
        With what to do, for all of them.
    """
    missing = [name for name in names if name not in QUANTITIES and not get_target_units(obs[name])]
    if missing:
        name = missing[0]
        raise UnitsError(
            f"{', '.join(missing)}: observed without units, and not in xappa's vocabulary, which would tell them. Give "
            f"them: obs[{name!r}].attrs['units'] = '1', or read_observations(obs, units={{{name!r}: '1'}}) ('1' for a "
            f"number without dimension, {OF_OPERATOR!r} for the units of what the operator returns)"
        )


def convert_to_common_units(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Sources with the user's own quantities in the units that they have in the first source.

    Raises
    ------
    UnitsError
        If units of two sources cannot be converted into each other, or only one has some.
    """
    units: dict[str, str] = {}
    result = []
    for part in parts:
        for name in [str(name) for name in part.data_vars if is_user_defined(part[name])]:
            found = get_target_units(part[name])
            wanted = units.setdefault(name, found)
            if found != wanted:
                part = _convert_units(part, name, found, wanted)
        result.append(part)
    return result


def _convert_units(obs: xr.Dataset, name: str, found: str, wanted: str) -> xr.Dataset:
    problem = f"{name}: units {found or 'nothing'!r} in one source and {wanted or 'nothing'!r} in another"
    if not found or not wanted or OF_OPERATOR in (found, wanted):
        raise UnitsError(f"{problem}; expected units in both: units={{{name!r}: '1'}}, or the attribute 'units'")
    try:
        convert = find_conversion(found, wanted)
    except UnitsError as reason:
        raise UnitsError(f"{problem}: {reason}") from reason
    obs = obs.assign({name: convert.convert(obs[name]).assign_attrs(obs[name].attrs | {"units": wanted})})
    if f"{name}_error" in obs:
        error = obs[f"{name}_error"]
        obs = obs.assign({error.name: convert.convert_deviation(error).assign_attrs(error.attrs | {"units": wanted})})
    return obs


def is_report_variable(variable: xr.DataArray, places: Collection[object]) -> bool:
    """Whether a variable of numbers lies along all dimensions of the reports' places."""
    return variable.dtype.kind in "iuf" and set(places) <= set(variable.dims)


def require_one_unit(name: str, units: Iterable[str]) -> str:
    """The units that all rows of a quantity share; ``""`` for none.

    Raises
    ------
    ObservationError
    """
    found = sorted(set(units))
    if len(found) > 1:
        listed = ", ".join(repr(unit) if unit else "none" for unit in found)
        raise ObservationError(f"{name}: rows in several units ({listed}); expected one for a quantity of your own")
    return found[0] if found else ""
