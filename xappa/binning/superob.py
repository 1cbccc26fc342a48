"""Superobbing: the reports of a cell become one, with an error of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import dask
import numpy as np
import pandas as pd
import xarray as xr

from xappa._typing import Array
from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.binning.averages import GroupSums, get_mean_coordinate, merge_sums, sum_groups
from xappa.binning.cells import BinGrid
from xappa.binning.targets import Step, build_bin_grid
from xappa.errors import ObservationError, OptionError, is_number
from xappa.observations.derive import derive_wind
from xappa.observations.errors.attributes import ATTRIBUTE
from xappa.observations.errors.tables import Errors, with_errors
from xappa.observations.flags import Flag
from xappa.observations.names import QUANTITIES
from xappa.observations.qc.windows import KINDS
from xappa.observations.read import Source, read_observations
from xappa.observations.schema import build_observations, get_quantity_attrs, is_one_form, quantities

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike

CORRELATION = 0.25
TREE = 8  # partial sums that are put together at once


@check_arguments
@with_xarray_defaults
def superob(
    obs: Source,
    target: str | float | xr.Dataset = "model",
    time: Step | None = None,
    *,
    levels: Sequence[float] | None = None,
    model: ModelLike | None = None,
    error: Errors | None = None,
    correlation: float | Mapping[str, float] = CORRELATION,
) -> xr.Dataset:
    r"""Average the reports of each cell of space, time and pressure.

    Means are weighted by the inverse squares of the reports' errors. A superob lies at the mean place, time, level and
    height of its reports. Winds are averaged as components; directions alone are left out. Reports of different
    sources, periods and channels stay apart. Rejected reports don't enter; they are counted.

    Parameters
    ----------
    obs : Dataset, DataFrame, path, or a list or dict of these
        Reports, as `read_observations` takes them. Check them first, with `quality_control`.
    target : "model", float or Dataset, default "model"
        Cells round the points of the model's grid, of so many degrees, or round those of a Dataset.
    time : str or timedelta, optional
        Length of the intervals of time, such as ``"1h"``, whose middles are its multiples from 00 UTC. Default: the
        model's step, or that of the Dataset; for degrees 1 hour.
    levels : sequence of float, optional
        Pressures (hPa) round which levels are gathered. Default: those of the model or the Dataset; for degrees, each
        level by itself.
    model : str, Path or Prior, optional
        Model meant by ``"model"``. Default: the option ``default_model``.
    error : mapping, str or float, optional
        Error deviations of reports that bring none, as `with_errors` takes them. A quantity without any has equal
        weights, and its superobs no errors.
    correlation : float or mapping of str to float, default 0.25
        Share of the error variance that the reports of a cell have in common, 0 to 1 (by quantity): what averaging
        does not reduce. With 0.25 the error of a superob is never below half that of a report.

    Returns
    -------
    Dataset
        Superobs in the schema, in memory. Beside each quantity, ``<name>_error`` and, as coordinates,
        ``<name>_count`` (reports averaged) and ``<name>_spread`` (their standard deviation; missing for one). The
        attribute ``superob_reports`` counts the reports by quantity and reason (JSON). What was stated of correlated
        errors (`with_correlation`) does not hold for means: it is left out, and ``superob_error_correlation`` says so.

    Raises
    ------
    OptionError
        If target, time or correlation is not valid.
    ObservationError
        If not one good report lies in the cells.

    Notes
    -----
    The error of a mean of n reports of error :math:`\sigma` is :math:`\sigma \sqrt{(1 - \rho) / n + \rho}`, with the
    correlation :math:`\rho`, or more where they scatter more than that allows: see `xappa.binning.averages`.

    Lazy reports are averaged chunk by chunk; in memory are a few chunks and the sums of the cells that occur.

    References
    ----------
    After Berger (2004), who superobbed satellite winds at the Met Office as a visiting scientist of the NWP SAF. The
    variance is that of a mean of equally correlated numbers.

    Examples
    --------
    >>> import pandas as pd, xappa
    >>> table = pd.DataFrame(
    ...     {"time": "2024-01-01", "lat": [50.1, 50.3], "lon": [4.1, 4.2], "t2m": [280.0, 282.0], "elev": 10.0}
    ... )
    >>> mean = xappa.superob(table, 1.0, error={"t2m": 2.0})
    >>> float(mean["2m_temperature"][0]), round(float(mean["2m_temperature_error"][0]), 3)
    (281.0, 1.581)
    """
    cells = build_bin_grid(target, time, levels, model)
    reports = obs if isinstance(obs, xr.Dataset) and is_one_form(obs) else read_observations(obs)
    reports = derive_wind(reports)
    if error is not None:
        reports = with_errors(reports, error)
    names = [name for name in quantities(reports) if reports[name].attrs.get("units") != "degree"]
    shares = _resolve_shares(names, correlation)
    reports, known = _fill_errors(reports, names)
    kinds = _number_kinds(reports)
    sums, counts, outside = _sum_reports(reports, names, known, kinds.codes, cells)
    if not sums.keys.size:
        raise ObservationError(
            f"Not one good report lies in the cells: found {json.dumps(counts)}, and {outside} outside the grid; "
            "expected reports that no check has rejected, inside the target"
        )
    attrs = {
        "superob_reports": json.dumps(counts),
        "superob_reports_outside_grid": outside,
        "superob_correlation": json.dumps(shares),
        "superob_step": str(pd.Timedelta(cells.step)),
    }
    if correlated := [name for name in names if ATTRIBUTE in reports[name].attrs]:
        attrs["superob_error_correlation"] = f"left out, of the reports' {' '.join(correlated)}"
    return _to_observations(sums, reports, known, shares, kinds, cells).assign_attrs(attrs)


def _resolve_shares(names: Sequence[str], correlation: float | Mapping[str, float]) -> dict[str, float]:
    given = correlation if isinstance(correlation, Mapping) else dict.fromkeys(names, correlation)
    wrong = [f"{name}: {value!r}" for name, value in given.items() if not (is_number(value) and 0 <= value <= 1)]
    unknown = [name for name in given if name not in QUANTITIES and name not in names]
    if wrong or unknown:
        listed = "; ".join([*wrong, *(f"{name!r} is no known quantity" for name in unknown)])
        raise OptionError(f"correlation={correlation!r}: expected shares from 0 to 1 by quantity; found {listed}")
    return {name: float(given.get(name, CORRELATION)) for name in names}


def _fill_errors(reports: xr.Dataset, names: Sequence[str]) -> tuple[xr.Dataset, list[str]]:
    """Quantities whose reports have errors; gaps among those get the largest, so that they count least."""
    known = []
    for name in names:
        key = f"{name}_error"
        if key not in reports:
            continue
        largest = reports[key].max().compute()
        if np.isfinite(largest):
            known.append(name)
            if not dask.is_dask_collection(reports[key].data) and bool(reports[key].notnull().all()):
                continue
            reports = reports.assign({key: reports[key].fillna(largest)})
    return reports, known


class _ReportKinds:
    """Reports that are not averaged with each other, by number."""

    def __init__(self, names: list[str], codes: Array, table: pd.DataFrame) -> None:
        self.names, self.codes, self.table = names, codes, table


def _number_kinds(reports: xr.Dataset) -> _ReportKinds:
    names = [name for name in (*KINDS, "source") if name in reports.coords]
    if not names:
        return _ReportKinds([], np.zeros(0, np.int64), pd.DataFrame())
    table = pd.DataFrame({name: np.asarray(reports[name].values) for name in names})
    codes = table.groupby(names, dropna=False, sort=True).ngroup().to_numpy()
    order = np.unique(codes, return_index=True)[1]
    return _ReportKinds(names, codes, table.iloc[order].reset_index(drop=True))


def _sum_reports(
    reports: xr.Dataset, names: Sequence[str], known: Sequence[str], kinds: Array, cells: BinGrid
) -> tuple[GroupSums, dict[str, dict[str, int]], int]:
    """Sums of all reports; numbers of reports by quantity and reason, and of those outside the grid."""
    columns: dict[str, Any] = {name: reports[name].data for name in ("time", "latitude", "longitude")}
    columns |= {name: reports[name].data for name in ("level", "altitude") if name in reports.coords}
    columns |= {name: reports[name].data for name in names}
    columns |= {f"{name}_error": reports[f"{name}_error"].data for name in known}
    columns |= {f"{name}_flag": reports[f"{name}_flag"].data for name in names if f"{name}_flag" in reports}
    if len(kinds):
        columns["kind"] = kinds
    if not any(dask.is_dask_collection(column) for column in columns.values()):
        sums, numbers, outside = _sum_part(columns, names, known, cells)
    else:
        sums, numbers, outside = _sum_lazily(reports, columns, names, known, cells)
    reasons = [flag.name.lower() for flag in Flag]
    counts = {name: {reasons[k]: int(n) for k, n in enumerate(row) if n} for name, row in numbers.items()}
    return sums, counts, outside


_Part = tuple[GroupSums, dict[str, Array], int]


def _sum_lazily(
    reports: xr.Dataset, columns: Mapping[str, Any], names: Sequence[str], known: Sequence[str], cells: BinGrid
) -> _Part:
    edges = np.concatenate([[0], np.cumsum(reports.unify_chunks().chunksizes["obs"])])
    part, put_together = (
        dask.delayed(partial(_sum_part, names=names, known=known, cells=cells)),
        dask.delayed(_merge_parts),
    )
    level = []
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        block = {key: column[first:last] for key, column in columns.items()}
        level.append(part(block))
    while len(level) > 1:
        level = [put_together(level[i : i + TREE]) for i in range(0, len(level), TREE)]
    return dask.compute(level[0])[0]


def _merge_parts(parts: Sequence[_Part]) -> _Part:
    numbers = {name: np.sum([part[1][name] for part in parts], axis=0) for name in parts[0][1]}
    filled = [part[0] for part in parts if part[0].keys.size] or [parts[0][0]]
    return merge_sums(filled), numbers, sum(part[2] for part in parts)


def _sum_part(columns: Mapping[str, Array], names: Sequence[str], known: Sequence[str], cells: BinGrid) -> _Part:
    """Sums of some reports."""
    good, numbers = {}, {}
    for name in names:
        reported = np.isfinite(columns[name])
        flag = columns.get(f"{name}_flag")
        good[name] = reported if flag is None else reported & (flag == Flag.GOOD)
        there = reported.sum() if flag is None else np.bincount(flag[reported], minlength=len(Flag))
        numbers[name] = np.eye(1, len(Flag), dtype=int)[0] * there if flag is None else there
    longitude = cells.longitude.unroll(np.asarray(columns["longitude"], float))
    latitude = np.asarray(columns["latitude"], float)
    row, column = cells.latitude.find_intervals(latitude), cells.longitude.find_intervals(longitude)
    any_good = np.logical_or.reduce(list(good.values()))
    used = any_good & (row >= 0) & (column >= 0) & ~np.isnat(columns["time"])
    outside = int((any_good & ~used).sum())

    def kept(values: Array) -> Array:
        return values if used.all() else values[used]

    number, seconds = cells.find_time_intervals(kept(np.asarray(columns["time"])))
    row *= len(cells.longitude)
    row += column
    keys = [number, kept(row)]
    values = {"latitude": kept(latitude), "longitude": kept(longitude), "seconds": seconds}
    usable = {name: kept(mask) for name, mask in good.items()}
    keys.insert(0, kept(columns["kind"]) if "kind" in columns else np.zeros(len(seconds), np.int64))
    layer = np.full(len(seconds), -1) if "level" not in columns else cells.find_layers(kept(columns["level"]))
    keys.insert(2, layer)
    if "level" in columns:
        usable["log_level"] = layer >= 0
        values["log_level"] = np.log(np.where(layer >= 0, kept(columns["level"]), 1.0))
    if "altitude" in columns:
        values["altitude"] = kept(np.asarray(columns["altitude"], float))
        usable["altitude"] = np.isfinite(values["altitude"])
    values |= {name: kept(np.asarray(columns[name], float)) for name in names}
    deviations = {name: kept(np.asarray(columns[f"{name}_error"], float)) for name in known}
    return sum_groups(keys, values, deviations, usable), numbers, outside


def _to_observations(
    sums: GroupSums,
    reports: xr.Dataset,
    known: Sequence[str],
    shares: Mapping[str, float],
    kinds: _ReportKinds,
    cells: BinGrid,
) -> xr.Dataset:
    """Sums as observations in the schema."""
    kind, moment = sums.keys[0], sums.keys[1]
    offset = np.round(get_mean_coordinate(sums, "seconds")).astype("timedelta64[s]")
    longitude = get_mean_coordinate(sums, "longitude") % 360
    if bool((reports["longitude"] < 0).any()):
        longitude = (longitude + 180) % 360 - 180
    coordinates: dict[str, Any] = {
        "time": np.datetime64(0, "s") + moment * cells.step.astype("timedelta64[s]") + offset,
        "latitude": get_mean_coordinate(sums, "latitude"),
        "longitude": longitude,
    }
    if "log_level" in sums.means:
        coordinates["level"] = np.exp(get_mean_coordinate(sums, "log_level"))
    if "altitude" in sums.means:
        coordinates["altitude"] = get_mean_coordinate(sums, "altitude")
    coordinates |= {name: kinds.table[name].to_numpy()[kind] for name in kinds.names}
    found = {name: sums.means[name] for name in shares if sums.means[name].count.any()}
    values = {name: np.where(means.count > 0, means.mean, np.nan) for name, means in found.items()}
    errors = {name: means.compute_error(shares[name]) for name, means in found.items() if name in known}
    obs = build_observations(coordinates, values, errors)
    for name, means in found.items():
        spread = means.compute_spread()
        extra = {
            f"{name}_count": ("obs", means.count.astype(np.int64), _build_attrs(name, "number_of_observations", "1")),
            f"{name}_spread": ("obs", spread, _build_attrs(name, "", get_quantity_attrs(name)["units"])),
        }
        related = obs[name].attrs.get("ancillary_variables", "").split()
        obs = obs.assign_coords(extra)
        obs[name] = obs[name].assign_attrs(ancillary_variables=" ".join(dict.fromkeys([*related, *extra])))
    return obs


def _build_attrs(name: str, modifier: str, units: str) -> dict[str, str]:
    quantity = get_quantity_attrs(name)
    what = "Number of reports averaged" if modifier else "Standard deviation of the reports averaged"
    attrs = {"units": units, "long_name": f"{what}: {quantity.get('long_name', name)}"}
    return attrs | ({"standard_name": f"{quantity.get('standard_name', name)} {modifier}"} if modifier else {})
