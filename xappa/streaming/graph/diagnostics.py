"""What only the run can know, as a lazy companion of its result."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.highlevelgraph import HighLevelGraph

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import DatasetError
from xappa.streaming.graph.lazy import SAMPLING, AnalysisGraph

if TYPE_CHECKING:
    from xappa.sampling.sampled import SamplingResult

FITS = ("chi_squared", "departure_mean", "departure_rms", "count")
KEPT = 64  # runs of this session whose diagnostics can still be asked for
_RUNS: OrderedDict[str, tuple[AnalysisGraph, xr.Dataset]] = OrderedDict()


def remember(run: AnalysisGraph, counts: xr.Dataset) -> None:
    """Keep a run's tasks, and the counts of its reports, for `diagnostics`."""
    _RUNS[run.token] = (run, counts)
    while len(_RUNS) > KEPT:
        _RUNS.popitem(last=False)


def find_run(result: xr.Dataset) -> AnalysisGraph:
    """The run that a result of this session belongs to.

    Raises
    ------
    DatasetError
        If there is none.
    """
    token = str(result.attrs.get("xappa_run"))
    if token not in _RUNS:
        raise DatasetError(f"No run of this session has the token {token!r} of the attribute 'xappa_run'")
    return _RUNS[token][0]


@with_xarray_defaults
@check_arguments
def diagnostics(result: xr.Dataset) -> xr.Dataset:
    """Reports used and rejected by reason, and how the sampling went.

    Parameters
    ----------
    result : Dataset
        What `assimilate` returned, or anything selected from it. Its members count, over all times of the run.

    Returns
    -------
    Dataset
        ``reports`` (variable, status): numbers of reports of the run, "good" or by the reason why they were not used.
        Lazily, for each member of `result`: ``chi_squared`` (member), mean square of observation minus analysis in
        units of the errors (1 is right; without observations it is missing), and by observed quantity
        ``chi_squared_by_variable``, ``departure_mean`` and ``departure_rms`` (member, variable), of observation minus
        analysis in the quantity's units; ``residual`` (member, step), the relative residual of the guidance equation,
        and ``iterations`` (member, step) of its solver, the worst of the windows; ``sigma`` (step), noise levels;
        ``evaluations``, calls of the denoiser for a member and window; ``seconds`` (member), of the batch in which the
        member was sampled.

    Raises
    ------
    DatasetError
        If `result` isn't an analysis made in this session, or is put together from several: each run has its own.

    Examples
    --------
    >>> xappa.diagnostics(analysis)["reports"].to_pandas()  # doctest: +SKIP
    """
    return collect_diagnostics(result)


def collect_diagnostics(result: xr.Dataset, sampled: Iterable[str] | None = None) -> xr.Dataset:
    """The `diagnostics` of the segments and batches that were sampled.

    Parameters
    ----------
    result : Dataset
    sampled : iterable of str, optional
        Keys of sampling tasks. Default, and where none of them is this result's: all that sample its members.

    Raises
    ------
    DatasetError
        As `diagnostics`.
    """
    token = str(result.attrs.get("xappa_run"))
    if token not in _RUNS:
        raise DatasetError(
            f"No diagnostics for this Dataset: its attribute 'xappa_run' is {token!r}, which is none of the "
            f"{len(_RUNS)} analyses of this session. They are stored by xappa.to_zarr in the group 'diagnostics'."
        )
    run, counts = _RUNS[token]
    _require_one_run(result, run)
    wanted = set(_get_members(result) or run.members)
    needed = {task.key for batch, tasks in run.sampled if wanted & set(batch) for task in tasks}
    batches = run.build_results(needed.intersection(sampled or ()) or needed)
    steps = run.evaluations
    series: dict[str, list[da.Array]] = {"residual": [], "iterations": []}
    seconds = []
    fits: dict[str, list[da.Array]] = {name: [] for name in FITS if run.variables}
    for batch, task in batches:
        for kind, parts in series.items():
            rows = dask.delayed(_collect_series)(task, kind, steps)
            parts.append(da.from_delayed(rows, (len(batch), steps), "f4"))
        for kind, parts in fits.items():
            rows = dask.delayed(_collect_fit)(task, kind, len(run.variables))
            parts.append(da.from_delayed(rows, (len(batch), len(run.variables)), "f8"))
        seconds.append(da.from_delayed(dask.delayed(_collect_seconds)(task), (len(batch),), "f8"))
    members = [member for batch, _ in batches for member in batch]
    out = counts.assign_coords(member=("member", members, {"standard_name": "realization"}))
    for kind, parts in series.items():
        out[kind] = (("member", "step"), da.concatenate(parts))
    sigma = dask.delayed(_collect_sigma)(batches[0][1], steps)
    out["sigma"] = (("step",), da.from_delayed(sigma, (steps,), "f8"))
    out["seconds"] = (("member",), da.concatenate(seconds))
    out["evaluations"] = ((), steps, {"long_name": "Calls of the denoiser a member and window", "units": "1"})
    if run.variables:
        out = _with_fits(out, fits, run)
    out["residual"].attrs = {"long_name": "Relative residual of the guidance equation", "units": "1"}
    out["iterations"].attrs = {"long_name": "Iterations of the guidance solver", "units": "1"}
    out["sigma"].attrs = {"long_name": "Noise level", "units": "1"}
    out["seconds"].attrs = {"long_name": "Time to sample the batch", "units": "s"}
    return out.isel(member=[k for k, member in enumerate(members) if member in wanted])


