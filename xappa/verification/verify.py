"""How good is it? Scores of a Dataset against fields or reports; the function behind ``ds.appa.verify``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.alignment import aligned
from xappa.errors import DatasetError, OptionError, choose
from xappa.grids import tidy
from xappa.grids.axes import Layout, recognise
from xappa.grids.conventions import once_round
from xappa.grids.notation import Notation
from xappa.labels.described import attributes
from xappa.labels.units import conversion
from xappa.verification import scores
from xappa.verification.matching import matched, prepare
from xappa.verification.pairs import Pair

if TYPE_CHECKING:
    import pandas as pd


def _error(forecast: xr.DataArray, pair: Pair) -> xr.DataArray:
    return scores.mean(pair.error**2) ** 0.5 if pair.error is not None else scores.mean(pair.truth) * np.nan


def _expected(forecast: xr.DataArray, pair: Pair) -> xr.DataArray:
    """What the error of a calibrated ensemble's mean would be, against reports with errors of their own."""
    variance = scores.expected(forecast) ** 2 + _error(forecast, pair) ** 2
    for deviation in pair.unresolved.values():
        variance = variance + scores.mean(deviation**2)
    return variance**0.5


def _crps(forecast: xr.DataArray, pair: Pair) -> xr.DataArray:
    for deviation in pair.unresolved.values():
        return scores.crps_dressed(forecast, pair.truth, deviation)
    return scores.crps(forecast, pair.truth)


def _spread_skill(forecast: xr.DataArray, pair: Pair) -> xr.DataArray:
    if pair.error is None:
        return scores.spread_skill(forecast, pair.truth)
    return _expected(forecast, pair) / scores.rmse(forecast, pair.truth)


METRICS: dict[str, Callable[[xr.DataArray, Pair], xr.DataArray]] = {
    "rmse": lambda forecast, pair: scores.rmse(forecast, pair.truth),
    "bias": lambda forecast, pair: scores.bias(forecast, pair.truth),
    "crps": _crps,
    "spread": lambda forecast, pair: scores.spread(forecast),
    "spread_skill": _spread_skill,
    "error": _error,
    "expected": _expected,
    "count": lambda forecast, pair: scores.count(pair.truth),
}
DIMENSIONLESS = ("spread_skill", "count")
OF_MEMBERS = ("spread", "spread_skill", "expected")
OF_REPORTS = ("error", "expected", "count")
MEANING = (
    "rmse: of the ensemble mean; bias: mean of (ensemble mean - reference); crps: fair form, of one member the mean "
    "absolute error; spread: root mean variance of members; spread_skill: expected error of a calibrated ensemble of "
    "this size over rmse (1 is calibrated, below 1 overconfident), dimensionless; error: root mean variance of the "
    "reports' errors; expected: sqrt((M + 1) / M spread^2 + error^2), to be held against rmse; count: number of "
    "reports; against reports, the error of the model's autoencoder counts in crps, spread_skill and expected, where "
    "members were decoded without it"
)


@aligned
def verify(
    ds: xr.Dataset,
    reference: xr.Dataset | xr.DataArray | pd.DataFrame,
    metrics: Sequence[str] | None = None,
    baselines: Mapping[str, xr.Dataset | xr.DataArray] | None = None,
) -> xr.Dataset:
    """Scores against fields or (withheld) reports; the twin of ``ds.appa.verify``.

    Means are over everything but level, those of fields weighted by the cosine of latitude. What is missing in the
    reference, in `ds` or in a baseline (sea surface temperature over land) is left out of all scores alike.

    Parameters
    ----------
    ds : Dataset
        Fields in (time, latitude, longitude), with or without members and levels.
    reference : Dataset, DataArray or DataFrame
        Fields on the same grid, in any order of rows and convention of longitude, which are compared at common times
        and levels; or observations, to which `ds` is brought by the operator ``"interpolate"``. Reports on levels are
        scored at the nearest level (in log-pressure) of `ds`. Rejected reports (flag other than 0) don't count. A
        DataArray is the variable of its name.
    metrics : sequence of str, optional
        Any of ``"rmse"``, ``"bias"``, ``"crps"``, ``"spread"``, ``"spread_skill"`` and, against reports, ``"error"``
        (of the reports), ``"expected"`` (sqrt((M + 1) / M spread² + error²), which rmse equals if members are
        calibrated) and ``"count"``; against reports, ``"spread_skill"`` is expected over rmse. Default: all that
        apply; those that ask for a spread don't to a single state, which has none.
    baselines : mapping of str to Dataset or DataArray, optional
        Others to be scored beside, by name: fields, or (against reports) values at the reports, along ``obs``.

    Returns
    -------
    Dataset
        One variable a quantity, called as in `ds` and in its units, over ``metric``, with ``level`` where it has
        levels and ``source`` (``"analysis"`` and the baselines' names) where baselines are given. Lazy where `ds` is,
        unless reports are the reference.

    Raises
    ------
    DatasetError
        If there is no common variable, time or level, the grids differ, or a DataArray has no name.
    OptionError
        If a metric is unknown or does not apply.
    UnitsError
        If units cannot be converted, or values without units are none of the quantity's, as wherever fields are read;
        the latter, where `ds` or the reference is lazy, when scores are computed.
    """
    ds = once_round(tidy(ds))
    layout = recognise(ds)
    reference = _by_name(reference, "The reference") if isinstance(reference, xr.DataArray) else reference
    others = _baselines(baselines)
    fields = reference if isinstance(reference, xr.Dataset) and "obs" not in reference.dims else None
    chosen = _metrics(metrics, ds.sizes.get(layout.member, 1), fields is None)
    if fields is None:
        from xappa.verification.reading import pairs_at_reports

        pairs = pairs_at_reports(ds, reference, others)
    else:
        pairs = _pairs(ds, fields, others)
    sources = ["analysis", *others]
    by_quantity = [scored(pair.common(), chosen).reindex(source=sources).rename(name) for name, pair in pairs.items()]
    result = xr.merge(by_quantity, join="outer", compat="override")
    for name in pairs:
        result[name] = _in_own_units(result[name], layout.notation[layout.spelling(name)], name)
    return _spelt(result if others else result.isel(source=0, drop=True), layout)


