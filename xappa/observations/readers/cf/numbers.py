"""Numbers of CF variables that are kept as text or as objects, as from a table with gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.readers.cf.roles import find_error
from xappa.observations.readers.tables.columns import parse_numbers
from xappa.observations.units import COORDINATE_UNITS

_NUMBERS, _TEXT = "iuf", "OSUT"


def with_numbers(
    ds: xr.Dataset, known: Mapping[str, str], places: Mapping[str, str]
) -> tuple[xr.Dataset, dict[str, int]]:
    """The same with floats where quantities, their errors and places are text; that is read, where it is lazy.

    Parameters
    ----------
    ds : Dataset
    known : mapping of str to str
        Quantities: name to meaning.
    places : mapping of str to str
        Coordinates: meaning to name.

    Returns
    -------
    ds : Dataset
    unreadable : dict of str to int
        How many values of each quantity, error and coordinate are no numbers (they are missing then).

    Raises
    ------
    ObservationError
        If one holds times, or anything else that is neither numbers nor text.
    """
    errors = [find_error(ds, name) for name in known]
    coordinates = [name for meaning, name in places.items() if meaning in (*COORDINATE_UNITS, "channel")]
    pairs = zip(known, errors, strict=True)
    names = [*coordinates, *(name for pair in pairs for name in pair if name is not None)]
    _require_numbers(ds, names)
    read = {name: _parse_numbers(ds[name]) for name in names if ds[name].dtype.kind in _TEXT}
    meanings = {name: meaning for meaning, name in places.items()} | dict(known)
    meanings |= {error: f"{known[name]}_error" for name, error in zip(known, errors, strict=True) if error is not None}
    unreadable = {meanings[name]: count for name, (_, count) in read.items()}
    return ds.assign({name: variable for name, (variable, _) in read.items()}), unreadable


def _require_numbers(ds: xr.Dataset, names: Iterable[str]) -> None:
    wrong = [f"{name} ({ds[name].dtype})" for name in names if ds[name].dtype.kind not in _NUMBERS + _TEXT]
    if wrong:
        raise ObservationError(
            f"{', '.join(wrong)}: found other values than numbers. Expected numbers, or text of them. Drop what is "
            "none, or say which variable is meant with rename={'<your name>': '2m_temperature'}"
        )


def _parse_numbers(variable: xr.DataArray) -> tuple[xr.Variable, int]:
    values, count = parse_numbers(pd.Series(variable.to_numpy().reshape(-1).astype(object), name=variable.name))
    return variable.variable.to_base_variable().copy(data=values.reshape(variable.shape)), count
