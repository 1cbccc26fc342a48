"""Every check of quality control against a plain one, report by report, on small sets with ties of all sorts."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xappa.geometry import EARTH_RADIUS, arc_to_chord
from xappa.grids import bilinear
from xappa.observations import Flag, formulas, read_observations
from xappa.observations.flags import flags_of
from xappa.observations.qc import QUALITY, Quality, buddy_check, run_quality_control
from xappa.observations.qc.batch import ReportBatch
from xappa.observations.qc.index import ReportIndex
from xappa.observations.qc.options import _OPTIONAL
from xappa.operators import sparse

T, P, S = "2m_temperature", "mean_sea_level_pressure", "surface_pressure"
U, V = "10m_u_component_of_wind", "10m_v_component_of_wind"
NAMES = (T, P, S, U, V)
UNITS = ((T,), (P,), (S,), (U, V))
WINDOW = 6 * 3600
ORACLES = {}


def oracle(function):
    """Let a function be the plain check of the option that it is named after."""
    ORACLES[function.__name__] = function
    return function


def reports(seed: int) -> xr.Dataset:
    """Up to 80 reports at few places, heights and times, of few names; some values, errors and names are missing."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 80))
    step = rng.choice([0.01, 0.5, 3.0])
    sites = rng.integers(0, 4, (12, 2)) * step + [50.0, 5.0]
    station = rng.integers(0, 12, size)
    place = sites[station] + (rng.random((size, 1)) < 0.1) * rng.choice([0.01, 4.0]) * rng.integers(-3, 4, (size, 2))
    table = {
        "time": np.datetime64("2024-01-01T00", "s") + rng.integers(0, 60, size) * np.timedelta64(600, "s"),
        "lat": place[:, 0],
        "lon": place[:, 1],
        "elev": rng.choice([-600.0, 0.0, 40.0, 800.0, 1800.0], size),
        "station": np.array([*(f"s{k}" for k in range(11)), ""], object)[station],
        "source": rng.choice(["a", "b", ""], size).astype(object),
        T: 280.0 + rng.integers(-3, 4, size) + (rng.random(size) < 0.2) * rng.integers(-30, 30, size),
        P: 101300.0 + 50.0 * rng.integers(-3, 4, size),
        S: 95000.0 + 50.0 * rng.integers(-3, 4, size),
        U: rng.integers(-3, 4, size) + (rng.random(size) < 0.1) * 40.0,
        V: 1.0 * rng.integers(-3, 4, size),
    }
    units = {T: "K", P: "Pa", S: "Pa", U: "m s-1", V: "m s-1"}
    obs = read_observations(pd.DataFrame(table), derive=False, units=units)
    repeats = ReportIndex(obs).repeats  # which contradict each other: see test_quality_contradictory.py
    obs = obs if repeats is None else obs.isel(obs=np.delete(np.arange(size), repeats.rows))
    obs = obs.drop_vars([f"{name}_flag" for name in NAMES])
    for name, scale in ((T, 1.0), (P, 50.0), (S, 50.0), (U, 1.0), (V, 1.0)):
        error = rng.choice([np.nan, scale, 2 * scale], obs.sizes["obs"])
        obs = obs.assign({f"{name}_error": ("obs", error)})
        obs[name] = obs[name].where(rng.random(obs.sizes["obs"]) > 0.1)
    return obs


