"""Scores of a Dataset against fields or reports; the function behind ``ds.appa.verify``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import DatasetError, OptionError
from xappa.grids.axes import inspect, refuse
from xappa.grids.conventions import decode_conventions, drop_repeated_meridian
from xappa.grids.forecast_time import find_forecast_times
from xappa.grids.statistics import describe_statistic
from xappa.grids.variable_encoding import VariableEncoding
from xappa.verification import groups
from xappa.verification.field_pairs import FieldPair
from xappa.verification.matching import align_datasets, find_matching_positions
from xappa.verification.metrics import CLIMATOLOGY, CURVES, MetricNames, choose_metrics, compute_curves, compute_scores
from xappa.verification.missing import Gaps, find_present_states
from xappa.verification.result import Scores, convert_to_user_units, restore_user_names, with_all_leads
from xappa.verification.source import TimedFields, assign_climatology_times

if TYPE_CHECKING:
    import pandas as pd

Group = tuple[dict[str, Any], dict[str, FieldPair]]
"""Labels, such as a lead, and the pairs by quantity."""


@check_arguments
@with_xarray_defaults
def verify(
    ds: xr.Dataset,
    reference: xr.Dataset | xr.DataArray | pd.DataFrame,
    metrics: MetricNames | None = None,
    baselines: Mapping[str, xr.Dataset | xr.DataArray] | None = None,
    by: str | Sequence[str] | None = None,
) -> Scores:
    """Verify a Dataset against fields or (withheld) observations.

    Forecasts along starts and leads are compared at their valid time, start plus lead; `xappa` recognises them as
    WeatherBench2, earth2studio, earthkit, cfgrib, climpred and CF write them. Fields are weighted by the cosine of
    latitude. What is missing in the reference, in `ds` or in a baseline is left out of all scores alike;
    where single members are missing, the others are scored. A `GapWarning`, the metric ``"count"`` and the
    attribute ``left_out`` name what is left out.

    Parameters
    ----------
    ds : xarray.Dataset
        Fields in (time, latitude, longitude), or forecasts along starts and leads, with or without members and levels.
    reference : xarray.Dataset, xarray.DataArray or pandas.DataFrame
        Fields on the grid of `ds` or a region of it (any order of rows, any convention of longitude), which are
        compared at common times and levels; or observations, to which `ds` is brought by ``"interpolate"``,
        amounts and extremes over their periods too. Reports that bring no error have the one that the analysis
        assumed. Rejected reports do not count. A DataArray is the variable of its name.
    metrics : sequence of str, optional
        Any of ``"rmse"`` (of the mean over members), ``"bias"``, ``"mae"``, ``"crps"`` (the fair form),
        ``"spread"``, ``"spread_skill"`` (1 is calibrated, less is overconfident), ``"count"`` (of values);
        ``"acc"`` and ``"reliability"``, which need a baseline called ``"climatology"``; ``"rank_histogram"``;
        against reports also ``"error"`` (of the reports) and ``"expected"`` (sqrt((M + 1) / M spread² + error²):
        what rmse is if members are calibrated). Default: all that apply but mae, acc, reliability and the rank
        histogram.
    baselines : mapping of str to xarray.Dataset or xarray.DataArray, optional
        Others, scored beside `ds` under their names: fields, forecasts (at the same leads), a climatology
        by hour, day of the year or month, a mean without time, or, against reports, values along ``obs``.
    by : str or sequence of str, optional
        What scores are kept along; means are over all else but levels. Any of ``"lead"``, ``"init"`` (start),
        ``"time"`` (valid time), ``"region"`` (bands of latitude), ``"season"``, ``"level"``, or the
        names that `ds` has for start and lead. Default: the lead, where forecasts overlap or give no valid time of
        their own.

    Returns
    -------
    xarray.Dataset
        One variable a quantity, in its units, with dimension ``metric`` (and ``level`` where it applies, those of
        `by` under the names of `ds`, and ``source``, ``"analysis"`` first, where baselines are given).
        Histograms and reliability are variables of their own, ``<name>_rank_histogram`` and the like. Lazy where
        `ds` is; ``print`` computes it and shows a table.

    Raises
    ------
    xappa.errors.DatasetError
        If the two have no variable, time or level in common, or are on different grids; if times are ambiguous, a
        dimension is not understood, or extremes or means over a period meet values of instants; or if a DataArray
        has no name.
    xappa.errors.OptionError
        If a metric is unknown or lacks what it needs, or `by` does not apply.
    xappa.errors.UnitsError
        If units cannot be converted, or values without units are none of the quantity's, as wherever fields are
        read; the latter, where a Dataset is lazy, when scores are computed.

    Examples
    --------
    >>> analysis.appa.verify(truth)["2m_temperature"].sel(metric="rmse")  # doctest: +SKIP
    >>> forecast.appa.verify(era5, by=("lead", "region"), baselines={"climatology": normals})  # doctest: +SKIP
    """
    reference = _to_dataset(reference, "The reference") if isinstance(reference, xr.DataArray) else reference
    ds, others = drop_repeated_meridian(decode_conventions(ds)), _read_baselines(baselines)
    fields = None
    if isinstance(reference, xr.Dataset) and "obs" not in reference.dims:
        fields = drop_repeated_meridian(decode_conventions(reference))
    times, problems = find_forecast_times(ds)
    refuse(problems)
    layout, _ = inspect(ds, need=())
    kept = groups.choose_by(by, times.names if times is not None else (None, None, layout.time))
    members = 1 if layout.member is None else ds.sizes[layout.member]
    chosen = choose_metrics(metrics, members, fields is None, others)
    gaps = Gaps()
    if fields is None:
        from xappa.verification.report_pairs import pair_with_reports

        source, found = pair_with_reports(ds, reference, others, kept, gaps)
    else:
        source, found = _pair_fields(ds, fields, others, kept, gaps)
    if source.valid is not None and (lost := int(np.isnat(source.valid).sum())):
        gaps.warn_once(f"{lost} of {len(source.valid)} forecasts have no valid time, and are left out")
    result = _compute_scores(source, found, chosen, kept or (), ["analysis", *others], gaps)
    if not others:
        result = result.isel(source=0, drop=True)
    attrs = {} if source.times is None else {"forecasts": source.times.describe().removeprefix("forecasts: ")}
    return restore_user_names(result, source, gaps.summarise(), attrs)


def _compute_scores(
    source: TimedFields, found: list[Group], metrics: Sequence[str], by: Collection[str], sources: list[str], gaps: Gaps
) -> xr.Dataset:
    """Scores of all groups, in the user's units, by names of the vocabulary."""
    numbers = [metric for metric in metrics if metric not in CURVES]
    parts: dict[str, list[tuple[dict[str, Any], xr.DataArray]]] = {}
    for labels, pairs in found:
        kept = [word for word in by if word not in labels]
        keep = [dim for word, dim in (("init", "time"), ("init", "init"), ("time", "time")) if word in kept]
        for name, pair in pairs.items():
            for more, piece in groups.split_pair(pair.mask_uncommon(), by):
                for part, values in _score_piece(name, piece, numbers, metrics, keep).items():
                    values = values.reindex(source=sources)
                    values = _warn_when_computed(values, name, pair, keep, gaps) if part == name else values
                    parts.setdefault(part, []).append((labels | more, _label_scores(values, piece, kept)))
    made = []
    for part, entries in parts.items():
        values = with_all_leads(groups.concatenate_groups(entries), source)
        if "metric" in values.dims:
            written = source.layout.notation.get(source.layout.get_user_name(part), VariableEncoding())
            values = convert_to_user_units(values, written, part).transpose("metric", ...)
        made.append(values.rename(part))
    return xr.merge(made, join="outer", compat="override")


