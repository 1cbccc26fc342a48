"""Quantities of which reading rejects everything for one reason: said once, with the usual cause."""

from __future__ import annotations

import json

import numpy as np
import xarray as xr

from xappa.errors import RejectionWarning, warn
from xappa.observations.flags import Flag, flags_of
from xappa.observations.names import QUANTITIES
from xappa.observations.schema import quantities
from xappa.observations.units import find_conversion
from xappa.vocabulary import Variable

_UNITS = {
    "K": ("degC", "degF", "0.1 degC", "0.1 K"),
    "Pa": ("hPa", "kPa", "inHg", "mmHg", "0.1 hPa"),
    "m": ("mm", "0.1 mm", "inch"),
    "m s-1": ("0.1 m s-1", "km/h"),
    "1": ("percent",),
    "kg kg-1": ("g/kg",),
    "m2 s-2": ("m",),
    "degree": ("radian",),
}
"""Units that values often have where those of the key are assumed, the most frequent first."""

_CAUSES = {
    Flag.MISSING_PLACE: "no report has a usable place: a column of latitude, longitude or level is empty or in other "
    "units, or the table of stations does not have these stations",
    Flag.MISSING_TIME: "no time can be read: a column of times is empty or in another form than ISO 8601",
    Flag.REJECTED_BY_SOURCE: "the source itself marks all of them as wrong",
    Flag.PERIOD_UNKNOWN: "the source does not say over which periods they are",
    Flag.WRONG_HEIGHT: "they are at another height than the quantity",
}
_SHARE = 0.9


def warn_of_rejections(obs: xr.Dataset, before: xr.Dataset | None) -> None:
    """Warn, once, of quantities of which every value is rejected for one and the same reason.

    Lazy values are not looked at, nor what was derived from others, nor what is used in another form.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema, checked.
    before : Dataset or None
        The source, where it is a Dataset: flags that it has are known to the caller.
    """
    known = set() if before is None else set(map(str, before.variables))
    names = [name for name in quantities(obs) if f"{name}_flag" not in known and "derived_from" not in obs[name].attrs]
    texts = [
        text
        for name in names
        if (text := _describe_rejection(obs, name) or _describe_unreadable(obs, name)) is not None
    ]
    if texts:
        warn(f"All values are rejected of {'; of '.join(texts)}", RejectionWarning)


def _describe_rejection(obs: xr.Dataset, name: str) -> str | None:
    """Message on a quantity whose values are all rejected for one reason; None if they are not."""
    flags = flags_of(obs, name)
    if obs[name].chunks is not None or flags.chunks is not None:
        return None
    values = obs[name].values[np.isfinite(obs[name].values)]
    reasons = np.unique(flags.values[obs[name].notnull().values])
    if not values.size or len(reasons) != 1 or reasons[0] in (Flag.GOOD, Flag.UNUSED):
        return None
    reason = Flag(int(reasons[0]))
    cause = _describe_range(name, values) if reason == Flag.OUT_OF_RANGE else _CAUSES.get(reason, "")
    return f"{name} ({values.size}, {reason.name.lower()}{f': {cause}' if cause else ''})"


def _describe_unreadable(obs: xr.Dataset, name: str) -> str | None:
    """Message on a quantity that has values, none of which is a number; None if it has numbers."""
    count = json.loads(str(obs.attrs.get("unreadable_values", "{}"))).get(name, 0)
    if not count or obs[name].chunks is not None or obs[name].notnull().any():
        return None
    return (
        f"{name} ({count}, unreadable: none is a number, but a code for a missing one, or has a decimal comma, a comma "
        "of thousands, or units in it)"
    )


def _describe_range(name: str, values: np.ndarray) -> str:
    """Message on the values found, those expected, and the units that would explain them."""
    quantity = QUANTITIES.get(name)
    if quantity is None:
        return ""
    found = f"{values.min():g} to {values.max():g}, expected {quantity.valid_min:g} to {quantity.valid_max:g} "
    found += quantity.units
    fitting = [units for units in _UNITS.get(quantity.units, ()) if _explains_values(values, units, quantity)]
    if fitting:
        others = f" (or in {', '.join(fitting[1:])})" if fitting[1:] else ""
        return f"{found}. They are probably in {fitting[0]}: units={{{name!r}: {fitting[0]!r}}}{others}"
    return f"{found}. Their column or its units are probably wrong: say them with rename= or units="


def _explains_values(values: np.ndarray, units: str, quantity: Variable) -> bool:
    """Whether nearly all values would be in the quantity's range if they were in other units."""
    converted = find_conversion(units, quantity.units).convert(values)
    inside = (converted >= quantity.valid_min) & (converted <= quantity.valid_max)
    return bool(inside.mean() >= _SHARE)
