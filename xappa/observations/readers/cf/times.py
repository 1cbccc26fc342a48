"""Times of Datasets that come in parts (``date`` and ``hour``, or ``year``, ``month``, ``day``), joined."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.names import NameMap, find_quantity
from xappa.observations.readers.times import PARTS, find_times

_SPELT = {spelling for spellings in PARTS.values() for spelling in spellings}


def with_times(ds: xr.Dataset, naming: NameMap) -> tuple[xr.Dataset, bool, tuple[str, ...]]:
    """The same with one variable of times, where they come in parts.

    Parameters
    ----------
    ds : Dataset
    naming : NameMap
        What the caller says.

    Returns
    -------
    ds : Dataset
        With the coordinate ``time`` in place of its parts; as given, if a variable has whole times already. Parts along
        several dimensions are joined along all of them.
    dates : bool
        Whether times are dates alone.
    assumed : tuple of str
        Sentences on what was assumed.

    Raises
    ------
    ObservationError
        If a part cannot be understood, or two contradict each other.
    """
    names = [str(name) for name in ds.variables]
    named = [name for name in names if naming.find_coordinate(name) == "time"]
    whole = any(_is_whole(ds[name]) for name in names if name in named or ds[name].attrs.get("standard_name") == "time")
    others = [n for n in names if n not in named and naming.find_coordinate(n) is None and _may_be_part(n, naming)]
    if whole or not (named or others) or any(naming.find_units(name, "time") for name in named):
        return ds, False, ()
    parts = xr.broadcast(*(ds[name].reset_coords(drop=True) for name in (*named, *others)))
    if not parts[0].size:
        return ds, False, ()
    table = {str(part.name): _to_series(part) for part in parts}
    found = find_times(table, named, others, naming.rename)
    if found is None:
        return ds, False, ()
    times = xr.Variable(parts[0].dims, found.times.reshape(parts[0].shape), {"standard_name": "time"})
    needed = {dim for name in found.used for dim in ds[name].dims}
    times = times.isel({dim: 0 for dim in times.dims if dim not in needed})
    return ds.drop_vars(list(found.used)).assign_coords(time=times), found.dates, found.assumed


def _is_whole(variable: xr.DataArray) -> bool:
    return variable.dtype.kind == "M" or " since " in str(variable.attrs.get("units", ""))


def _may_be_part(name: str, naming: NameMap) -> bool:
    words = set(name.casefold().split("_"))
    spelt = naming.rename.get(name, name).casefold()
    return spelt in _SPELT or (bool(words & {"hour", "time", "utc"}) and find_quantity(name) is None)


def _to_series(part: xr.DataArray) -> pd.Series:
    values = np.asarray(part.to_numpy()).reshape(-1)
    return pd.Series(np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values, name=part.name)
