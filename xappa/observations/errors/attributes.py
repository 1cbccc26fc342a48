"""Attributes on correlated errors: of all reports or source by source, and joined where sources are.

The attribute ``error_correlation`` (JSON) of a quantity holds the options of one `Correlation`, or those of each source
under ``by_source`` (null: independent). The coordinate of the same name has the number of the statement that holds for
a report, ``statement`` in the attribute: xarray's `concat` keeps the attributes of the first part alone, but all
coordinates, so that reports of which something else was said are known by it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import ObservationError

ATTRIBUTE = "error_correlation"
_BY_SOURCE, _STATEMENT = "by_source", "statement"
_ABOUT = {"long_name": "Number of the statement on correlated errors that holds for the report"}

Options = dict[str, Any]


def format_correlation_attr(said: Options | Mapping[str, Options | None], by_source: bool) -> str:
    """The attribute."""
    return json.dumps({_BY_SOURCE: dict(said)} if by_source else dict(said))


def number_statements(obs: xr.Dataset) -> xr.Dataset:
    """Observations of which all reports and attributes have the number of what is said, if anything is."""
    said = {str(name): obs[name].attrs[ATTRIBUTE] for name in obs.data_vars if ATTRIBUTE in obs[name].attrs}
    options = {name: {k: v for k, v in json.loads(words).items() if k != _STATEMENT} for name, words in said.items()}
    obs = obs.drop_vars(ATTRIBUTE, errors="ignore")
    if not options:
        return obs
    number = zlib.crc32(json.dumps(options, sort_keys=True).encode())
    for name, own in options.items():
        obs[name] = obs[name].assign_attrs({ATTRIBUTE: json.dumps(own | {_STATEMENT: number})})
    return obs.assign_coords({ATTRIBUTE: ("obs", np.full(obs.sizes["obs"], number, np.int64), _ABOUT)})


def parse_correlation_attr(variable: xr.DataArray) -> tuple[Options | None, dict[str, Options | None]]:
    """Attributes on correlated errors of all reports of a quantity, and of those of each source."""
    if ATTRIBUTE not in variable.attrs:
        return None, {}
    options = json.loads(variable.attrs[ATTRIBUTE])
    options.pop(_STATEMENT, None)
    return (None, options[_BY_SOURCE]) if _BY_SOURCE in options else (options, {})


def get_sources(obs: xr.Dataset) -> Array:
    """Source of each report, text (obs,); empty where there is none."""
    if "source" not in obs.coords:
        return np.full(obs.sizes["obs"], "", object)
    return np.array([str(label) for label in obs["source"].values], object)


def require_correlation_stated(obs: xr.Dataset, names: Iterable[str]) -> None:
    """Refuse observations with other reports than those of which something is said.

    Raises
    ------
    ObservationError
    """
    for name in names:
        if ATTRIBUTE not in obs[name].attrs:
            continue
        number, by_source = json.loads(obs[name].attrs[ATTRIBUTE]).get(_STATEMENT), parse_correlation_attr(obs[name])[1]
        found = obs[ATTRIBUTE].values if ATTRIBUTE in obs.coords and number is not None else np.zeros(0)
        others = sorted(set(get_sources(obs)) - set(by_source)) if by_source else []
        if (found != number).any() or others:
            which = (
                f"the source {', '.join(map(repr, others))}" if others else f"{int((found != number).sum())} reports"
            )
            raise ObservationError(
                f"{name}: what is said of correlated errors ({ATTRIBUTE}) is not said of {which}. Join observations "
                "with xappa.read_observations([a, b]), which keeps what each says of its own (xarray.concat keeps the "
                "attributes of the first), or state it of all of them: xappa.observations.with_correlation"
            )


def label_sources(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Parts that are sources of their own: labelled, where any says something of correlated errors and has no label."""
    if len(parts) == 1 or not any(ATTRIBUTE in variable.attrs for part in parts for variable in part.values()):
        return list(parts)
    return [
        part if "source" in part.coords else part.assign_coords(source=("obs", [f"unnamed {k}"] * part.sizes["obs"]))
        for k, part in enumerate(parts, 1)
    ]


def separate_sources(parts: Sequence[xr.Dataset], names: Sequence[str]) -> list[xr.Dataset]:
    """Parts of observations of which every source has a label of its own, where they differ in what they say.

    Parts without labels that say the same are one source in pieces.
    """
    for part in parts:
        require_correlation_stated(part, [name for name in names if name in part])
    whole = [
        {name: parse_correlation_attr(part[name])[0] if name in part else None for name in names} for part in parts
    ]
    labelled = any("source" in part.coords for part in parts)
    if not labelled and all(one == whole[0] for one in whole):
        return list(parts)
    known: dict[str, dict[str, Options | None]] = {}
    result = []
    for part in parts:
        labels = get_sources(part)
        renamed = labels.copy()
        for label in dict.fromkeys(labels):
            # What a named source does not report here, it may say elsewhere.
            own = {
                name: _get_source_options(part, name, label)
                for name in (_select_present(part, names) if label else names)
            }
            renamed[labels == label] = _find_free_label(label, own, known)
        result.append(part.assign_coords(source=("obs", renamed.astype(str))))
    return result


def merge_correlation_attrs(parts: Sequence[xr.Dataset], apart: Sequence[xr.Dataset], name: str) -> str | None:
    """The attribute of a quantity in `parts` joined, which are labelled as in `apart`; None if nothing is said."""
    own = [part for part in parts if name in part and ATTRIBUTE in part[name].attrs]
    if not own:
        return None
    if all(new is old for new, old in zip(apart, parts, strict=True)):
        return format_correlation_attr(parse_correlation_attr(own[0][name])[0] or {}, by_source=False)
    said: dict[str, Options | None] = {}
    for old, new in zip(parts, apart, strict=True):
        for before, label in dict.fromkeys(zip(get_sources(old), get_sources(new), strict=True)):
            said[label] = _get_source_options(old, name, before) if name in old else said.get(label)
    return format_correlation_attr(said, by_source=True)


def _select_present(part: xr.Dataset, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in part]


def _get_source_options(part: xr.Dataset, name: str, label: str) -> Options | None:
    whole, by_source = parse_correlation_attr(part[name]) if name in part else (None, {})
    return by_source.get(label, whole)


def _find_free_label(label: str, own: dict[str, Options | None], known: dict[str, dict[str, Options | None]]) -> str:
    """A label of which nothing else is known than `own`, which is noted: the given one, or with a number."""
    number = 1
    while True:
        wanted = label if label and number == 1 else f"{label or 'unnamed'} {number}"
        said = known.setdefault(wanted, {})
        if all(said.get(name, options) == options for name, options in own.items()):
            said.update(own)
            return wanted
        number += 1
