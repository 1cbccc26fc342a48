"""Free samples: what a model holds possible, without observations."""

from __future__ import annotations

import xarray as xr

from xappa.signatures import with_parameters_of
from xappa.state import find_model_times
from xappa.tasks.posterior import build_analysis
from xappa.tasks.request import TrajectoryRequest


@with_parameters_of(TrajectoryRequest)
def sample(request: TrajectoryRequest) -> xr.Dataset:
    """Trajectories that the model holds possible at the times of a Dataset, without observations.

    Returns
    -------
    xarray.Dataset
        As of `assimilate`.

    Raises
    ------
    xappa.errors.DatasetError, xappa.errors.ModelError, xappa.errors.OptionError
        As `assimilate`.

    Examples
    --------
    >>> free = xappa.template("2018-01-01", "2018-01-10").appa.sample(members=4, seed=0)  # doctest: +SKIP
    """
    trajectory, selection = find_model_times(request.ds, request.loaded_model.spec, request.layout)
    return build_analysis(request, trajectory, selection, title="Free samples")
