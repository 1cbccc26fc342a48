"""Real reports: read, checked, averaged, assimilated, and scored at what was withheld."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xappa
from tests.benchmarks import real
from tests.installed import needs
from xappa.cli import main
from xappa.errors import MissingErrorWarning, OptionError
from xappa.observations.flags import Flag, flags_of
from xappa.operators import Footprint, Sounder, StateContext
from xappa.operators.packing import pack_rows
from xappa.operators.sparse import SparseOperator
from xappa.tasks.analyse_reports import Outcome, assimilate_reports, prepare_reports
from xappa.tasks.climatology import climatology
from xappa.tasks.cross_validation import predict_reports
from xappa.verification.blocks import find_grid_boxes, is_from_swath, number_blocks, withhold_blocks, withhold_reports

NOON = np.datetime64("2018-11-02T12", "s")
GRID = {"latitudes": np.arange(-88, 89, 3.75), "longitudes": np.arange(0, 360, 3.75)}


def places(latitude, longitude, **columns) -> xr.Dataset:
    n = len(latitude)
    coords = {"time": ("obs", np.full(n, NOON)), "latitude": ("obs", latitude), "longitude": ("obs", longitude)}
    coords |= {k: ("obs", np.asarray(v)) for k, v in columns.items() if k in ("station", "source", "altitude")}
    data = {k: ("obs", np.asarray(v, float)) for k, v in columns.items() if k not in coords}
    return xr.Dataset(data or {"2m_temperature": ("obs", np.full(n, 280.0))}, coords)


@settings(max_examples=40)
@given(st.integers(2, 400), st.floats(0.05, 0.6), st.integers(0, 5), st.sampled_from([0.25, 1.0, 2.5, 3.75, 5.0]))
def test_no_box_of_the_grid_has_reports_of_both_kinds(n: int, fraction: float, seed: int, spacing: float) -> None:
    rng = np.random.default_rng(n)
    obs = places(rng.uniform(-90, 90, n), rng.uniform(-180, 360, n))
    grid = {
        "latitudes": np.arange(-90 + spacing / 2, 90, spacing),
        "longitudes": np.arange(0, 360, spacing),
    }
    used, held = withhold_blocks(obs, fraction, seed, **grid)
    assert used.sizes["obs"] + held.sizes["obs"] == n
    boxes = [set(map(tuple, find_grid_boxes(part, **grid).T.tolist())) for part in (used, held)]
    assert not boxes[0] & boxes[1]
    blocks = np.unique(number_blocks(obs, **grid))
    assert len(np.unique(number_blocks(held, **grid))) == round(fraction * len(blocks))
    order = rng.permutation(n)
    again = withhold_blocks(obs.isel(obs=order), fraction, seed, **grid)[1]
    assert set(number_blocks(again, **grid)) == set(number_blocks(held, **grid))


def test_blocks_are_of_four_degrees() -> None:
    fine = {"latitudes": np.arange(-90, 90.1, 0.25), "longitudes": np.arange(0, 360, 0.25)}
    rng = np.random.default_rng(0)
    obs = places(np.rad2deg(np.arcsin(rng.uniform(-1, 1, 4000))), rng.uniform(0, 360, 4000))
    key = number_blocks(obs, **fine)
    for number in np.unique(key)[::50]:
        part = obs.isel(obs=key == number)
        assert np.ptp(part.latitude.values) < 4.3 and np.ptp(part.longitude.values) < 4.3
    # Boxes are not cut: blocks without a grid and with one differ by no more than half a box.
    assert np.mean(key == number_blocks(obs)) > 0.85
    with pytest.raises(OptionError, match="degrees=0"):
        number_blocks(obs, 0)


def test_stations_are_withheld_whole_across_sources_and_swaths_by_blocks() -> None:
    rng = np.random.default_rng(1)
    n = 300
    latitude, longitude = rng.uniform(-60, 60, n), rng.uniform(0, 360, n)
    first = places(latitude, longitude, station=[f"S{k}" for k in range(n)], source=["synop"] * n)
    # The other source has its own idea of where stations are.
    second = places(
        latitude + rng.uniform(-0.008, 0.008, n), longitude, station=[f"M{k}" for k in range(n)], source=["metar"] * n
    )
    swath = places(rng.uniform(-60, 60, 2 * n), rng.uniform(0, 360, 2 * n), station=[""] * 2 * n, source=["s"] * 2 * n)
    obs = xr.concat([first, second, swath], "obs")
    assert is_from_swath(obs).sum() == 2 * n
    used, held = withhold_reports(obs, 0.2, 0, **GRID)
    assert used.sizes["obs"] + held.sizes["obs"] == obs.sizes["obs"]
    number = {name: {s[1:] for s in part.station.values if s} for name, part in (("used", used), ("held", held))}
    assert not number["used"] & number["held"]
    assert len(number["held"]) == pytest.approx(0.2 * n, abs=3)
    assert (~is_from_swath(held)).sum() == 2 * len(number["held"])
    boxes = [
        set(map(tuple, find_grid_boxes(part.isel(obs=is_from_swath(part)), **GRID).T.tolist())) for part in (used, held)
    ]
    assert boxes[0] and boxes[1] and not boxes[0] & boxes[1]


def test_quantities_without_a_known_error_are_not_used_and_do_not_stop_a_run() -> None:
    table = pd.DataFrame(
        {
            "time": "2018-11-02T12",
            "lat": [10.0, 40.0],
            "lon": [5.0, 50.0],
            "station": ["a", "b"],
            "t2m": [295.0, 290.0],
            "total_precipitation": [0.001, 0.0],
        }
    )
    with pytest.warns(MissingErrorWarning, match=r"unknown: total_precipitation \(in m\)"):
        obs = prepare_reports({"table": table})
    assert set(flags_of(obs, "total_precipitation").values) == {Flag.NO_ERROR}
    assert set(flags_of(obs, "2m_temperature").values) == {Flag.GOOD}


def test_wrong_options() -> None:
    table = pd.DataFrame({"time": "2018-11-02T12", "lat": [10.0], "lon": [5.0], "t2m": [295.0]})
    with pytest.raises(OptionError, match=r"have no '10m_wind_speed'; found 2m_temperature"):
        prepare_reports({"table": table}, variables=["10m_wind_speed"])
    with pytest.raises(OptionError, match="superobs='some'"):
        prepare_reports({"table": table}, superobs="some")


def test_an_operator_of_a_file(tmp_path, monkeypatch, capsys) -> None:
    seen = {}
    monkeypatch.setattr(
        "xappa.tasks.analyse_reports.assimilate_reports", lambda *args, **options: seen.update(options) or "done"
    )
    file = tmp_path / "mine.py"
    file.write_text("def wind_speed(state):\n    return state\n")
    words = ["assimilate", "a.nc", "--times", "2015-07-02T06", "--operator"]
    assert main([*words, f"{file}:wind_speed", "--superobs", "2.5", "--variables", "wind_speed"]) == 0
    assert seen["operator"].__name__ == "wind_speed"
    assert seen["superobs"] == 2.5 and seen["variables"] == ["wind_speed"] and seen["stations"] is None
    assert main([*words, f"{file}:winds"]) == 2
    assert "has no 'winds'; found wind_speed" in capsys.readouterr().err
    assert main([*words, f"{tmp_path}/none.py:winds"]) == 2
    assert "there is no file" in capsys.readouterr().err


def test_temperature_of_fields_is_brought_to_stations() -> None:
    wanted = xappa.template("2018-11-02T12", "2018-11-02T12")
    fields = climatology(wanted)
    low = places([46.0, 46.0], [8.0, 8.0], altitude=[500.0, 1500.0], **{"2m_temperature": [280.0, 280.0]})
    found = predict_reports(fields, low)["2m_temperature"]
    np.testing.assert_allclose(found[0] - found[1], 6.5, rtol=1e-5)


# Wide rows and narrow ones


def stencil(lengths: np.ndarray, rng: np.random.Generator) -> SparseOperator:
    m, width = len(lengths), int(lengths.max())
    there = np.arange(width) < lengths[:, None]
    weight = np.where(there, rng.uniform(0.1, 1, (m, width)), 0.0)
    cell = np.where(there, rng.integers(0, 50, (m, width)), 0)
    zero = np.zeros((m, width), int)
    ones = np.ones(m)
    return SparseOperator(zero, zero, cell, weight, 0 * ones, ones, ones, np.arange(m), np.zeros(m, int), ("a",))


def test_rows_are_parted_by_length_only_where_that_saves_much(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    lengths = np.where(np.arange(500) % 50 == 0, 90, rng.integers(3, 8, 500))
    parts = [stencil(lengths[:250], rng), stencil(lengths[250:], rng)]
    parts[1] = SparseOperator(**{**vars(parts[1]), "observation": parts[1].observation + 250})
    (whole,) = pack_rows(parts)
    assert len(whole) == 500 and (whole.observation == np.arange(500)).all()
    monkeypatch.setattr("xappa.operators.packing.SMALL", 100)
    several = pack_rows(parts)
    assert len(several) > 1
    assert sum(part.weight.size for part in several) < 0.3 * whole.weight.size
    field = rng.standard_normal((1, 1, 5, 10))
    expected = whole.apply(field)
    found = np.full(500, np.nan)
    for part in several:
        found[part.observation] = part.apply(field)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def pixels(n: int, channels: int, rng: np.random.Generator) -> xr.Dataset:
    latitude, longitude = np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))), rng.uniform(0, 360, n)
    time = NOON + rng.integers(0, 21600, n).astype("timedelta64[s]")
    each = {"time": time, "latitude": latitude, "longitude": longitude}
    coords = {name: ("obs", np.repeat(values, channels)) for name, values in each.items()}
    coords["channel"] = ("obs", np.tile(np.arange(1.0, channels + 1), n))
    name, value = "brightness_temperature", ("obs", np.full(n * channels, 250.0), {"units": "K"})
    return xr.Dataset({name: value, f"{name}_error": ("obs", np.ones(n * channels))}, coords)


TABLE = {1: (900.0, 0.5), 2: (500.0, 0.5), 3: (300.0, 0.5)}


def test_blocks_of_footprints_change_nothing(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    obs, spec = pixels(200, 3, rng), xappa.load("speedy").spec
    times = np.array([NOON, NOON + spec.step])
    sizes = np.repeat(rng.uniform(20, 300, 200), 3)
    field = rng.standard_normal((2, *spec.shape))
    for physics in (Sounder(TABLE), lambda state: state["temperature"].sel(level=[500, 700]).mean("level")):
        operator = Footprint(axes=(300.0, sizes)) @ physics
        one, _ = operator(obs, StateContext(spec, times))
        with monkeypatch.context() as change:
            change.setattr("xappa.operators.footprint.BLOCK", 20_000)
            change.setattr("xappa.operators.chain.BLOCK", 20_000)
            change.setattr("xappa.operators.packing.SMALL", 1000)
            many, seen = operator(obs, StateContext(spec, times))
        assert len(many) == len(one) == obs.sizes["obs"] and many.blocks and len(many.blocks) > 1
        assert (flags_of(seen, "brightness_temperature") == Flag.GOOD).all()
        found, expected = np.empty(len(one)), np.empty(len(one))
        found[many.observation], expected[one.observation] = many.apply(field), one.apply(field)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_memory_of_footprints_is_bounded() -> None:
    """150,000 reports, some beside the poles, where a field of view touches a hundred cells; then at 0.25 degrees."""
    code = """
