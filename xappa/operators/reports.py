"""Checks of observations before an operator is applied, and the flags that it sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import NoReportsError, ObservationError, suggest_names
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag, flag_attrs
from xappa.observations.schema import quantities

if TYPE_CHECKING:
    from xappa.operators.composite import CompositeOperator
    from xappa.operators.sparse import SparseOperator


def is_good(flag: Array, value: Array) -> Array:
    """Reports that are there and not rejected."""
    return (flag == Flag.GOOD) & np.isfinite(value)


def reject(flag: Array, value: Array, wrong: Array, reason: Array | Flag) -> None:
    """Give good reports that are `wrong` their reason, in place."""
    np.copyto(flag, np.asarray(reason, flag.dtype), where=wrong & is_good(flag, value))


def to_seconds(times: Array, since: np.datetime64) -> Array:
    """Seconds from `since`, NaN for NaT."""
    return (times - since) / np.timedelta64(1, "s")


def get_flags(obs: xr.Dataset, name: str) -> Array:
    """The flags that a quantity has already; good where there are none."""
    key = f"{name}_flag"
    return np.array(obs[key].values, np.int8) if key in obs else np.zeros(obs.sizes["obs"], np.int8)


def get_errors(obs: xr.Dataset, name: str) -> Array:
    """Standard deviations of the errors of a quantity; NaN where there are none."""
    key = f"{name}_error"
    return np.asarray(obs[key].values, float) if key in obs else np.full(obs.sizes["obs"], np.nan)


def with_flags(obs: xr.Dataset, flags: Mapping[str, Array]) -> xr.Dataset:
    """The observations with ``<name>_flag`` set for every quantity in `flags`."""
    obs = obs.copy()
    for name, flag in flags.items():
        key, standard = f"{name}_flag", obs[name].attrs.get("standard_name")
        attrs = flag_attrs() | {"standard_name": f"{standard} status_flag" if standard else "status_flag"}
        obs[key] = ("obs", flag, attrs)
        ancillary = str(obs[name].attrs.get("ancillary_variables", "")).split()
        obs[name].attrs["ancillary_variables"] = " ".join(dict.fromkeys([*ancillary, key]))
    return obs


def require_schema(obs: xr.Dataset) -> None:
    """Refuse what is not in xappa's CF form.

    Raises
    ------
    ObservationError
    """
    missing = [name for name in ("time", "latitude", "longitude") if name not in obs.coords]
    if "obs" not in obs.dims or missing:
        raise ObservationError(
            f"Found observations with the dimensions ({', '.join(map(str, obs.dims))}) and the coordinates "
            f"({', '.join(map(str, obs.coords))}); expected one dimension 'obs' with the coordinates time, latitude "
            "and longitude: pass them through xappa.read_observations"
        )
    wrong = [name for name in quantities(obs) if obs[name].dims != ("obs",)]
    if wrong:
        raise ObservationError(
            f"Found observed variables with other dimensions than 'obs': {', '.join(wrong)}; expected one number a "
            "report: select one member first"
        )


def require_known(obs: xr.Dataset, names: list[str], spec: StateSpec, known: bool) -> None:
    """Refuse observations of which no quantity is `known`, that is, can be read off the state.

    Raises
    ------
    ObservationError
    """
    if known:
        return
    listed = ", ".join(f"{name!r}{suggest_names(name, spec.variables)}" for name in names) or "none"
    raise ObservationError(
        f"No observed variable is one of the model's: found {listed}; expected any of {', '.join(spec.variables)}: "
        "use xappa.read_observations(..., rename={...})"
    )


def require_inside(obs: xr.Dataset, flags: Mapping[str, Array], reason: Array, times: Array, spec: StateSpec) -> None:
    """Refuse observations of which no good report lies inside the times.

    Raises
    ------
    NoReportsError
        Quoting both ranges, or, where no report is good, why not.
    """
    reported = np.zeros(obs.sizes["obs"], bool)
    for name, flag in flags.items():
        reported |= is_good(flag, np.asarray(obs[name].values, float))
    outside = reason != Flag.GOOD
    if (reported & ~outside).any():
        return
    when = np.asarray(obs["time"].values)[reported & np.isin(reason, (Flag.OUTSIDE_TIMES, Flag.MISSING_TIME))]
    when = when[~np.isnat(when)]
    if not when.size:
        raise _make_unusable_error(obs, flags, reason)
    raise NoReportsError(
        f"No report lies inside the times: found reports from {_format_time(when.min())} to "
        f"{_format_time(when.max())}; expected "
        f"some from {_format_time(times[0])} to {_format_time(times[-1])} (or up to {spec.step_hours / 2:g} h "
        "outside): choose other "
        "times or other observations"
    )


def require_used(obs: xr.Dataset) -> None:
    """Refuse observations of which none is left once they have been read.

    Raises
    ------
    NoReportsError
        With the number of reports by reason.
    """
    found = {name: get_flags(obs, name) for name in quantities(obs)}
    if not any(is_good(flag, np.asarray(obs[name].values, float)).any() for name, flag in found.items()):
        raise _make_unusable_error(obs, found, np.zeros(obs.sizes["obs"], np.int8))


def list_used_names(rows: SparseOperator | CompositeOperator) -> list[str]:
    """Quantities of which any report is read."""
    variable = rows.variable
    return [name for code, name in enumerate(rows.names) if (variable == code).any()]


def _make_unusable_error(obs: xr.Dataset, found: Mapping[str, Array], place: Array) -> NoReportsError:
    """No report can be used: the number of each quantity's by reason, that of its place where it has none."""
    assumed, lines = str(obs.attrs.get("units_assumed", "")).split(), []
    for name, flag in found.items():
        value = np.isfinite(np.asarray(obs[name].values, float))
        reasons, counts = np.unique(np.where(flag == Flag.GOOD, place, flag)[value], return_counts=True)
        listed = [f"{count} {Flag(reason).name.lower()}" for reason, count in zip(reasons, counts, strict=True)]
        units = obs[name].attrs.get("units")
        hint = f" ({units} were assumed: units={{{name!r}: ...}} tells others)" if name in assumed else ""
        hint += f" (error={{{name!r}: ...}} tells the deviation, {units})" if Flag.NO_ERROR in reasons else ""
        lines.append(f"\n- {name}: {', '.join(listed) or 'no value'}{hint}")
    return NoReportsError(
        f"Found no usable report at all:{''.join(lines)}\nExpected at least one that is not rejected: see in the "
        "documentation, under Observations, what the reasons mean"
    )


def _format_time(time: np.datetime64) -> str:
    return np.datetime_as_string(time, unit="m")