def _require_one_run(result: xr.Dataset, run: AnalysisGraph) -> None:
    """What is put together from several runs has the attributes of the first, which knows nothing of the others."""
    others = sorted(set(_get_members(result)) - set(run.members), key=str)
    found = []
    if others:
        found.append(f"the members {', '.join(map(str, others))}")
    if _is_beyond(result, run):
        found.append(f"times from before {run.times[0]} or after {run.times[-1]}")
    if not found and find_sampling_keys(result.__dask_graph__()) - find_sampling_keys(run.fields.dask):
        found.append("fields that other runs sampled")
    if found:
        raise DatasetError(
            f"No diagnostics for this Dataset: it holds {' and '.join(found)}, and its attribute 'xappa_run' is that "
            f"of a run of the members {', '.join(map(str, run.members))} without these. Each run has its own: call "
            "xappa.diagnostics on its result, before it is put together with others."
        )


def _get_members(result: xr.Dataset) -> list:
    """Member numbers of a result; none where they are not told, as of a mean."""
    return [number for v in _find_coordinates(result, "member", "realization") for number in v.values.ravel().tolist()]


def _is_beyond(result: xr.Dataset, run: AnalysisGraph) -> bool:
    """Whether there are more times than a run has, and not all within its own. Means over days may be labelled so."""
    return any(
        v.dtype.kind == "M"
        and v.size > run.times.size
        and (v.values.min() < run.times[0] or v.values.max() > run.times[-1])
        for v in _find_coordinates(result, "time", "time")
    )


def _find_coordinates(result: xr.Dataset, name: str, standard_name: str) -> list[xr.DataArray]:
    return [v for key, v in result.coords.items() if key == name or v.attrs.get("standard_name") == standard_name]


def find_sampling_keys(graph: HighLevelGraph | None) -> set[str]:
    """Keys of the sampling tasks in a graph, needed or not."""
    layers = [] if graph is None else [layer for layer in graph.layers.values() if layer.is_materialized()]
    return {key for layer in layers for key in layer if isinstance(key, str) and key.startswith(SAMPLING)}


def _with_fits(out: xr.Dataset, fits: dict[str, list[da.Array]], run: AnalysisGraph) -> xr.Dataset:
    """Statistics of observation minus analysis, beside the counts of reports."""
    about = {
        "chi_squared_by_variable": {"long_name": "Mean square of observation minus analysis over error", "units": "1"},
        "departure_mean": {"long_name": "Mean of observation minus analysis", "units": "of the variable"},
        "departure_rms": {"long_name": "Root mean square of observation minus analysis", "units": "of the variable"},
    }
    where = {"variable": np.array(run.variables, object)}
    by_variable = xr.Dataset(
        {
            {"chi_squared": "chi_squared_by_variable"}.get(kind, kind): (("member", "variable"), da.concatenate(parts))
            for kind, parts in fits.items()
        },
        where,
    )
    for name, attrs in about.items():
        by_variable[name].attrs = attrs
    used = by_variable["count"].fillna(0)
    every = used.sum("variable")
    total = (by_variable["chi_squared_by_variable"].fillna(0) * used).sum("variable") / every.where(every > 0)
    total.attrs = {"long_name": "Mean square of observation minus analysis over error", "units": "1"}
    by_variable = by_variable.drop_vars("count")
    if "variable" in out.coords:
        by_variable = by_variable.reindex(variable=out["variable"])
    return out.merge(by_variable.assign(chi_squared=total), join="outer", combine_attrs="override")


def _collect_fit(sampled: SamplingResult, kind: str, variables: int) -> np.ndarray:
    found = sampled.diagnostics.get(kind)
    shape = (len(sampled.members), variables)
    return np.full(shape, np.nan) if found is None else np.broadcast_to(found, shape).astype("f8")


def _collect_series(sampled: SamplingResult, kind: str, steps: int) -> np.ndarray:
    """One row a member; missing where nothing was observed, so that nothing was solved."""
    found = sampled.diagnostics.get(kind)
    return np.full((len(sampled.members), steps), np.nan, "f4") if found is None else found.T.astype("f4")


def _collect_sigma(sampled: SamplingResult, steps: int) -> np.ndarray:
    return sampled.diagnostics.get("sigma", np.full(steps, np.nan))


def _collect_seconds(sampled: SamplingResult) -> np.ndarray:
    return np.full(len(sampled.members), float(sampled.diagnostics["seconds"]))