import resource, numpy as np
from tests.test_real import NOON, pixels
import xappa
from xappa.operators import Footprint, Sounder, StateContext
from xappa.model.state import StateSpec
levels = tuple(("temperature", level) for level in (250, 500, 850))
fine = StateSpec(levels, tuple(np.linspace(90, -90, 721)), tuple(np.arange(0, 360, 0.25)), 1, 24, ())
for spec, channels, radius in ((xappa.load("speedy").spec, 8, 55.0), (fine, 3, 10.0)):
    table = {k: (p, 0.5) for k, p in enumerate(np.geomspace(900, 250, channels), start=1)}
    obs = pixels(150_000 // channels, channels, np.random.default_rng(0))
    operator = Footprint(radius=radius) @ Sounder(table)
    state = StateContext(spec, NOON + np.arange(7) * spec.step)
    operator(obs.isel(obs=slice(0, channels)), state)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows, _ = operator(obs, state)
    print(len(rows), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root, env=environment
    )
    *rows, whole = [line.split() for line in done.stdout.splitlines()]
    assert [int(number) for number, _ in rows] == [150_000, 150_000]
    assert max(float(megabytes) for _, megabytes in rows) < 1200, "as one rectangle this took more than 10 GB"
    assert float(whole[0]) < 2000, "the process with all that it has imported"


# The files


def fewer(file: Path, folder: Path, step: int) -> Path:
    """Every so many messages of a file: decoding is what takes long."""
    data, out = file.read_bytes(), folder / file.name
    if file.suffix == ".txt":
        parts = [part + b"\x03" for part in data.split(b"\x03")]
    else:
        parts, at = [], 0
        while (at := data.find(b"BUFR", at)) >= 0:
            end = at + int.from_bytes(data[at + 4 : at + 7], "big")
            parts.append(data[at:end])
            at = end
    out.write_bytes(b"".join(parts[::step]))
    return out


def run(case: str, root: Path, folder: Path, step: int = 1, members: int = 2) -> Outcome:
    if case != "METAR":
        needs("netCDF4" if case.startswith("ASCAT") else "eccodes")
    chosen = real.CASES[case]
    sources, options = chosen.arguments(root)
    if step > 1:
        sources = [fewer(file, folder, step) for file in sources]
    return assimilate_reports(
        sources, chosen.start, chosen.end, members=members, steps=8, withhold_fraction=0.15, seed=0, **options
    )


def rmse(outcome: Outcome, name: str, source: str) -> xr.DataArray:
    assert outcome.scores is not None
    return outcome.scores[name].sel(metric="rmse", source=source)


SURFACE = ("2m_temperature", "mean_sea_level_pressure", "10m_u_component_of_wind", "10m_v_component_of_wind")


@pytest.mark.slow
def test_stations(shared, tmp_path) -> None:
    """METAR; SYNOP are in test_speedy."""
    outcome = run("METAR", shared("real"), tmp_path, 3)
    for name in SURFACE:
        assert float(rmse(outcome, name, "analysis")) < 0.9 * float(rmse(outcome, name, "climatology")), name
        assert int(outcome.scores[name].sel(metric="count", source="analysis")) > 300
    for name in ("2m_temperature", "mean_sea_level_pressure"):
        local = float(rmse(outcome, name, "analysis, residuals interpolated"))
        assert local < 0.9 * float(rmse(outcome, name, "analysis")), name
        assert local < 1.1 * float(rmse(outcome, name, "inverse distance")), name
    assert not set(outcome.used.station.values) & set(outcome.held.station.values) - {""}


@pytest.mark.slow
@pytest.mark.parametrize(("step", "members"), [(1, 2), (2, 8)])
def test_soundings(shared, tmp_path, step: int, members: int) -> None:
    outcome = run("TEMP", shared("real"), tmp_path, step, members)
    names = ("temperature", "u_component_of_wind", "v_component_of_wind", "geopotential", "specific_humidity")
    for name in names:
        ratio = rmse(outcome, name, "analysis") / rmse(outcome, name, "climatology")
        ratio = ratio.where(outcome.scores[name].sel(metric="count", source="analysis") > 20, drop=True)
        assert ratio.sizes["level"] >= 4
        # Half of the soundings are not enough for the humidity of every level.
        compared = ratio.mean() if step > 1 and name == "specific_humidity" else ratio.max()
        assert float(compared) < 1, name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("ASCAT, components", ["10m_u_component_of_wind", "10m_v_component_of_wind"]),
        ("ASCAT, speed", ["wind_speed"]),
    ],
)
def test_scatterometer(shared, tmp_path, case, names) -> None:
    outcome = run(case, shared("real"), tmp_path)
    grid = {"latitudes": outcome.analysis.latitude.values, "longitudes": outcome.analysis.longitude.values}
    boxes = [set(map(tuple, find_grid_boxes(part, **grid).T.tolist())) for part in (outcome.used, outcome.held)]
    assert len(boxes[0]) > 200 and len(boxes[1]) > 30 and not boxes[0] & boxes[1]
    for name in names:
        assert float(rmse(outcome, name, "analysis")) < 0.95 * float(rmse(outcome, name, "climatology")), name


