"""What reading had to assume where a source says nothing: kept as attributes, and said once or refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable

import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError, UnitsWarning
from xappa.observations.names import QUANTITIES

ASSUMPTIONS = "assumptions"
"""Attribute of observations that lists sentences on what was assumed, beside units (JSON)."""

UNITS_ASSUMED = "units_assumed"
"""Attribute of observations that names quantities whose units were assumed (blanks between)."""


def with_assumption(obs: xr.Dataset, text: str) -> xr.Dataset:
    """`obs` with one more sentence on what was assumed, and how to say otherwise."""
    return obs.assign_attrs({ASSUMPTIONS: json.dumps(list(dict.fromkeys([*assumptions_of(obs), text])))})


def with_assumptions(obs: xr.Dataset, texts: Iterable[str]) -> xr.Dataset:
    """`obs` with more sentences on what was assumed."""
    for text in texts:
        obs = with_assumption(obs, text)
    return obs


def assumptions_of(obs: xr.Dataset) -> list[str]:
    """Sentences on what was assumed as `obs` was read, without those on units."""
    return list(json.loads(obs.attrs.get(ASSUMPTIONS, "[]")))


def tell(obs: xr.Dataset, before: xr.Dataset | None, strict: bool, stacklevel: int = 3) -> None:
    """Say what was assumed: one warning for units, one for each other assumption.

    Parameters
    ----------
    obs : Dataset
        Observations as they were read.
    before : Dataset or None
        The source, where it is a Dataset: what it says already is not said again.
    strict : bool
        Whether to refuse instead.
    stacklevel : int, default 3
        Frames between this function and the line to blame.

    Raises
    ------
    ObservationError
        If `strict` and anything was assumed: all of it.
    """
    known = xr.Dataset() if before is None else before
    names = _names_without_units(obs)
    units = [name for name in names if name not in _names_without_units(known)]
    texts = [text for text in assumptions_of(obs) if text not in assumptions_of(known)]
    said: list[tuple[str, type[Warning]]] = [(text, AssumptionWarning) for text in texts]
    if units:
        assumed = ", ".join(f"{name} ({QUANTITIES[name].units})" for name in units)
        example = f"units={{{units[0]!r}: {QUANTITIES[units[0]].units!r}}}"
        said.insert(0, (f"Units are not given, and assumed, of {assumed}. Say them: {example}", UnitsWarning))
    if said and strict:
        raise ObservationError(f"strict=True: nothing may be assumed. {'; '.join(text for text, _ in said)}")
    for text, category in said:
        warnings.warn(text, category, stacklevel=stacklevel)


def _names_without_units(obs: xr.Dataset) -> list[str]:
    return [name for name in str(obs.attrs.get(UNITS_ASSUMED, "")).split() if name in QUANTITIES]
