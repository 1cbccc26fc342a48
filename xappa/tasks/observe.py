"""What a network would have reported of a Dataset."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import OptionError, warn
from xappa.grids import flatten_valid_time
from xappa.grids.axes import Layout, recognise, refuse
from xappa.grids.validation import find_scalar_axes
from xappa.model.state import StateSpec
from xappa.observations import read_observations, with_errors
from xappa.observations.errors.noise import draw_standard_errors
from xappa.observations.errors.tables import Deviation
from xappa.observations.flags import Flag, flags_of
from xappa.observations.schema import is_one_form, quantities, set_error
from xappa.observations.user_variables import require_units, user_defined_names
from xappa.operators import CompositeOperator, Operator, SparseOperator, StateContext, choose_operator
from xappa.state import derive_spec, to_array
from xappa.state.surface import find_surface_height
from xappa.state.validation import find_value_problems
from xappa.tasks.planning import choose_seed

if TYPE_CHECKING:
    import pandas as pd

    from xappa.operators.sources import Choice


REPORTED = "reported"


@check_arguments
@with_xarray_defaults
def observe(
    ds: xr.Dataset,
    where: xr.Dataset | pd.DataFrame,
    operator: Choice | Mapping[str, Choice] = "interpolate",
    error: Mapping[str, Deviation] | Deviation | None = None,
    seed: int | None = None,
) -> xr.Dataset:
    """What a network would have reported of a Dataset. The fields that are read are computed.

    Parameters
    ----------
    ds : Dataset
        Fields on a latitude-longitude grid, global or not, with or without members. The height of their surface is
        their own field of it, or that of the model which made the analysis.
    where : Dataset or DataFrame
        Observations, in any form that `read_observations` takes: their places, times and variables. What is missing or
        rejected there is missing here; of a variable that is missing everywhere all is observed.
    operator : str, operator, function, or dict of these, default "interpolate"
        How fields are read; see `assimilate`.
    error : mapping, str or float, optional
        Standard deviation of the Gaussian noise that is added: by variable, a number in the variable's units or a text
        such as ``"1 K"``; or the name of a table; or one deviation, if there is one variable; or ``"reported"``: the
        deviations that `where` brings. It is correlated where `where` says so (`with_correlation`). Variables without a
        deviation get no noise, with a warning. Default: no noise.
    seed : int, optional
        The noise is a function of (seed, variable, position along ``obs``). Default: drawn now, and kept in the attrs.

    Returns
    -------
    Dataset
        Observations, in the units of the vocabulary, with ``<name>_flag`` and, where known, ``<name>_error``; along the
        members of `ds` too, if it has them. Values are NaN where nothing could be read.

    Raises
    ------
    DatasetError, UnitsError
        If `ds` cannot be read.
    ObservationError
        If no place lies inside the times of `ds`, or it has none of the variables.
    OptionError
        If the operator or `error` is not valid.

    Examples
    --------
    >>> reports = truth.appa.observe(stations, error={"2m_temperature": 1.0}, seed=0)  # doctest: +SKIP
    """
    interpret = choose_operator(operator)
    network = _make_network(where, "keep" if interpret.whole_state else user_defined_names(error))
    ds = flatten_valid_time(ds)
    layout = recognise(ds)
    height = find_surface_height(ds, layout)
    refuse(find_scalar_axes(ds[layout.latitude], ds[layout.longitude]), "Nothing can be read off a single place")
    observed = set(quantities(network))
    alone = observed <= set(layout.names.values()) and not interpret.whole_state
    spec = derive_spec(ds, layout, observed if alone else None)
    refuse(find_value_problems(ds, spec, layout, members=True), "This Dataset cannot be observed")
    deviations = None if error is None else _with_deviations(network, error)
    surface = None if height is None else height.values
    stencil, flagged, fields = _build_operator(interpret, _with_any_error(network), ds, spec, layout, surface)
    require_units(network, stencil.names)
    member = None if layout.member is None else ds[layout.member].dims[0]
    states = [fields] if member is None else [fields.isel({member: [k]}) for k in range(fields.sizes[member])]
    predicted = np.stack([stencil.apply(to_array(state, spec, layout)) for state in states])
    obs = _label_predictions(network, stencil, predicted, flagged, member)
    if member is not None and member in ds.coords:
        obs = obs.assign_coords({member: ds[member]})
    return obs if deviations is None else _add_noise(obs, deviations, choose_seed(seed))


def _make_network(where: xr.Dataset | pd.DataFrame, unknown: str | Collection[str]) -> xr.Dataset:
    """The places in the schema: 0 where something is to be observed, NaN elsewhere."""
    obs = where if isinstance(where, xr.Dataset) and is_one_form(where) else read_observations(where, unknown=unknown)
    obs = obs.compute()
    for name in quantities(obs):
        reported = obs[name].notnull()
        observed = (flags_of(obs, name) == Flag.GOOD) & (reported if reported.any() else True)
        obs[name] = xr.where(observed, 0.0, np.nan).assign_attrs(obs[name].attrs)
    return obs


def _build_operator(
    interpret: Operator, network: xr.Dataset, ds: xr.Dataset, spec: StateSpec, layout: Layout, height: Array | None
) -> tuple[SparseOperator | CompositeOperator, xr.Dataset, xr.Dataset]:
    """SparseOperator of `ds` that avoids missing values, the flags, and the times of `ds` that the stencil indexes."""
    times = np.atleast_1d(ds[layout.time].values)
    state = StateContext(spec, times, height, layout=layout)
    stencil, flagged = interpret(network, state)
    frames = stencil.frames
    fields = ds.isel({ds[layout.time].dims[0]: frames}) if ds[layout.time].ndim else ds
    first = fields if layout.member is None else fields.isel({ds[layout.member].dims[0]: [0]})
    mask = np.isfinite(to_array(first, spec, layout)).all(axis=0)
    if not mask.all():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said once by the first call
            stencil, flagged = interpret(network, replace(state, mask=mask))
    return stencil.reindex_times(frames), flagged, fields


def _label_predictions(
    network: xr.Dataset,
    stencil: SparseOperator | CompositeOperator,
    predicted: Array,
    flagged: xr.Dataset,
    member: Hashable | None,
) -> xr.Dataset:
    obs = network.copy()
    for name in quantities(network):
        values = np.full((len(predicted), network.sizes["obs"]), np.nan)
        if name in stencil.names:
            rows = stencil.variable == stencil.names.index(name)
            values[:, stencil.observation[rows]] = predicted[:, rows]
        dims, data = (("obs",), values[0]) if member is None else ((member, "obs"), values)
        obs[name] = (dims, data, flagged[name].attrs)
        obs[f"{name}_flag"] = flagged[f"{name}_flag"]
    heights = {key: value for key, value in flagged.attrs.items() if str(key).startswith("height_correction")}
    return obs.assign_attrs(heights)


def _add_noise(obs: xr.Dataset, deviations: xr.Dataset, seed: int) -> xr.Dataset:
    for name in quantities(obs):
        if f"{name}_error" not in deviations:
            continue
        deviation = deviations[f"{name}_error"]
        rows = np.flatnonzero(np.isfinite(obs[name].values).reshape(-1, obs.sizes["obs"]).any(axis=0))
        noise = draw_standard_errors(deviations, name, rows, obs[name].shape, seed)
        noisy = obs[name] + deviation * xr.DataArray(noise, dims=obs[name].dims)
        obs = obs.assign({name: noisy.transpose(*obs[name].dims).assign_attrs(obs[name].attrs)})
        obs = set_error(obs, name, deviation)
    return obs.assign_attrs(noise_seed=seed)


def _with_deviations(network: xr.Dataset, error: Mapping[str, Deviation] | Deviation) -> xr.Dataset:
    """The network with the deviations of the errors that are added."""
    if not (isinstance(error, str) and error == REPORTED):
        network = with_errors(network.drop_vars(_list_errors(network)), error)
    elif not _list_errors(network):
        raise OptionError(
            "error='reported', but the network has no errors (variables such as "
            f"{quantities(network)[0]}_error): give them to the generator as errors=, or name a table"
        )
    if perfect := [name for name in quantities(network) if f"{name}_error" not in network]:
        warn(f"error= says nothing of {', '.join(perfect)}: these reports are perfect.")
    return network


def _list_errors(obs: xr.Dataset) -> list[str]:
    return [f"{name}_error" for name in quantities(obs) if f"{name}_error" in obs]


def _with_any_error(obs: xr.Dataset) -> xr.Dataset:
    """Errors of 1 throughout: what is read does not depend on them."""
    return obs.assign({f"{name}_error": ("obs", np.ones(obs.sizes["obs"])) for name in quantities(obs)})
