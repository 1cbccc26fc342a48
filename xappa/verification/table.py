"""Scores as a table of text."""

from __future__ import annotations

import itertools

import numpy as np
import xarray as xr

COLUMNS = ("quantity", "level", "units", "source")


def to_table(scores: xr.Dataset, metrics: list[str] | None = None) -> str:
    """Text table of scores: a row a quantity, level and source, a column a metric.

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
    rows = [[*COLUMNS, *columns]]
    for name, field in scores.data_vars.items():
        rest = [str(d) for d in field.dims if d != "metric"]
        order = sorted(rest, key=lambda d: d == "source")
        for values in itertools.product(*(field[d].values for d in order)):
            at = dict(zip(order, values, strict=True))
            cell = field.sel(at)
            if not np.isfinite(cell.astype(float)).any():
                continue
            level = next((f"{float(v):g}" for d, v in at.items() if d != "source"), "")
            head = [str(name), level, str(field.attrs.get("units", "")), str(at.get("source", ""))]
            rows.append([*head, *(_number(float(cell.sel(metric=m)), m) for m in columns)])
    kept = [k for k in range(len(rows[0])) if k >= len(COLUMNS) or any(row[k] for row in rows[1:])]
    return _aligned([[row[k] for k in kept] for row in rows], sum(k < len(COLUMNS) for k in kept))


def _number(value: float, metric: str) -> str:
    if not np.isfinite(value):
        return "-"
    if metric == "count":
        return f"{value:.0f}"
    return f"{value:.2f}" if metric == "spread_skill" else f"{value:.4g}"


def _aligned(rows: list[list[str]], texts: int) -> str:
    """Columns of equal width, the first `texts` of them to the left."""
    width = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    sides = [str.ljust] * texts + [str.rjust] * (len(width) - texts)
    lines = ["  ".join(side(c, w) for side, c, w in zip(sides, row, width, strict=True)) for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
