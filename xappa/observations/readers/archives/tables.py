"""Tables of archives whose columns have documented meanings and units: read as any table, with these said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.names import NameMap
from xappa.observations.readers.tables.frames import from_frame
from xappa.observations.schema import COORDINATE_ATTRS, concat

DAY = np.timedelta64(86400, "s")

Meanings = Mapping[str, tuple[str, str]]
"""Column of the archive: quantity and units."""


def read_documented_columns(
    frame: pd.DataFrame, naming: NameMap, meanings: Meanings, among: Meanings, coordinates: Mapping[str, str]
) -> xr.Dataset | None:
    """Observations of some columns of a table.

    Parameters
    ----------
    frame : DataFrame
    naming : NameMap
        What the caller says: units of columns count for more than those of the archive.
    meanings : mapping
        Columns that are read, with their quantities and documented units. Of two for one quantity, the first.
    among : mapping
        All columns that are read, now or elsewhere.
    coordinates : mapping of str to str
        Names of coordinates that only the archive has.

    Returns
    -------
    Dataset or None
        None if there is none of the columns, or no value in them.
    """
    chosen: dict[str, str] = {}
    for column, (quantity, _) in meanings.items():
        if column in frame and frame[column].notna().any():
            chosen.setdefault(quantity, column)
    if not chosen:
        return None
    columns = list(chosen.values())
    others = [column for column in frame.columns if column in columns or column not in among]
    rename = {column: quantity for quantity, column in chosen.items()} | dict(coordinates)
    units = {column: naming.find_units(column, quantity) or meanings[column][1] for quantity, column in chosen.items()}
    rows = frame.loc[frame[columns].notna().any(axis=1), others]
    said = replace(naming, rename=rename, units={**naming.units, **units}, declared=naming.declared)
    return from_frame(rows, said)


def set_period(obs: xr.Dataset, length: np.timedelta64, later: np.timedelta64 | int = 0) -> xr.Dataset:
    """Observations as ones over a period that ends at their time, or so much `later`."""
    time = obs["time"].values + np.timedelta64(later, "s")
    period = np.full(obs.sizes["obs"], length.astype("timedelta64[s]"))
    return obs.assign_coords(
        time=("obs", time, COORDINATE_ATTRS["time"]), period=("obs", period, COORDINATE_ATTRS["period"])
    )


def merge_parts(parts: Sequence[xr.Dataset | None]) -> xr.Dataset:
    """Parts of one table; columns that are not read are counted by the first.

    Raises
    ------
    ObservationError
        If there is no part.
    """
    found = [part for part in parts if part is not None]
    if not found:
        raise ObservationError(
            "The table of the archive has no value of a quantity that is known. Expected at least one"
        )
    for part in found[1:]:
        part.attrs.pop("unknown_variables", None)
    return concat(found)
