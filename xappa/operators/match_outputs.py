"""Match of the fields that a function returned to observed quantities and their units."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import xarray as xr

from xappa.errors import OperatorError, UnitsError
from xappa.observations.names import find_quantity
from xappa.observations.units import UnitConversion, find_conversion
from xappa.observations.user_variables import OF_OPERATOR

ONLY = "the result"


def name_fields(result: Any, function: str) -> dict[str, xr.DataArray]:
    """Fields of a result by name.

    Raises
    ------
    OperatorError
        If the result is neither a DataArray nor a Dataset with variables.
    """
    if isinstance(result, xr.DataArray):
        return {str(result.name) if result.name is not None else ONLY: result}
    if isinstance(result, xr.Dataset) and result.data_vars:
        return {str(name): field for name, field in result.data_vars.items()}
    found = "a Dataset without variables" if isinstance(result, xr.Dataset) else f"{type(result).__name__}"
    raise OperatorError(
        f"{function} returned {found}; expected an xarray DataArray, or a Dataset with one variable for each observed "
        "one. Does it return anything?"
    )


def match_fields(
    result: Mapping[str, xr.DataArray],
    single: bool,
    candidates: Sequence[str],
    users: Mapping[str, str],
    function: str,
    spare: Collection[str] = (),
) -> dict[str, str]:
    """Observed quantity that each field is compared with.

    Parameters
    ----------
    result : mapping
        From `name_fields`.
    single : bool
        Whether a DataArray was returned: it goes with the only observed quantity whatever its name.
    candidates : sequence of str
        Observed quantities that have good reports.
    users : mapping
        The user's names of variables -> WeatherBench names.
    function : str
        For messages.
    spare : collection of str
        Candidates that only a result of their name is compared with.

    Returns
    -------
    dict
        Name in the result -> observed quantity.

    Raises
    ------
    OperatorError
        If nothing corresponds, or what does is not clear.
    """
    listed = ", ".join(map(repr, candidates)) or "none with a good report"
    pairs: dict[str, str] = {}
    for name in result:
        known = [name, users.get(name, ""), find_quantity(name) or ""]
        found = next((candidate for candidate in candidates if candidate in known), None)
        if found is not None:
            pairs[name] = found
    twice = sorted({target for target in pairs.values() if list(pairs.values()).count(target) > 1})
    if twice:
        raise OperatorError(
            f"{function} returned several variables for {', '.join(twice)}: {', '.join(pairs)}; keep one of each"
        )
    if pairs:
        return pairs
    name = next(iter(result))
    meant = [candidate for candidate in candidates if candidate not in spare] or candidates
    if single and len(meant) == 1:
        return {name: meant[0]}
    if single:
        text = f"a DataArray named {name!r}" if name != ONLY else "a DataArray without a name"
        raise OperatorError(
            f"{function} returned {text}, and it is not clear what it is compared with: observed are {listed}. Name it "
            "(.rename('...')), or select one variable, as in obs[['10m_wind_speed']]"
        )
    raise OperatorError(
        f"No variable that {function} returned was observed: found {', '.join(map(repr, result))}; observed are "
        f"{listed}. Rename the variables of the result like the observed ones"
    )


def make_result_conversion(field: xr.DataArray, observed: str, name: str, function: str) -> UnitConversion:
    """Map from the units of a result, where it has some, to those of the observations.

    Raises
    ------
    OperatorError
    """
    units = field.attrs.get("units")
    if observed == OF_OPERATOR:
        if units is None:
            raise OperatorError(
                f"{function} returned {name} without units, and those of the observations are said to be the same: set "
                "them with .assign_attrs(units='...'), or tell those of the observations"
            )
        return UnitConversion()
    if units is None or not observed:
        return UnitConversion()
    try:
        return find_conversion(str(units), observed)
    except UnitsError as error:
        raise OperatorError(
            f"{function}: {error}, in which {name} was observed. xarray keeps the attributes of what a field was "
            f"made of: set the right units with .assign_attrs(units={observed!r})"
        ) from error
