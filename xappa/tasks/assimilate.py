"""Reanalysis: the trajectories, over the times of a Dataset, that observations allow."""

from __future__ import annotations

import xarray as xr

from xappa.signatures import with_parameters_of
from xappa.state import find_model_times
from xappa.tasks.backgrounds import encode_background
from xappa.tasks.observed import prepare_observations
from xappa.tasks.posterior import build_analysis
from xappa.tasks.request import ObservedRequest


@with_parameters_of(ObservedRequest)
def assimilate(request: ObservedRequest) -> xr.Dataset:
    """Reanalysis: the trajectories over the times of a Dataset that observations allow.

    Returns at once. The sampling runs when values are asked for (``.compute()``, ``.plot()``, `xappa.to_zarr`), and
    only for what is asked for. Reports that cannot be used are never an error: they are rejected, and counted by reason
    in `xappa.diagnostics`.

    Returns
    -------
    xarray.Dataset
        The variables of `ds` on the model's grid, with dimensions ``member``, ``time``, ``level`` where it applies,
        ``latitude``, ``longitude``; Dask-backed; names, order of latitude, convention of longitude, and units as in
        `ds`. Model, options and seed are in the attributes.

    Raises
    ------
    xappa.errors.DatasetError
        If axes, times or variables are not as needed; all reasons at once.
    xappa.errors.ObservationError
        If no observation lies within the times, or `obs` lacks a coordinate.
    xappa.errors.UnitsError
        If units are unknown or cannot be converted.
    xappa.errors.ModelError
        If there is no such model; those known are listed.
    xappa.errors.OptionError
        If an option has a value that is not valid, such as ``members=0``.

    Examples
    --------
    >>> ds = xappa.template("2018-11-01T00", "2018-11-02T18")  # doctest: +SKIP
    >>> analysis = ds.appa.assimilate(obs, members=8, seed=0)  # doctest: +SKIP
    >>> analysis["2m_temperature"].std("member").isel(time=-1).plot()  # doctest: +SKIP
    """
    trajectory, selection = find_model_times(request.ds, request.loaded_model.spec, request.layout)
    reports = prepare_observations(request, trajectory, request.obs, request.operator)
    given = encode_background(request, request.background, trajectory)
    return build_analysis(request, trajectory, selection, reports=reports, given=given)
