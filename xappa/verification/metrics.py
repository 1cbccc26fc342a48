"""Scores by name: what each needs, and how it is computed from forecasts and truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import xarray as xr

from xappa.errors import OptionError, choose
from xappa.verification import scores
from xappa.verification.field_pairs import FieldPair
from xappa.verification.histograms import rank_histogram, reliability

Over = list[str]
MetricNames = Sequence[str]
"""Names of `METRICS`; `choose_metrics` says which are valid."""
Metric = Callable[[xr.DataArray, FieldPair, Over], xr.DataArray]

CLIMATOLOGY = "climatology"
"""Name of the baseline from which anomalies are taken."""


def _error(forecast: xr.DataArray, pair: FieldPair, over: Over) -> xr.DataArray:
    if pair.error is None:
        return scores.mean(pair.truth, over) * np.nan
    return scores.mean(pair.error**2, over) ** 0.5


def _expected(forecast: xr.DataArray, pair: FieldPair, over: Over) -> xr.DataArray:
    """Expected error of a calibrated ensemble's mean, against reports with errors of their own."""
    variance = scores.expected(forecast, over) ** 2 + _error(forecast, pair, over) ** 2
    for deviation in pair.unresolved.values():
        variance = variance + scores.mean(deviation**2, over)
    return variance**0.5


def _crps(forecast: xr.DataArray, pair: FieldPair, over: Over) -> xr.DataArray:
    for deviation in pair.unresolved.values():
        return scores.crps_dressed(forecast, pair.truth, deviation, over)
    return scores.crps(forecast, pair.truth, over)


def _spread_skill(forecast: xr.DataArray, pair: FieldPair, over: Over) -> xr.DataArray:
    if pair.error is None:
        return scores.spread_skill(forecast, pair.truth, over)
    return _expected(forecast, pair, over) / scores.rmse(forecast, pair.truth, over)


def _acc(forecast: xr.DataArray, pair: FieldPair, over: Over) -> xr.DataArray:
    assert pair.climatology is not None
    return scores.acc(forecast, pair.truth, pair.climatology, over)


METRICS: dict[str, Metric] = {
    "rmse": lambda forecast, pair, over: scores.rmse(forecast, pair.truth, over),
    "bias": lambda forecast, pair, over: scores.bias(forecast, pair.truth, over),
    "mae": lambda forecast, pair, over: scores.mae(forecast, pair.truth, over),
    "acc": _acc,
    "crps": _crps,
    "spread": lambda forecast, pair, over: scores.spread(forecast, over),
    "spread_skill": _spread_skill,
    "error": _error,
    "expected": _expected,
    "count": lambda forecast, pair, over: scores.count(pair.truth, over),
}
"""Numbers, along the dimension ``metric``."""

CURVES: dict[str, Callable[[xr.DataArray, FieldPair, Over], dict[str, xr.DataArray]]] = {
    "rank_histogram": rank_histogram,
    "reliability": reliability,
}
"""Scores with a dimension of their own, which become variables of their own: ``<name>_<score>``."""

DIMENSIONLESS = ("acc", "spread_skill", "count")
ASKED = ("mae", "acc", *CURVES)
"""Computed only if asked for."""
OF_MEMBERS = ("spread", "spread_skill", "expected", *CURVES)
OF_REPORTS = ("error", "expected")
OF_CLIMATOLOGY = ("acc", "reliability")
MEANING = (
    "rmse: of the ensemble mean; bias: mean of (ensemble mean - reference); mae: mean absolute error of the ensemble "
    "mean; acc: anomaly correlation of the ensemble mean, dimensionless; crps: fair form, of one member the mean "
    "absolute error; spread: root mean variance of members; spread_skill: expected error of a calibrated ensemble of "
    "this size over rmse (1 is calibrated, below 1 overconfident), dimensionless; error: root mean variance of the "
    "reports' errors; expected: sqrt((M + 1) / M spread^2 + error^2), to be held against rmse; count: number of "
    "values compared; against reports, the error of the model's autoencoder counts in crps, spread_skill and expected, "
    "where members were decoded without it"
)


def choose_metrics(
    metrics: Sequence[str] | None, members: int, reports: bool, baselines: Iterable[str]
) -> tuple[str, ...]:
    """The scores that are asked for, or all usual ones that apply.

    Raises
    ------
    OptionError
        If a score is unknown, or lacks what it needs.
    """
    missing = {name: "members: there is but one state" for name in OF_MEMBERS if members < 2}
    missing |= {name: "reports as reference" for name in OF_REPORTS if not reports}
    if CLIMATOLOGY not in set(baselines):
        missing |= {name: f"a baseline called {CLIMATOLOGY!r}" for name in OF_CLIMATOLOGY}
    known = {**METRICS, **CURVES}
    if metrics is None:
        return tuple(name for name in METRICS if name not in missing and name not in ASKED)
    asked = tuple(metrics) if isinstance(metrics, Iterable) and not isinstance(metrics, str) else (metrics,)
    for name in asked:
        choose("metric", name, known)
    wrong = [f"{name!r} needs {missing[name]}" for name in asked if name in missing]
    if wrong or not asked:
        raise OptionError(
            f"Found metrics={list(asked)}: {'; '.join(wrong) or 'none at all'}; "
            f"expected some of {', '.join(repr(n) for n in known if n not in missing)}."
        )
    return asked


def compute_scores(pair: FieldPair, metrics: Sequence[str], keep: Sequence[str] = ()) -> xr.DataArray:
    """Scores of the forecasts of a pair over ``source`` and ``metric``.

    Parameters
    ----------
    pair : FieldPair
    metrics : sequence of str
        Of `METRICS`.
    keep : sequence of str
        Dimensions that are kept beside ``level``.
    """
    over = select_mean_dims(pair, keep)
    by_source = []
    for source, forecast in pair.forecasts.items():
        part = pair.select_source(source)
        by_source.append(
            _concat([METRICS[metric](forecast, part, over) for metric in metrics], "metric", list(metrics))
        )
    return _concat(by_source, "source", list(pair.forecasts))


def compute_curves(pair: FieldPair, metric: str, keep: Sequence[str] = ()) -> dict[str, xr.DataArray]:
    """A score with a dimension of its own, over ``source``: by name of its parts, of sources that have members."""
    over = select_mean_dims(pair, keep)
    found: dict[str, dict[str, xr.DataArray]] = {}
    for source, forecast in pair.forecasts.items():
        if forecast.sizes.get("member", 1) > 1:
            for part, values in CURVES[metric](forecast, pair.select_source(source), over).items():
                found.setdefault(part, {})[source] = values
    return {part: _concat(list(by.values()), "source", list(by), "outer") for part, by in found.items()}


def select_mean_dims(pair: FieldPair, keep: Sequence[str]) -> Over:
    """Dimensions that scores are means over."""
    dims = dict.fromkeys(str(dim) for field in (pair.truth, *pair.forecasts.values()) for dim in field.dims)
    return [dim for dim in dims if dim not in ("level", "member", *keep)]


def _concat(values: list[xr.DataArray], dim: str, labels: list[str], join: str = "exact") -> xr.DataArray:
    kept = [v.drop_vars([name for name, c in v.coords.items() if name not in v.dims]) for v in values]
    joined = xr.concat(kept, dim, coords="minimal", compat="override", join=join)  # type: ignore[call-overload]
    return joined.assign_coords({dim: labels})