def rows_of(obs: xr.Dataset) -> list[dict]:
    """Reports as dictionaries; the window of a report is the multiple of 6 hours that is nearest."""
    table = obs.assign({f"{name}_flag": flags_of(obs, name) for name in NAMES}).to_dataframe().to_dict("records")
    seconds = [int(row["time"].timestamp()) for row in table]
    windows = [(s + WINDOW // 2) // WINDOW for s in seconds]
    first = {w: min(s for s, v in zip(seconds, windows, strict=True) if v == w) for w in windows}
    for row, s, w in zip(table, seconds, windows, strict=True):
        phi, lam = np.deg2rad(row["latitude"]), np.deg2rad(row["longitude"])
        unit = (np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi))
        row |= {"source": row.get("source", ""), "station": row.get("station", "")}
        row |= {"s": s, "window": w, "since": s - first[w], "unit": unit, "number": len(table)}
    return table


def good(row: dict, name: str) -> bool:
    return row[f"{name}_flag"] == 0 and math.isfinite(row[name])


def known_error(row: dict, name: str) -> float:
    return row[f"{name}_error"] if math.isfinite(row[f"{name}_error"]) else 0.0


def mean(latitude):
    return {T: 280.0 + 0 * latitude, P: 101300.0 + latitude, S: np.nan * latitude, U: 0 * latitude, V: 0 * latitude}


def guess(batch: ReportBatch):
    return {name: (values, np.full(len(batch), 1.5)) for name, values in mean(batch.latitude).items()}


def height(obs: xr.Dataset) -> np.ndarray:
    return 100.0 * (obs["latitude"].values - 50.0)


@oracle
def background(table, k):
    for row in table:
        for unit in UNITS:
            bad = [
                good(row, n)
                and abs(row[n] - mean(row["latitude"])[n]) > k * math.sqrt(1.5**2 + known_error(row, n) ** 2)
                for n in unit
            ]
            if any(bad):
                yield row, unit, Flag.BACKGROUND_CHECK


@oracle
def track(table, speed):
    for name in {row["station"] for row in table} - {""}:
        own = [row for row in table if row["station"] == name]
        own.sort(key=lambda row: (row["s"], row["latitude"], row["longitude"]))
        stops: list[list[dict]] = []
        for row in own:
            same = stops and (stops[-1][0]["s"], stops[-1][0]["unit"]) == (row["s"], row["unit"])
            stops[-1].append(row) if same else stops.append([row])

        def fast(a, b, speed=speed):
            way = math.dist(a[0]["unit"], b[0]["unit"])
            return 2 * EARTH_RADIUS * math.asin(min(way / 2, 1)) - 20 > speed / 1000 * abs(a[0]["s"] - b[0]["s"])

        out = [
            stops[i]
            for i in range(1, len(stops) - 1)
            if fast(stops[i - 1], stops[i]) and fast(stops[i], stops[i + 1]) and not fast(stops[i - 1], stops[i + 1])
        ]
        if len(out) <= 1 or len(out) / len(stops) <= 0.25:
            yield from ((row, NAMES, Flag.MISPLACED) for stop in out for row in stop)


@oracle
def station_height(table, most):
    heights = {"s1": 0.0, "s2": 2000.0}
    for row in table:
        listed = heights.get(row["station"], math.nan)
        if not -450 <= row["altitude"] <= 9000 or abs(row["altitude"] - listed) > most:
            yield row, (T, S), Flag.HEIGHT_MISMATCH


@oracle
def model_height(table, most):
    for row in table:
        if abs(row["altitude"] - 100.0 * (row["latitude"] - 50.0)) > most:
            yield row, (T, S), Flag.HEIGHT_MISMATCH


@oracle
def sea_level_pressure(table, most):
    yield from ((row, (P,), Flag.HIGH_STATION) for row in table if row["altitude"] > most)


@oracle
def station_pressure(table, most):
    yield from ((row, (S,), Flag.HIGH_STATION) for row in table if row["altitude"] > most)


@oracle
def near_duplicates(table, k):
    quality = Quality()
    for unit in UNITS:

        def rank(row, name=unit[0]):
            error = row[f"{name}_error"] if math.isfinite(row[f"{name}_error"]) else math.inf
            place = (row["latitude"], row["longitude"], row["altitude"])
            return (error, row["since"], *place, row["source"], row["station"])

        ordered, out = sorted(table, key=rank), set()
        for i, a in enumerate(ordered):
            for j in range(i + 1, len(ordered)):
                b = ordered[j]
                named = any(a[n] != b[n] and a[n] and b[n] for n in ("source", "station"))
                near = math.dist(a["unit"], b["unit"]) <= arc_to_chord(quality.near_distance)
                near &= a["window"] == b["window"] and abs(a["s"] - b["s"]) <= 60 * quality.near_time
                alike = all(
                    good(a, n) and good(b, n) and abs(a[n] - b[n]) <= k * max(known_error(a, n), known_error(b, n))
                    for n in unit
                )
                if named and near and alike and i not in out:
                    out.add(j)
        yield from ((ordered[j], unit, Flag.NEAR_DUPLICATE) for j in out)


@oracle
def buddies_check(table, k):
    found = {}
    for name in NAMES:
        usable = [row for row in table if good(row, name)]
        usable.sort(key=lambda r: (r["window"], r["latitude"], r["longitude"], r["since"], r["station"], r["source"]))
        known = {
            w: [r[f"{name}_error"] for r in usable if r["window"] == w and math.isfinite(r[f"{name}_error"])]
            for w in {r["window"] for r in usable}
        }
        for i, row in enumerate(usable):
            own = row[f"{name}_error"]
            row["error"] = (
                own if math.isfinite(own) else (np.median(known[row["window"]]) if known[row["window"]] else 0)
            )
            row["place"] = np.array([*row["unit"], row["since"] / 3600 * arc_to_chord(100.0)])
            row["departure"], row["order"], row["suspect"] = _departure(row, name), i, False
        if len(usable) < 4:
            continue
        pool = [row for row in usable if row["station"] == "" or row is _first_of_hour(usable, row)]
        for _ in range(2):
            told = [_contradicted(row, pool, k) for row in usable]
            for row, wrong in zip(usable, told, strict=True):
                row["suspect"] = wrong
        found[name] = [row for row in usable if row["suspect"]]
    for unit in UNITS:
        yield from ((row, unit, Flag.BUDDY_CHECK) for name in unit for row in found.get(name, []))


def _departure(row, name):
    if name == T:
        return row[name] + buddy_check.LAPSE_RATE * row["altitude"]
    return row[name] - (formulas.standard_pressure(row["altitude"]) if name == S else 0.0)


def _first_of_hour(usable, row):
    same = [
        other
        for other in usable
        if (other["station"], other["window"], other["since"] // 3600)
        == (row["station"], row["window"], row["since"] // 3600)
    ]
    return min(same, key=lambda other: (other["since"], other["order"]))


def _contradicted(row, pool, k):
    near = [(np.sqrt(((o["place"] - row["place"]) ** 2).sum()), o["order"], o) for o in pool]
    near = [part for part in near if part[0] < arc_to_chord(500.0) and part[2]["window"] == row["window"]]
    near.sort(key=lambda part: part[:2])
    others = [
        other
        for _, _, other in near[:16]
        if other is not row and not other["suspect"] and (other["station"] != row["station"] or row["station"] == "")
    ][:8]
    if len(others) < 4:
        return False
    values = np.array([other["departure"] for other in others])
    median = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - median))
    expected = row["error"] ** 2 + max(spread**2, row["error"] ** 2)
    return bool(abs(row["departure"] - median) > k * np.sqrt(expected) and expected > 0)


ORACLES["buddies"] = ORACLES.pop("buddies_check")


def controlled(obs: xr.Dataset, name: str) -> dict[str, list[int]]:
    """Flags where one option of the standard checks is on."""
    value = getattr(Quality(), name)
    quality = replace(QUALITY["none"], **{name: value, "stations": {"s1": 0.0, "s2": 2000.0}})
    if name != "station_height":
        quality = replace(quality, stations=None)
    first = guess if name == "background" else None
    found = run_quality_control(
        obs, quality, background=first, surface=height(obs), reduced=(P, S), window=np.timedelta64(6, "h")
    )
    return {quantity: found[f"{quantity}_flag"].values.tolist() for quantity in NAMES}


def expected(obs: xr.Dataset, name: str) -> dict[str, list[int]]:
    table = rows_of(obs)
    flags = {quantity: [int(row[f"{quantity}_flag"]) for row in table] for quantity in NAMES}
    position = {id(row): i for i, row in enumerate(table)}
    for row, unit, flag in ORACLES[name](table, getattr(Quality(), name)):
        for quantity in unit:
            if good(row, quantity):
                flags[quantity][position[id(row)]] = flag
    return flags


def test_every_check_has_a_plain_one():
    assert set(ORACLES) == set(_OPTIONAL) == {f.name for f in fields(Quality) if "None" in str(f.type)} - {"stations"}


@pytest.mark.parametrize("name", sorted(ORACLES))
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_flags_are_those_of_the_plain_check_in_any_order(name, seed):
    obs = reports(seed)
    found = controlled(obs, name)
    assert found == expected(obs, name)
    order = np.random.default_rng(seed).permutation(obs.sizes["obs"])
    shuffled = controlled(obs.isel(obs=order), name)
    assert shuffled == {quantity: np.array(flags)[order].tolist() for quantity, flags in found.items()}


def test_places_that_come_again_are_located_as_others_are():
    rng = np.random.default_rng(0)
    places = np.array([*rng.uniform(-91, 91, 40), 90.0, -90.0, np.nan]), rng.uniform(-200, 400, 43)
    rows = rng.integers(0, 43, 3 * bilinear.MANY)
    grid = np.linspace(-87.5, 87.5, 36), np.arange(72) * 5.0
    found, alone = (
        bilinear.compute_bilinear_weights(*(p[rows] for p in places), *grid),
        bilinear._compute_weights(*places, *grid),
    )
    for name in ("cell", "weight", "crossed", "inside"):
        assert np.array_equal(getattr(found, name), getattr(alone, name)[rows])


def test_rows_without_zeros_stay_beside_those_with_them():
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, (500, 8)) * (rng.random((500, 8)) < 0.9)
    weight[0] = 1.0
    index = rng.integers(0, 100, weight.shape)
    found, plain = sparse.compact(weight, index), sparse._select_nonzero(8, weight, index)
    assert all(np.array_equal(a, b) for a, b in zip(found, plain, strict=True))
