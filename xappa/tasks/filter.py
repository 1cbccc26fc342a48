"""Filtering: the state now, given observations up to now."""

from __future__ import annotations

import xarray as xr

from xappa.signatures import with_parameters_of
from xappa.state import find_model_times
from xappa.tasks.backgrounds import encode_background
from xappa.tasks.observed import prepare_observations
from xappa.tasks.posterior import build_analysis
from xappa.tasks.request import ObservedRequest


@with_parameters_of(ObservedRequest)
def filter(request: ObservedRequest) -> xr.Dataset:
    """The state now, at the last time of a Dataset, given observations up to then.

    As `assimilate`, but later reports are rejected, and of the trajectory only the last state is returned. Reports
    count from the first time of `ds` on: one with the last time alone has no past.

    Returns
    -------
    xarray.Dataset
        As of `assimilate`, with one time.

    Raises
    ------
    xappa.errors.XappaError
        As `assimilate`.

    Examples
    --------
    >>> past = xappa.template("2018-11-01T00", "2018-11-02T12")  # doctest: +SKIP
    >>> now = past.appa.filter(obs, members=8, seed=0)  # doctest: +SKIP
    """
    trajectory, _ = find_model_times(request.ds, request.loaded_model.spec, request.layout)
    reports = prepare_observations(request, trajectory, request.obs, request.operator, until=trajectory[-1])
    given = encode_background(request, request.background, trajectory)
    return build_analysis(
        request, trajectory, slice(len(trajectory) - 1, None), reports=reports, given=given, title="State"
    )