def _baselines(baselines: Mapping[str, xr.Dataset | xr.DataArray] | None) -> dict[str, xr.Dataset]:
    """The others by their names, as Datasets."""
    given = {} if baselines is None else baselines
    if not isinstance(given, Mapping) or isinstance(given, xr.Dataset):
        raise OptionError(
            f"baselines is a {type(given).__name__}; expected Datasets by name: baselines={{'name': ...}}"
        )
    if "analysis" in given:
        raise OptionError("Found a baseline called 'analysis', which is the Dataset itself; give it another name.")
    if wrong := [name for name, other in given.items() if not isinstance(other, xr.Dataset | xr.DataArray)]:
        raise OptionError(f"Baselines that are no Dataset: {', '.join(map(repr, wrong))}; expected fields or values")
    return {
        name: _by_name(other, f"The baseline {name!r}") if isinstance(other, xr.DataArray) else other
        for name, other in given.items()
    }


def _by_name(field: xr.DataArray, what: str) -> xr.Dataset:
    """A DataArray as the variable that its name says."""
    if field.name is None:
        raise DatasetError(
            f"{what} is a DataArray without a name; expected the name of a quantity: use .rename('2m_temperature'), "
            "or give a Dataset."
        )
    return field.to_dataset()


def _pairs(ds: xr.Dataset, reference: xr.Dataset, others: Mapping[str, xr.Dataset]) -> dict[str, Pair]:
    reference = once_round(tidy(reference))
    analysis, layout = prepare(ds, recognise(reference).names.values())
    truth, analysis = matched(prepare(reference, layout.names.values())[0], analysis, "the reference")
    if "member" in truth.dims:
        raise DatasetError(
            f"The reference has {truth.sizes['member']} members; expected one truth: "
            "take reference.isel(member=0), or its mean."
        )
    sources = {"analysis": analysis}
    for name, other in others.items():
        field = matched(prepare(other, analysis.data_vars)[0], analysis, f"the baseline {name!r}")[0]
        sources[name] = field
    return {
        str(v): Pair({name: source[v] for name, source in sources.items() if v in source}, truth[v])
        for v in analysis.data_vars
    }


def scored(pair: Pair, metrics: Sequence[str]) -> xr.DataArray:
    """Scores of the forecasts of a pair over ``source`` and ``metric``."""
    by_source = []
    for source, forecast in pair.forecasts.items():
        part = pair.of(source)
        by_source.append(_concat([METRICS[metric](forecast, part) for metric in metrics], "metric", list(metrics)))
    return _concat(by_source, "source", list(pair.forecasts))


def _concat(values: list[xr.DataArray], dim: str, labels: list[str]) -> xr.DataArray:
    values = [v.reset_coords(drop=True) for v in values]
    return xr.concat(values, dim, coords="minimal", compat="override", join="exact").assign_coords({dim: labels})


def _metrics(metrics: Sequence[str] | None, members: int, reports: bool) -> tuple[str, ...]:
    missing = {name: "members: there is but one state" for name in OF_MEMBERS if members < 2}
    missing |= {name: "reports as reference" for name in OF_REPORTS if not reports}
    if metrics is None:
        return tuple(name for name in METRICS if name not in missing)
    asked = tuple(metrics) if isinstance(metrics, Iterable) and not isinstance(metrics, str) else (metrics,)
    for name in asked:
        choose("metric", name, METRICS)
    wrong = [f"{name!r} needs {missing[name]}" for name in asked if name in missing]
    if wrong or not asked:
        raise OptionError(
            f"Found metrics={list(asked)}: {'; '.join(wrong) or 'none at all'}; "
            f"expected some of {', '.join(repr(n) for n in METRICS if n not in missing)}."
        )
    return asked


def _in_own_units(values: xr.DataArray, written: Notation, name: str) -> xr.DataArray:
    """Scores, which are all in the vocabulary's units or in none, in those in which the user writes the quantity."""
    own = xr.DataArray([m not in DIMENSIONLESS for m in values["metric"].values], dims="metric")
    described = {**attributes(name, written), **dict(written.attrs)}
    kept = {key: described[key] for key in ("units", "standard_name", "long_name")}
    comment = f"in these units, but for {' and '.join(DIMENSIONLESS)}, which have none"
    scaled = values / xr.where(own, conversion(written, name).factor, 1.0)
    return scaled.assign_attrs({**kept, "comment": comment})


def _spelt(result: xr.Dataset, layout: Layout) -> xr.Dataset:
    """Scores under the user's names of variables and levels."""
    result["metric"].attrs = {"long_name": "score", "comment": MEANING}
    result = result.rename({name: layout.spelling(str(name)) for name in result.data_vars})
    if "level" in result.dims and layout.level is not None:
        by_pressure = dict(zip(layout.hectopascals, layout.levels, strict=True))
        own = [by_pressure[float(p)] for p in result["level"].values]
        result = result.assign_coords(level=("level", own, {"units": layout.level_units, "positive": "down"}))
        result = result.rename(level=layout.level) if layout.level != "level" else result
    return result