def test_radiances(shared, tmp_path) -> None:
    """Ingestion only: every channel is read, averaged, and within what so plain an operator and a climate allow."""
    needs("eccodes")
    result = real.radiances(fewer(shared("real") / real.RADIANCES, tmp_path, 4))
    assert result["read"]["good"] > 220_000
    assert [row["channel"] for row in result["rows"]] == sorted(real.HIRS_CHANNELS)
    for row in result["rows"]:
        assert row["count"] > 200 and abs(row["mean"]) < 40 and row["std"] < 25, row


def test_reports_of_stations_are_assimilated_as_they_come(shared) -> None:
    """Nothing but the file: what no table has an error of is left out, with one warning."""
    needs("pdbufr")
    obs = xappa.read_observations(shared("real") / real.CASES["SYNOP"].files[0])
    ds = xappa.template("2018-11-02T12", "2018-11-02T12")
    with pytest.warns(MissingErrorWarning, match=r"unknown: total_precipitation \(in m\)\. Give them") as said:
        analysis = ds.appa.assimilate(obs, seed=0, steps=2)
    assert [warning.category for warning in said].count(MissingErrorWarning) == 1
    counts = analysis.appa.summary()
    assert counts.loc["2m_temperature", "good"] > 7000
    assert counts.loc["total_precipitation", "good"] == 0
    assert max(map(len, str(counts).splitlines())) <= 80 and max(map(len, repr(obs.appa).splitlines())) <= 80
