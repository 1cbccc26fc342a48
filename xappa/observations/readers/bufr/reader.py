"""Reports in BUFR (SYNOP, SHIP, buoys, TEMP, AMDAR, CLIMAT, radiances), decoded in processes of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.readers.bufr import decode
from xappa.observations.readers.bufr.context import Columns, MessageReports, collect_reports, collect_subsets
from xappa.observations.readers.bufr.decode import KINDS
from xappa.observations.readers.bufr.meaning import ALOFT, MEAN, SURFACE, compute_times, interpret_values
from xappa.observations.readers.corrections import flag_superseded
from xappa.observations.readers.decoders import DecoderProcess, plan_parts
from xappa.observations.schema import build_observations, concat, encode_counts

INSTALL = 'Reading BUFR needs ecCodes, which is not installed: pip install "xappa[obs]"'


def read_bufr(path: str | Path) -> xr.Dataset:
    """Reports of a BUFR file.

    Parameters
    ----------
    path : path
        BUFR file. Data categories 0 and 1 (SYNOP, SHIP, buoys, CLIMAT), 2 (TEMP, PILOT), 4 (AMDAR), 3 and 21
        (radiances) are read; other messages are skipped and counted. Large files are read by several processes.

    Returns
    -------
    Dataset
        In the schema. Of surface reports: temperature, dew point, wind, pressures, sea surface temperature,
        precipitation and extreme temperatures over their periods; of soundings and aircraft: temperature, humidity,
        wind and geopotential by level (that of an aircraft without a pressure is its flight level's in the standard
        atmosphere; soundings are at the balloon's place and time where the file tells them); of radiances: brightness
        temperature, with the coordinate ``channel``. Statistics over a period have it in ``period``, see
        `meaning`. Values of instruments that are not at the height of their quantity are flagged
        ``wrong_height``, with the coordinate ``height`` (m, negative below the surface); means and amounts over a
        period that is not told ``period_unknown``. A report without its year, month, day or hour has no time.

        Attributes count the reports read (``reports_read``: subsets, levels, or radiances), those without any of these
        (``reports_empty``, dropped), the winds of variable direction (direction 0 with a speed,
        ``reports_variable_wind``; their direction is missing), subsets (``subsets_read``) and, by reason, those that
        give no report (``subsets_without_report``, JSON) and values that are left out (``values_left_out``, JSON), and,
        where there are any, messages that were skipped (``messages_skipped``) or could not be decoded
        (``messages_broken``).

    Raises
    ------
    MissingDependency
        If ecCodes is not installed.
    ObservationError
        If the file cannot be decoded, or has no report.
    ReaderTimeout, ReaderMemoryError
        If a decoder reaches the limits of the options ``reader_timeout`` and ``reader_memory``.

    References
    ----------
    WMO-No. 306, Manual on Codes, volume I.2, FM 94 BUFR, sequences 307073-307096 (SYNOP, CLIMAT), 308009 (SHIP),
    309051-309056 (PILOT, TEMP, CLIMAT TEMP), 311001-311010 (AMDAR), 315008 (buoys), 310008 (HIRS); B/C1 for the meaning
    of direction 0.
    """
    path = Path(path)
    decoder = DecoderProcess(decode.__file__, "eccodes", INSTALL, "BUFR")
    tables, complaints = decoder(path, *plan_parts(path))
    counts = Counter[str]()
    for part in tables:
        counts.update({name: int(number) for name, number in part["count"].items()})
    subsets, reports = collect_subsets(tables), collect_reports(tables)
    # Messages of no subset leave kinds without any.
    parts = [_READERS[kind](reports[kind], subsets) for kind in KINDS if kind in reports and subsets]
    _require_reports(path, parts, counts, complaints)
    obs = concat([part.obs for part in parts if part.obs is not None])
    return obs.assign_attrs(_build_attrs(parts, subsets, counts))


@dataclass(frozen=True)
class _KindReports:
    """Reports of one kind, and what became of the others.

    Attributes
    ----------
    obs : Dataset or None
    read, empty, variable : int
        Reports read, those without a known value, winds of variable direction.
    left_out : mapping of str to int
        Values by quantity and reason.
    reporting, silenced : array of int
        Subsets that give reports, and those of which values are left out.
    """

    obs: xr.Dataset | None
    read: int
    empty: int
    variable: int
    left_out: Mapping[str, int]
    reporting: np.ndarray
    silenced: np.ndarray


def _read_surface(reports: MessageReports, subsets: Columns) -> _KindReports:
    frame = interpret_values(reports, subsets, SURFACE, aloft=False)
    return _build_part(frame, subsets, int((subsets["kind"] == KINDS.index("surface")).sum()))


def _read_upper_air(reports: MessageReports, subsets: Columns) -> _KindReports:
    frame = interpret_values(reports, subsets, ALOFT, aloft=True)
    levels = pd.DataFrame({name: reports.contexts[name] for name in ("subset", "level")}).drop_duplicates()
    return _build_part(frame, subsets, len(levels))


def _read_radiances(reports: MessageReports, subsets: Columns) -> _KindReports:
    values, contexts, at = reports.values, reports.contexts, reports.values["context"]
    statistic = np.nan_to_num(contexts["statistic"], nan=MEAN)[at] != MEAN
    reasons = {"no_channel": np.isnan(values["channel"]), "statistic": statistic}
    impossible = ~((values["value"] > 0.0) & (values["value"] < 1e4))
    reason = np.select([*reasons.values(), impossible], [*reasons, "impossible"], "")
    left_out = Counter(f"brightness_temperature: {text}" for text in reason[reason != ""])
    # Messages are decoded by layout; reports are in the order of the file.
    good = np.flatnonzero(reason == "")
    good = good[np.argsort(contexts["subset"][at[good]], kind="stable")]
    subset, silenced = contexts["subset"][at[good]], np.unique(contexts["subset"][at[reason != ""]])
    if not good.size:
        return _KindReports(None, 0, 0, 0, left_out, subset, silenced)
    coordinates = {name: contexts[name][at[good]] for name in ("latitude", "longitude")}
    coordinates |= {"time": compute_times(contexts)[at[good]], "channel": values["channel"][good]}
    obs = build_observations(coordinates, {"brightness_temperature": values["value"][good]})
    return _KindReports(obs, len(good), 0, 0, left_out, np.unique(subset), silenced)


_READERS = {"surface": _read_surface, "aloft": _read_upper_air, "radiance": _read_radiances}
_ROW = ["subset", "step", "time", "latitude", "longitude", "altitude", "level", "period", "height"]


def _build_part(frame: pd.DataFrame, subsets: Columns, read: int) -> _KindReports:
    """Rows from values; those of one subset that share place, time, level, period and height are one report."""
    out = (frame["left_out"] != "").to_numpy()
    left_out = Counter[str]((frame["name"] + ": " + frame["left_out"])[out])
    silenced = frame["subset"][out].unique()
    frame = frame[~out].sort_values("subset", kind="stable")
    told = read - len(frame[["subset", "step"]].drop_duplicates())
    if frame.empty:
        return _KindReports(None, read, told, 0, left_out, np.empty(0, int), silenced)
    rows = frame.groupby(_ROW, dropna=False, sort=False).ngroup()
    # What comes again in a report makes another.
    again = frame.groupby([rows, "name"], sort=False).cumcount()
    row = pd.DataFrame({"row": rows, "again": again}).groupby(["row", "again"], sort=False).ngroup().to_numpy()
    first = frame.iloc[np.unique(row, return_index=True)[1]]
    values, flags = _pivot_values(frame, row, len(first))
    variable = _remove_variable_winds(values)
    coordinates = {name: first[name].to_numpy() for name in ("time", "latitude", "longitude")}
    optional = {name: first[name].to_numpy() for name in ("altitude", "height", "period")}
    coordinates |= {name: column for name, column in optional.items() if pd.notna(column).any()}
    if (frame["step"] != 0).any() or frame["level"].notna().any():
        coordinates["level"] = first["level"].to_numpy()
    if ((station := subsets["station"][first["subset"]]) != "").any():
        coordinates["station"] = station
    _flag_superseded(values, flags, coordinates, subsets["correction"][first["subset"]])
    obs = build_observations(coordinates, values, flags=flags)
    return _KindReports(obs, read, told, variable, left_out, frame["subset"].unique(), silenced)


def _flag_superseded(values: Columns, flags: Columns, coordinates: Columns, correction: np.ndarray) -> None:
    """Flag values that were corrected later, in place."""
    if not correction.any():
        return
    same = ("station",) if "station" in coordinates else ("latitude", "longitude")
    names = (*same, "time", "level", "period", "height")
    keys = {name: coordinates[name] for name in names if name in coordinates}
    for name, column in values.items():
        old = flags.get(name, np.zeros(len(column), np.int8))
        new = flag_superseded(keys, column, correction)
        if new.any():
            flags[name] = np.where(old != 0, old, new).astype(np.int8)


def _pivot_values(frame: pd.DataFrame, row: np.ndarray, size: int) -> tuple[Columns, Columns]:
    """Values and flags of each quantity, in rows."""
    values, flags = {}, {}
    for name in dict.fromkeys([*(element.name for element in (*SURFACE.values(), *ALOFT.values()))]):
        there = (frame["name"] == name).to_numpy()
        if there.any():
            values[name], flags[name] = np.full(size, np.nan), np.zeros(size, np.int8)
            values[name][row[there]] = frame["value"].to_numpy()[there]
            flags[name][row[there]] = frame["flag"].to_numpy()[there]
    return values, {name: column for name, column in flags.items() if column.any()}


def _remove_variable_winds(values: Columns) -> int:
    """Remove directions that only say that the wind is variable, in place; returns their number."""
    count = 0
    for prefix in ("10m_", ""):
        direction, speed = values.get(f"{prefix}wind_from_direction"), values.get(f"{prefix}wind_speed")
        if direction is not None and speed is not None:
            variable = (direction == 0.0) & (speed > 0.0)
            direction[variable] = np.nan
            count += int(variable.sum())
    return count


def _build_attrs(parts: list[_KindReports], subsets: Columns, counts: Mapping[str, int]) -> dict[str, Any]:
    """Numbers of what was read, and of what was left out and why."""
    reporting, silenced = (np.zeros(len(subsets["kind"]), bool) for _ in range(2))
    left_out = Counter[str]()
    for part in parts:
        reporting[part.reporting], silenced[part.silenced] = True, True
        left_out.update(part.left_out)
    unknown = subsets["known"] == 0
    without = {
        "other_category": counts["subsets_skipped"],
        "broken": counts["subsets_broken"],
        "no_known_quantity": int(unknown.sum()),
        "left_out": int((silenced & ~reporting).sum()),
        "all_missing": int((~unknown & ~silenced & ~reporting).sum()),
    }
    found = sum(counts[f"subsets_{name}"] for name in ("read", "skipped", "broken"))
    attrs: dict[str, Any] = {"reports_read": sum(part.read for part in parts), "subsets_found": found}
    attrs["reports_empty"] = sum(part.empty for part in parts)
    attrs["reports_variable_wind"] = sum(part.variable for part in parts)
    attrs |= {name: counts[name] for name in ("messages_skipped", "messages_broken") if counts[name]}
    told = {"subsets_without_report": without, "values_left_out": left_out}
    return attrs | {
        name: encode_counts({key: number for key, number in numbers.items() if number})
        for name, numbers in told.items()
        if any(numbers.values())
    }


def _require_reports(path: Path, parts: list[_KindReports], counts: Mapping[str, int], complaints: str) -> None:
    if any(part.obs is not None for part in parts):
        return
    categories = [name.removeprefix("category_") for name in counts if name.startswith("category_")]
    others = f" (of data category {', '.join(categories)})" if categories else ""
    left_out = sum((Counter(part.left_out) for part in parts), Counter[str]())
    why = f" Left out: {encode_counts(left_out)}." if left_out else ""
    said = f" The decoder said:\n{complaints}" if complaints else ""
    raise ObservationError(
        f"{path}: no report with a quantity that is known in {counts['messages']} BUFR messages{others}, "
        f"{counts['messages_broken']} of which could not be decoded.{why} Expected SYNOP or SHIP (category 0 or 1), "
        f"TEMP (2), AMDAR (4) or radiances (3 or 21).{said}"
    )