def _score_piece(
    name: str, piece: FieldPair, numbers: Sequence[str], metrics: Sequence[str], keep: Sequence[str]
) -> dict[str, xr.DataArray]:
    """Numbers under the quantity's name, curves under names of their own."""
    made = {name: compute_scores(piece, numbers, keep)} if numbers else {}
    for metric in metrics:
        if metric in CURVES:
            made |= {f"{name}_{part}": values for part, values in compute_curves(piece, metric, keep).items()}
    return made


def _warn_when_computed(
    values: xr.DataArray, name: str, pair: FieldPair, keep: Sequence[str], gaps: Gaps
) -> xr.DataArray:
    """Scores that say, once they are computed, which whole states are missing; lazy ones metric by metric."""
    states = {}
    if "obs" not in pair.truth.dims:
        states[f"{name} of the reference"] = find_present_states(pair.truth)
    for source, forecast in pair.forecasts.items():
        whose = "the analysis" if source == "analysis" else f"the baseline {source!r}"
        there = find_present_states(forecast)
        states[f"{name} of {whose}"] = there.any("init") if "init" in there.dims else there

    def look(part: xr.DataArray) -> xr.DataArray:
        for whose, there in states.items():
            part = gaps.watch(part, whose, there)
        return part

    lazy = values.chunks is not None or any(there.chunks is not None for there in states.values())
    if not lazy:
        return look(values)
    return xr.concat([look(values.sel(metric=[m])) for m in values["metric"].values], "metric")


def _label_scores(values: xr.DataArray, piece: FieldPair, by: Collection[str]) -> xr.DataArray:
    """Scores along the starts, or the valid times, that are kept."""
    if "init" in by and "time" in values.dims:
        starts = piece.forecasts["analysis"]["init"].values
        return values.assign_coords(time=starts).rename(time="init")
    if "init" in by and "init" in values.dims:
        return values.assign_coords(init=piece.forecasts["analysis"]["init"].values)
    return values


