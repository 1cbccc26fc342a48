"""Scores as a table of text."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr

from xappa.grids.axes import format_time

LAST = ("source",)
"""Dimensions that stand beside the scores, since they are compared."""


def to_table(scores: xr.Dataset, metrics: list[str] | None = None) -> str:
    """Text table of scores: a row a quantity, level, lead and source, a column a metric.

    Parameters
    ----------
    scores : Dataset
        From `verify`.
    metrics : list of str, optional
        Columns, in this order; all of them unless told.

    Returns
    -------
    str
        Lines without a newline at the end.
    """
    columns = [str(m) for m in scores["metric"].values if metrics is None or m in metrics]
    columns = columns if metrics is None else [m for m in metrics if m in columns]
    dims = dict.fromkeys(str(d) for field in scores.data_vars.values() for d in field.dims if d != "metric")
    along = [d for d in dims if d not in LAST]
    heads = ["quantity", *along, "units", *LAST]
    rows = [[*heads, *columns]]
    for name, field in scores.data_vars.items():
        order = [d for d in (*along, *LAST) if d in field.dims]
        for values in itertools.product(*(field[d].values for d in order)):
            at = dict(zip(order, values, strict=True))
            cell = field.sel(at)
            told = cell.sel(metric=[m for m in cell["metric"].values if m != "count"] or columns)
            if not np.isfinite(told.astype(float)).any():
                continue
            words = {"quantity": str(name), "units": str(field.attrs.get("units", ""))}
            words |= {d: format_label(value) for d, value in at.items()}
            rows.append(
                [
                    *(words.get(head, "") for head in heads),
                    *(_format_number(float(cell.sel(metric=m)), m) for m in columns),
                ]
            )
    kept = [k for k in range(len(rows[0])) if k >= len(heads) or any(row[k] for row in rows[1:])]
    return _align_columns([[row[k] for k in kept] for row in rows], sum(k < len(heads) for k in kept))


def format_label(value: Any) -> str:
    """A label of a dimension in words: leads in hours, times to the minute."""
    if isinstance(value, np.timedelta64):
        return f"{value / np.timedelta64(1, 'h'):g} h"
    if isinstance(value, np.datetime64):
        return format_time(value)
    return f"{value:g}" if isinstance(value, float | int | np.number) else str(value)


def _format_number(value: float, metric: str) -> str:
    if not np.isfinite(value):
        return "-"
    if metric == "count":
        return f"{value:.0f}"
    return f"{value:.2f}" if metric == "spread_skill" else f"{value:.4g}"


def _align_columns(rows: list[list[str]], texts: int) -> str:
    """Columns of equal width, the first `texts` of them to the left."""
    width = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    sides = [str.ljust] * texts + [str.rjust] * (len(width) - texts)
    lines = ["  ".join(side(c, w) for side, c, w in zip(sides, row, width, strict=True)) for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
