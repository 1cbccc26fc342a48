"""How good an analysis is at reports that it has not seen, whatever operator reads them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.grids.axes import recognise
from xappa.model.registry import load
from xappa.observations.schema import quantities
from xappa.operators import StateContext, choose_operator
from xappa.operators.geometry import STATION
from xappa.operators.heights import HeightCorrection
from xappa.state import derive_spec, to_array
from xappa.verification.metrics import compute_scores
from xappa.verification.report_pairs import make_pair
from xappa.verification.stations import interpolate_inverse_distance

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike
    from xappa.operators.sources import Choice

METRICS = ("rmse", "bias", "crps", "spread", "error", "expected", "count")
SINGLE = ("rmse", "bias", "crps", "error", "count")
NEIGHBOURS = "inverse distance"
RESIDUALS = "analysis, residuals interpolated"


def score_withheld(
    analysis: xr.Dataset,
    used: xr.Dataset,
    withheld: xr.Dataset,
    baseline: xr.Dataset,
    operator: Choice | Mapping[str, Choice] | None = None,
    *,
    model: ModelLike | None = None,
) -> xr.Dataset:
    """Scores at withheld reports: of the analysis, of climatology, and of interpolation of the reports used.

    All are scored at the same reports: those that all of them can say something of.

    Parameters
    ----------
    analysis, baseline : Dataset
        Fields on the model's grid, the first with members.
    used, withheld : Dataset
        Observations in the schema, flagged, with errors.
    operator : str, operator, function, or dict of these, optional
        How both fields are read at reports; see `assimilate`.
    model : str, Path or Prior, optional
        Default: the option ``default_model``.

    Returns
    -------
    Dataset
        A variable a quantity, over ``source`` and ``metric``, with ``level`` (the nearest of the model's) aloft.
        Sources: ``analysis``; ``climatology``; ``inverse distance``, of the nearest 8 stations used; ``analysis,
        residuals interpolated``: the analysis, plus the differences between reports used and analysis, interpolated in
        the same way. That one is no field of the analysis: it shows how much of its error is local.
    """
    at = {"analysis": predict_reports(analysis, withheld, operator, model=model)}
    names = [name for name in quantities(withheld) if bool(at["analysis"][name].notnull().any())]
    at["climatology"] = predict_reports(baseline, withheld, operator, model=model)
    at[NEIGHBOURS] = _interpolate_neighbours(used, withheld, names)
    seen = predict_reports(analysis, used, operator, model=model)
    seen, there = (d.mean("member") if "member" in d.dims else d for d in (seen, at["analysis"]))
    residuals = used.assign({name: (used[name] - seen[name]).assign_attrs(used[name].attrs) for name in names})
    rest = {name: interpolate_inverse_distance(residuals, withheld, name, lapse_rate=0.0) for name in names}
    at[RESIDUALS] = xr.Dataset({name: there[name] + rest[name].drop_vars(list(rest[name].coords)) for name in names})
    metrics = METRICS if analysis.sizes.get("member", 1) > 1 else SINGLE
    levels = analysis["level"].values if "level" in analysis.dims else np.zeros(0)
    found = []
    for name in names:
        score = compute_scores(make_pair(name, at, withheld, levels).mask_uncommon(), metrics).rename(name)
        kept = {
            key: text for key, text in withheld[name].attrs.items() if key in ("units", "standard_name", "long_name")
        }
        found.append(score.assign_attrs(kept))
    return xr.merge(found, join="outer", compat="override")


def predict_reports(
    fields: xr.Dataset,
    obs: xr.Dataset,
    operator: Choice | Mapping[str, Choice] | None = None,
    *,
    model: ModelLike | None = None,
) -> xr.Dataset:
    """What fields say of reports, by an operator.

    Parameters
    ----------
    fields : Dataset
        On the model's grid, with or without members.
    obs : Dataset
        Observations in the schema. Their own values serve where one quantity is needed to read another (the
        temperature of a station, for its pressure).
    operator : str, operator, function, or dict of these, optional
        See `assimilate`.
    model : str, Path or Prior, optional
        The model whose fields they are: gives the height of their surface, and the step within half of which reports
        are read before the first and after the last time. Default: the option ``default_model``.

    Returns
    -------
    Dataset
        The quantities of `obs`, along ``obs`` (and ``member``); NaN where reports are rejected, or cannot be read.
    """
    layout = recognise(fields)
    prior = load(model)
    spec = replace(derive_spec(fields, layout), step_hours=prior.spec.step_hours)
    many = "member" in fields.dims
    members = [fields.isel(member=[k]) for k in range(fields.sizes["member"])] if many else [fields]
    states = [to_array(state, spec, layout) for state in members]
    mask = np.isfinite(states[0]).all(axis=0)
    names = quantities(obs)
    with_errors = obs.assign({f"{name}_error": ("obs", np.ones(obs.sizes["obs"])) for name in names})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the reports were assimilated
        times = np.atleast_1d(fields[layout.time].values)
        context = StateContext(spec, times, prior.surface_height, mask, layout)
        stencil, _ = choose_operator(operator)(with_errors, context)
    values = {name: np.full((len(states), obs.sizes["obs"]), np.nan) for name in names}
    for k, state in enumerate(states):
        found = stencil.apply(np.nan_to_num(state))
        for code, name in enumerate(stencil.names):
            rows = np.flatnonzero(stencil.variable == code)
            values[name][k, stencil.observation[rows]] = found[rows]
    return xr.Dataset({n: (("member", "obs"), v) if many else (("obs",), v[0]) for n, v in values.items()})


def _interpolate_neighbours(used: xr.Dataset, withheld: xr.Dataset, names: list[str]) -> xr.Dataset:
    """Inverse-distance interpolation of each quantity; pressure of stations by way of that at sea level."""
    found = {}
    for name in names:
        if name != STATION:
            found[name] = interpolate_inverse_distance(used, withheld, name)
            continue
        source, target = _compute_reduction(used), _compute_reduction(withheld)
        at_sea = used.assign({name: (used[name] / source).assign_attrs(used[name].attrs)})
        found[name] = interpolate_inverse_distance(at_sea, withheld, name) * target
    return xr.Dataset({name: values.drop_vars(list(values.coords)) for name, values in found.items()})


def _compute_reduction(obs: xr.Dataset) -> np.ndarray:
    return HeightCorrection(obs, None, None).compute_reduction(np.arange(obs.sizes["obs"]))[0]
