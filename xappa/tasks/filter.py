"""Filtering: the state now, given observations up to now."""

from __future__ import annotations

import xarray as xr

from xappa.signatures import signature_of
from xappa.state import model_times
from xappa.tasks.backgrounds import given_background
from xappa.tasks.observed import observed
from xappa.tasks.posterior import run
from xappa.tasks.request import ObservedRequest


@signature_of(ObservedRequest)
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
    trajectory, _ = model_times(request.ds, request.prior.spec, request.layout)
    reports = observed(request, trajectory, request.obs, request.operator, until=trajectory[-1])
    given = given_background(request, request.background, trajectory)
    return run(request, trajectory, slice(len(trajectory) - 1, None), reports=reports, given=given, title="State")
