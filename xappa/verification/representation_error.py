"""Representation error: the error of a model's autoencoder at reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.errors import XappaError
from xappa.grids.axes import recognise
from xappa.grids.matching import find_positions
from xappa.operators.context import StateContext
from xappa.operators.interpolate import interpolate
from xappa.state import derive_spec, to_dataset

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel


def estimate_unresolved_error(ds: xr.Dataset, fields: xr.Dataset, obs: xr.Dataset, times: np.ndarray) -> xr.Dataset:
    """Deviation of the autoencoder's error at reports, for members that were decoded without it.

    The error counts as common to all numbers that make a report, as where reports are assimilated.

    Parameters
    ----------
    ds : Dataset
        An analysis; its attributes name the model, and say whether members were dressed.
    fields : Dataset
        The same in canonical form.
    obs : Dataset
        Observations in the schema, with any error.
    times : array of datetime64
        At which there are fields.

    Returns
    -------
    Dataset
        Along ``obs``, in the units of the vocabulary; empty where it is not known, or is in the members already.
    """
    error = _load_error_fields(ds, fields)
    if error is None:
        return xr.Dataset()
    spec = derive_spec(fields, recognise(fields))
    # Where the error is not known, as over land that of the sea, it is read from the other cells.
    known = np.isfinite(error)
    stencil, _ = interpolate(obs, StateContext(spec, times, np.zeros(spec.shape[1:]), known))
    values = np.stack([error[k] for k in range(len(error))]).reshape(len(error), -1)
    total = (np.abs(stencil.weight) * np.nan_to_num(values)[stencil.channel, stencil.cell]).sum(axis=1)
    found = {}
    for code, name in enumerate(stencil.names):
        rows = stencil.variable == code
        column = np.zeros(obs.sizes["obs"])
        column[stencil.observation[rows]] = total[rows]
        found[name] = ("obs", column)
    return xr.Dataset(found)


def _load_error_fields(ds: xr.Dataset, fields: xr.Dataset) -> np.ndarray | None:
    """Deviations (channel, latitude, longitude) in the order of `fields`; None where they are not known."""
    if ds.attrs.get("xappa_dressed") != "False":
        return None
    model = _load_model(ds)
    if model is None or model.error is None:
        return None
    spec = model.spec
    whole = to_dataset((model.error * model.scale)[None, None], spec, np.zeros(1, "M8[s]"), np.array([0]))
    whole = whole.isel(member=0, time=0)
    rows = find_positions(tuple(fields["latitude"].values.tolist()), spec.latitude)
    columns = find_positions(tuple(fields["longitude"].values.tolist()), spec.longitude, 360)
    if rows is None or columns is None:
        return None
    whole = whole.isel(latitude=rows, longitude=columns)
    found = []
    for name, level in derive_spec(fields, recognise(fields)).channels:
        if name not in whole or (level is not None and level not in whole["level"].values):
            return None
        field = whole[name] if level is None else whole[name].sel(level=level)
        found.append(field.transpose("latitude", "longitude").values)
    return np.stack(found)


def _load_model(ds: xr.Dataset) -> GenerativeModel | None:
    from xappa.model.registry import load

    for name in (ds.attrs.get("xappa_model_address"), ds.attrs.get("xappa_model")):
        if not name:
            continue
        try:
            model = load(name)
        except (XappaError, OSError):
            continue  # it was made with a model that is not here
        if model.digest == ds.attrs.get("xappa_model_digest"):
            return model
    return None
