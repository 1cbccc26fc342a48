"""What reading had to assume where a source says nothing: kept as attributes, and said once or refused."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError, UnitsWarning, warn
from xappa.observations.names import QUANTITIES

ASSUMPTIONS = "assumptions"
"""Attribute of observations that lists sentences on what was assumed, beside units (JSON)."""

UNITS_ASSUMED = "units_assumed"
"""Attribute of observations that names quantities whose units were assumed (blanks between)."""

UNITS_READ = "units_read"
"""Attribute of a quantity with the units that its source told (commas between, where there were several)."""


def with_units_read(obs: xr.Dataset, units: Mapping[str, str | Iterable[str] | None]) -> xr.Dataset:
    """`obs` with the units that the source states for some quantities; None or empty where it states none."""
    for name, found in units.items():
        told = [found] if isinstance(found, str) else list(found or ())
        if told and name in obs:
            obs[name].attrs[UNITS_READ] = ", ".join(dict.fromkeys(told))
    return obs


def with_assumption(obs: xr.Dataset, text: str) -> xr.Dataset:
    """`obs` with one more sentence on what was assumed, and how to say otherwise."""
    return obs.assign_attrs({ASSUMPTIONS: json.dumps(list(dict.fromkeys([*get_assumptions(obs), text])))})


def with_assumptions(obs: xr.Dataset, texts: Iterable[str]) -> xr.Dataset:
    """`obs` with more sentences on what was assumed."""
    for text in texts:
        obs = with_assumption(obs, text)
    return obs


def get_assumptions(obs: xr.Dataset) -> list[str]:
    """Sentences on what was assumed as `obs` was read, without those on units."""
    return list(json.loads(obs.attrs.get(ASSUMPTIONS, "[]")))


@dataclass
class AssumptionLog:
    """What was assumed as one or several sources were read, and was not said before.

    Parameters
    ----------
    units : list of str
        Quantities whose units were assumed.
    texts : list of str
        Sentences on everything else.
    """

    units: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, obs: xr.Dataset, source: object = None) -> xr.Dataset:
        """Take note of what `obs`, read from `source`, assumes; what the source, a Dataset, says itself is known."""
        before = source if isinstance(source, xr.Dataset) else xr.Dataset()
        known = [*_list_names_without_units(before), *get_assumptions(before)]
        self.units += [name for name in _list_names_without_units(obs) if name not in known]
        self.texts += [text for text in get_assumptions(obs) if text not in known]
        return obs

    def warn(self, strict: bool = False, already_warned: set[str] | None = None) -> None:
        """Say what was assumed: one warning for units, one for each other assumption.

        Parameters
        ----------
        strict : bool, default False
            Whether to refuse instead.
        already_warned : set of str, optional
            What was said already, and is not said again; what is said now is added.

        Raises
        ------
        ObservationError
            If `strict` and anything was assumed: all of it.
        """
        already_warned = set() if already_warned is None else already_warned
        said = [(text, category) for text, category in self._list_messages() if text not in already_warned]
        if said and strict:
            raise ObservationError(f"strict=True: nothing may be assumed. {'; '.join(text for text, _ in said)}")
        already_warned.update(text for text, _ in said)
        for text, category in said:
            warn(text, category)

    def _list_messages(self) -> Iterator[tuple[str, type[Warning]]]:
        if units := list(dict.fromkeys(self.units)):
            assumed = ", ".join(f"{name} ({QUANTITIES[name].units})" for name in units)
            example = f"units={{{units[0]!r}: {QUANTITIES[units[0]].units!r}}}"
            yield f"Units are not given, and assumed, of {assumed}. Say them: {example}", UnitsWarning
        for text in dict.fromkeys(self.texts):
            yield text, AssumptionWarning


def _list_names_without_units(obs: xr.Dataset) -> list[str]:
    return [name for name in str(obs.attrs.get(UNITS_ASSUMED, "")).split() if name in QUANTITIES]
