"""What only the run can know, as a lazy companion of its result."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xappa.errors import DatasetError
from xappa.streaming.graph.lazy import Run

if TYPE_CHECKING:
    from xappa.streaming.sampling import Sampled

FITS = ("chi_squared", "departure_mean", "departure_rms", "count")
KEPT = 64  # runs of this session whose diagnostics can still be asked for
_RUNS: OrderedDict[str, tuple[Run, xr.Dataset]] = OrderedDict()


def remember(run: Run, counts: xr.Dataset) -> None:
    """Keep a run's tasks, and the counts of its reports, for `diagnostics`."""
    _RUNS[run.token] = (run, counts)
    while len(_RUNS) > KEPT:
        _RUNS.popitem(last=False)


def run_of(result: xr.Dataset) -> Run:
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


def diagnostics(result: xr.Dataset) -> xr.Dataset:
    """Reports used and rejected by reason, and how the sampling went.

    Parameters
    ----------
    result : Dataset
        What `assimilate` returned, or anything selected from it.

    Returns
    -------
    Dataset
        ``reports`` (variable, status): numbers of reports, "good" or by the reason why they were not used. Lazily,
        for each member: ``chi_squared`` (member), mean square of observation minus analysis in units of the errors (1
        is right; without observations it is missing), and by observed quantity ``chi_squared_by_variable``,
        ``departure_mean`` and ``departure_rms`` (member, variable), of observation minus analysis in the quantity's
        units; ``residual`` (member, step), the relative residual of the guidance equation, and ``iterations`` (member,
        step) of its solver, the worst of the windows; ``sigma`` (step), noise levels; ``evaluations``, calls of the
        denoiser for a member and window; ``seconds`` (member), of the batch in which the member was sampled.

    Raises
    ------
    DatasetError
        If `result` isn't an analysis made in this session.

    Examples
    --------
    >>> xappa.diagnostics(analysis)["reports"].to_pandas()  # doctest: +SKIP
    """
    token = str(result.attrs.get("xappa_run"))
    if token not in _RUNS:
        raise DatasetError(
            f"No diagnostics for this Dataset: its attribute 'xappa_run' is {token!r}, which is none of the "
            f"{len(_RUNS)} analyses of this session. They are stored by xappa.to_zarr in the group 'diagnostics'."
        )
    run, counts = _RUNS[token]
    steps = run.evaluations
    series: dict[str, list[da.Array]] = {"residual": [], "iterations": []}
    seconds = []
    fits: dict[str, list[da.Array]] = {name: [] for name in FITS if run.variables}
    for batch, task in run.sampled:
        for kind, parts in series.items():
            rows = dask.delayed(_series)(task, kind, steps)
            parts.append(da.from_delayed(rows, (len(batch), steps), "f4"))
        for kind, parts in fits.items():
            rows = dask.delayed(_fit)(task, kind, len(run.variables))
            parts.append(da.from_delayed(rows, (len(batch), len(run.variables)), "f8"))
        seconds.append(da.from_delayed(dask.delayed(_seconds)(task), (len(batch),), "f8"))
    members = [member for batch, _ in run.sampled for member in batch]
    out = counts.assign_coords(member=("member", members, {"standard_name": "realization"}))
    for kind, parts in series.items():
        out[kind] = (("member", "step"), da.concatenate(parts))
    sigma = dask.delayed(_sigma)(run.sampled[0][1], steps)
    out["sigma"] = (("step",), da.from_delayed(sigma, (steps,), "f8"))
    out["seconds"] = (("member",), da.concatenate(seconds))
    out["evaluations"] = ((), steps, {"long_name": "Calls of the denoiser a member and window", "units": "1"})
    if run.variables:
        out = _with_fits(out, fits, run)
    out["residual"].attrs = {"long_name": "Relative residual of the guidance equation", "units": "1"}
    out["iterations"].attrs = {"long_name": "Iterations of the guidance solver", "units": "1"}
    out["sigma"].attrs = {"long_name": "Noise level", "units": "1"}
    out["seconds"].attrs = {"long_name": "Time to sample the batch", "units": "s"}
    return out


def _with_fits(out: xr.Dataset, fits: dict[str, list[da.Array]], run: Run) -> xr.Dataset:
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
    total = (by_variable["chi_squared_by_variable"].fillna(0) * used).sum("variable") / used.sum("variable")
    total.attrs = {"long_name": "Mean square of observation minus analysis over error", "units": "1"}
    by_variable = by_variable.drop_vars("count")
    if "variable" in out.coords:
        by_variable = by_variable.reindex(variable=out["variable"])
    return out.merge(by_variable.assign(chi_squared=total), join="outer", combine_attrs="override")


def _fit(sampled: Sampled, kind: str, variables: int) -> np.ndarray:
    found = sampled.diagnostics.get(kind)
    shape = (len(sampled.members), variables)
    return np.full(shape, np.nan) if found is None else np.broadcast_to(found, shape).astype("f8")


def _series(sampled: Sampled, kind: str, steps: int) -> np.ndarray:
    """One row a member; missing where nothing was observed, so that nothing was solved."""
    found = sampled.diagnostics.get(kind)
    return np.full((len(sampled.members), steps), np.nan, "f4") if found is None else found.T.astype("f4")


def _sigma(sampled: Sampled, steps: int) -> np.ndarray:
    return sampled.diagnostics.get("sigma", np.full(steps, np.nan))


def _seconds(sampled: Sampled) -> np.ndarray:
    return np.full(len(sampled.members), float(sampled.diagnostics["seconds"]))
