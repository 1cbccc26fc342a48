"""How many reports there are, by quantity and by what became of them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import xarray as xr

from xappa.argument_types import check_arguments
from xappa.errors import ObservationError
from xappa.observations.flags import Flag, flags_of
from xappa.observations.qc.table import Summary, collect_metadata, format_metadata
from xappa.observations.schema import quantities

COUNTS = "xappa_reports"
"""Attribute of a result that holds the counts (JSON)."""


def flag_counts(obs: xr.Dataset) -> pd.DataFrame:
    """Number of reports by quantity and reason; the columns add up to the number of values reported.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema (computed here, where lazy).

    Returns
    -------
    DataFrame
        A row for each quantity, a column for each `Flag` (``good``, ``out_of_range``, …).
    """
    rows = {}
    for name in quantities(obs):
        reported = obs[name].notnull().to_numpy()
        rows[name] = np.bincount(flags_of(obs, name).to_numpy()[reported], minlength=len(Flag))
    columns = [flag.name.lower() for flag in Flag]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis(index="variable", columns="reason")


def encode_flag_counts(table: pd.DataFrame) -> str:
    """Counts above zero as an attribute that every file format takes (JSON)."""
    rows = table.to_dict(orient="index")
    return json.dumps({str(name): {str(k): int(n) for k, n in row.items() if n} for name, row in rows.items()})


@check_arguments
def summary(ds: xr.Dataset) -> Summary:
    """Number of reports by quantity and by what became of them.

    Parameters
    ----------
    ds : Dataset
        Observations as `read_observations` returns them (computed here, where lazy), or an analysis. That of reports
        that Dask reads knows no counts: `xappa.diagnostics` has them.

    Returns
    -------
    Summary
        A DataFrame with a row for each quantity; the column ``good`` and one for each reason that occurs. Printed, it
        shows units, as read and as kept, too, and what was left out, in 80 columns.

    Raises
    ------
    ObservationError
        If `ds` is neither, or an analysis of reports that Dask reads.

    Examples
    --------
    >>> import pandas as pd
    >>> from xappa.observations import read_observations
    >>> table = pd.DataFrame({"time": "2024-01-01", "lat": [50, 60], "lon": [4, 5], "t2m": [280.0, 372.0]})
    >>> summary(read_observations(table)).loc["2m_temperature"].to_dict()
    {'good': 1, 'out_of_range': 1}
    """
    if "obs" in ds.dims:
        table = flag_counts(ds)
        return Summary.of(table.loc[:, (table > 0).any() | (table.columns == "good")], collect_metadata(ds))
    if "xappa_observations" in ds.attrs and COUNTS not in ds.attrs:
        raise ObservationError(
            "Found an analysis whose reports Dask reads, so that they are counted only as it is computed; "
            'xappa.diagnostics(analysis)["reports"] has the counts'
        )
    if COUNTS not in ds.attrs:
        raise ObservationError(
            f"Found a Dataset with the dimensions ({', '.join(map(str, ds.dims))}) and no attribute {COUNTS!r}; "
            "expected observations (dimension 'obs', from xappa.read_observations) or an analysis of ds.appa.assimilate"
        )
    table = pd.DataFrame.from_dict(json.loads(ds.attrs[COUNTS]), orient="index").fillna(0).astype(int)
    return Summary.of(table.rename_axis(index="variable", columns="reason"))


def format_heading(obs: xr.Dataset) -> str:
    """The printed summary of observations; of lazy ones, whose reports are not counted here, what they are."""
    if any(variable.chunks for variable in obs.variables.values()):
        return f"{obs.sizes['obs']} reports, lazy: obs.appa.summary() counts them\n" + "\n".join(
            format_metadata(collect_metadata(obs))
        )
    return str(summary(obs))