def _pair_fields(
    ds: xr.Dataset, reference: xr.Dataset, others: Mapping[str, xr.Dataset], by: Collection[str] | None, gaps: Gaps
) -> tuple[TimedFields, list[Group]]:
    """The analysis, and its fields beside the reference's: all together, or by lead."""
    among = set(inspect(reference, need=())[0].names.values())
    source = TimedFields.from_dataset(ds, among)
    truth = TimedFields.from_dataset(_squeeze_member(reference), source.layout.names.values(), "The reference")
    require_same_statistics(source, truth, "the reference")
    fields = truth.to_series("The reference")
    found = {}
    for name, other in others.items():
        whose = f"The baseline {name!r}"
        found[name] = TimedFields.from_dataset(
            assign_climatology_times(other, source.valid_times, whose), source.fields.data_vars, whose
        )
        require_same_statistics(source, found[name], f"the baseline {name!r}")
    made = list(_pair_by_group(source, fields, found, by, gaps))
    if not made:
        align_datasets(fields, source.select(np.arange(1)), "the reference")  # says which times there are
    lacking = [name for name in source.fields.data_vars if name not in fields.data_vars]
    gaps.add(
        "the reference", "variable", [source.layout.get_user_name(str(name)) for name in lacking], len(source.fields)
    )
    return source, made


def _pair_by_group(
    source: TimedFields, truth: xr.Dataset, others: Mapping[str, TimedFields], by: Collection[str] | None, gaps: Gaps
) -> Iterator[Group]:
    for labels, piece in _split_pieces(source, by):
        if labels and (lacking := find_matching_positions(truth["time"].values, piece["time"].values) < 0).all():
            gaps.add("the reference", "time", list(piece["time"].values[lacking]), piece.sizes["time"])
            continue
        reference, analysis = align_datasets(truth, piece, "the reference", gaps)
        fields = {"analysis": analysis}
        for name, other in others.items():
            if (theirs := _select_piece(other, labels, f"The baseline {name!r}")) is not None:
                fields[name] = align_datasets(theirs, analysis, f"the baseline {name!r}", gaps)[0]
        pairs = {}
        for v in map(str, analysis.data_vars):
            held = {name: field[v] for name, field in fields.items() if v in field}
            parts = xr.align(reference[v], *held.values(), join="inner", exclude={"member"}, copy=False)
            forecasts = dict(zip(held, parts[1:], strict=True))
            pairs[v] = FieldPair(forecasts, parts[0], climatology=forecasts.get(CLIMATOLOGY))
        yield labels, pairs


def _split_pieces(source: TimedFields, by: Collection[str] | None) -> Iterator[tuple[dict[str, Any], xr.Dataset]]:
    """Fields along time: all of them, or by lead, or by start where starts are kept and leads are not."""
    if "lead" in by if by is not None else source.keeps_lead:
        for key, rows in source.group_by_lead().items():
            yield {"lead": key}, source.select(rows)
    elif by is not None and "init" in by:
        for key, rows in source.group_by_start().items():
            yield {"init": key}, source.select(rows)
    elif source.valid is None:
        yield {}, source.fields
    else:
        yield {}, source.select(np.arange(len(source.valid)))


def _select_piece(other: TimedFields, labels: Mapping[str, Any], whose: str) -> xr.Dataset | None:
    """What a baseline has for a group; forecasts give those of the same lead, or start."""
    by = {"lead": other.group_by_lead, "init": other.group_by_start}
    if other.times is not None and labels:
        ((word, key),) = labels.items()
        rows = by[word]().get(key)
        return None if rows is None else other.select(rows).drop_vars("init")
    return other.to_series(whose).drop_vars("init", errors="ignore")


def require_same_statistics(analysis: TimedFields, other: TimedFields, what: str) -> None:
    """Refuse to compare extremes or means over a period with values of instants, or of another period."""
    problems = []
    for name in analysis.fields.data_vars:
        one, two = analysis.prepared.statistics.get(str(name)), other.prepared.statistics.get(str(name))
        if name not in other.fields or (one is None and two is None) or (one is not None and one.matches(two)):
            continue
        for whose, side, statistic in (("the analysis", analysis, one), (what, other, two)):
            if statistic is not None:
                problems.append(f"of {whose}, {describe_statistic(side.layout.get_user_name(str(name)), statistic)}")
    refuse(problems, f"The analysis cannot be compared with {what}")


def _squeeze_member(reference: xr.Dataset) -> xr.Dataset:
    """A reference without members; that of one member is that member."""
    member = inspect(reference, need=())[0].member
    if member is None:
        return reference
    if reference.sizes[member] > 1:
        raise DatasetError(
            f"The reference has {reference.sizes[member]} members along {member!r}; expected one truth: "
            f"take reference.isel({member}=0), or its mean."
        )
    return reference.isel({member: 0}, drop=True)


def _read_baselines(baselines: Mapping[str, xr.Dataset | xr.DataArray] | None) -> dict[str, xr.Dataset]:
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
    named = {
        name: _to_dataset(other, f"The baseline {name!r}") if isinstance(other, xr.DataArray) else other
        for name, other in given.items()
    }
    return {name: drop_repeated_meridian(decode_conventions(other)) for name, other in named.items()}


def _to_dataset(field: xr.DataArray, what: str) -> xr.Dataset:
    """A DataArray as the variable that its name says."""
    if field.name is None:
        raise DatasetError(
            f"{what} is a DataArray without a name; expected the name of a quantity: use .rename('2m_temperature'), "
            "or give a Dataset."
        )
    return field.to_dataset()
