"""What only the run can know, as a lazy companion of its result."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xappa.errors import DatasetError
from xappa.streaming.lazy import Run

if TYPE_CHECKING:
    from xappa.streaming.sampling import Sampled

KEPT = 64  # runs of this session whose diagnostics can still be asked for
_RUNS: OrderedDict[str, tuple[Run, xr.Dataset]] = OrderedDict()


def remember(run: Run, counts: xr.Dataset) -> None:
    """Keep a run's tasks, and the counts of its reports, for `diagnostics`."""
    _RUNS[run.token] = (run, counts)
    while len(_RUNS) > KEPT:
        _RUNS.popitem(last=False)


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
        for each member: ``residual`` (member, step), the relative residual of the guidance equation, and
        ``iterations`` (member, step) of its solver, the worst of the windows; ``sigma`` (step), noise levels;
        ``seconds`` (member), of the batch in which the member was sampled.

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
    for batch, task in run.sampled:
        for kind, parts in series.items():
            rows = dask.delayed(_series)(task, kind, steps)
            parts.append(da.from_delayed(rows, (len(batch), steps), "f4"))
        seconds.append(da.from_delayed(dask.delayed(_seconds)(task), (len(batch),), "f8"))
    members = [member for batch, _ in run.sampled for member in batch]
    out = counts.assign_coords(member=("member", members, {"standard_name": "realization"}))
    for kind, parts in series.items():
        out[kind] = (("member", "step"), da.concatenate(parts))
    sigma = dask.delayed(_sigma)(run.sampled[0][1], steps)
    out["sigma"] = (("step",), da.from_delayed(sigma, (steps,), "f8"))
    out["seconds"] = (("member",), da.concatenate(seconds))
    out["residual"].attrs = {"long_name": "Relative residual of the guidance equation", "units": "1"}
    out["iterations"].attrs = {"long_name": "Iterations of the guidance solver", "units": "1"}
    out["sigma"].attrs = {"long_name": "Noise level", "units": "1"}
    out["seconds"].attrs = {"long_name": "Time to sample the batch", "units": "s"}
    return out


def _series(sampled: Sampled, kind: str, steps: int) -> np.ndarray:
    """One row a member; missing where nothing was observed, so that nothing was solved."""
    found = sampled.diagnostics.get(kind)
    return np.full((len(sampled.members), steps), np.nan, "f4") if found is None else found.T.astype("f4")


def _sigma(sampled: Sampled, steps: int) -> np.ndarray:
    return sampled.diagnostics.get("sigma", np.full(steps, np.nan))


def _seconds(sampled: Sampled) -> np.ndarray:
    return np.full(len(sampled.members), float(sampled.diagnostics["seconds"]))
