"""The simulation's own arithmetic, without the simulator."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xappa.training import simulate
from xappa.training.config import SimulationConfig, SimulationRun
from xappa.training.pressure_levels import FREEZING, GRAVITY, R_DRY, PressureLevels, reduce_to_sea_level, round_bits

LATITUDE = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(16)[0]))
LONGITUDE = np.arange(32) * 11.25


@pytest.fixture
def levels() -> PressureLevels:
    land = np.zeros((32, 16), "f4")
    land[:8] = 1
    months = pd.date_range("1980-01-15", periods=3, freq="30D")
    sst = xr.DataArray(
        np.full((32, 16, 3), 260.0) + np.array([20.0, 30.0, 0.0]),
        {"lon": LONGITUDE, "lat": LATITUDE, "time": months},
        ("lon", "lat", "time"),
    )
    return PressureLevels(LATITUDE, LONGITUDE, np.zeros((32, 16), "f4"), land, sst, SimulationConfig())


def test_a_constant_stays_one_on_the_regular_grid(levels) -> None:
    for linear in (False, True):
        np.testing.assert_allclose(levels.regrid(np.full((3, 32, 16), 7.0, "f4"), linear=linear), 7, rtol=1e-5)


def test_regridding_reproduces_a_smooth_function(levels) -> None:
    def field(lat, lon):
        return np.cos(np.deg2rad(lat)) * np.sin(np.deg2rad(lon)) + np.sin(np.deg2rad(lat)) ** 2

    found = levels.regrid(field(LATITUDE[None], LONGITUDE[:, None]).astype("f4"))
    np.testing.assert_allclose(found, field(levels.new_latitude[:, None], LONGITUDE[None]), atol=2e-3)


def test_a_flow_over_the_pole_keeps_its_direction(levels) -> None:
    """One Cartesian vector seen at every longitude: its components turn over at the pole."""
    lon = np.deg2rad(LONGITUDE)[:, None]
    u, v = -np.sin(lon) * np.ones(16), -np.cos(lon) * np.sin(np.deg2rad(LATITUDE))
    found = levels.regrid(u.astype("f4"), -1), levels.regrid(v.astype("f4"), -1)
    new = np.deg2rad(levels.new_latitude)[:, None]
    np.testing.assert_allclose(found[0], -np.sin(lon.T) * np.ones_like(new), atol=1e-3)
    np.testing.assert_allclose(found[1], -np.cos(lon.T) * np.sin(new), atol=2e-3)


def test_linear_profiles_in_log_pressure_are_exact(levels) -> None:
    sigma = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95], "f4")
    log_p = np.log(sigma * 1e5)[None, :, None, None] * np.ones((1, 7, 2, 2), "f4")
    found = levels.interpolate(3 + 2 * log_p, log_p, "constant")
    inside = levels.pressures <= 950
    expected = 3 + 2 * np.log(levels.pressures[inside] * 100)
    np.testing.assert_allclose(found[0, inside, 0, 0], expected, rtol=1e-5)


def test_geopotential_is_hydrostatic_in_an_isothermal_atmosphere(levels) -> None:
    sigma = np.array([0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95], "f4")
    log_p = np.log(sigma * 1e5)[None, :, None, None] * np.ones((1, 7, 2, 2), "f4")
    t = np.full_like(log_p, 250.0)
    phi = R_DRY * 250 * (np.log(1e5) - log_p)
    found = levels.interpolate(phi.astype("f4"), log_p, "geopotential", t)[0, :, 0, 0]
    inside = levels.pressures < 950
    expected = R_DRY * 250 * (np.log(1e5) - np.log(levels.pressures * 100))
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-4)


def test_sea_level_pressure_is_surface_pressure_at_sea_level() -> None:
    ps, t, p = np.array([101000.0]), np.array([285.0]), np.array([96000.0])
    assert reduce_to_sea_level(ps, t, p, np.array([0.0])) == pytest.approx(ps)
    raised = reduce_to_sea_level(
        np.array([89876.0]), np.array([281.65 - 0.0065 * 1000 + 6.5]), np.array([89876.0]), GRAVITY * np.array([1000.0])
    )
    assert raised == pytest.approx(101325, rel=2e-2)


def test_sea_surface_temperature_is_missing_over_land_and_never_below_freezing(levels) -> None:
    times = np.array(["1980-01-15", "1980-01-30", "1980-03-14"], "datetime64[ns]")
    found = levels.prescribed_sst(times)
    assert np.isnan(found[:, :, 1:6]).all()
    assert np.isfinite(found[:, :, 10:]).all()
    np.testing.assert_allclose(found[:, 5, 20], [280, 285, FREEZING], rtol=1e-4)


@given(st.floats(-1e6, 1e6, width=32), st.integers(5, 15))
def test_rounding_keeps_so_many_bits(value: float, keep: int) -> None:
    rounded = float(round_bits(np.array([value], "f4"), keep)[0])
    assert abs(rounded - value) <= abs(value) * 2.0 ** -(keep + 1) + 1e-37
    assert float(round_bits(np.array([rounded], "f4"), keep)[0]) == rounded
    assert np.isnan(round_bits(np.array([np.nan], "f4"), keep)[0])


def test_chunks_cover_the_run_and_the_digest_sees_every_value(tmp_path) -> None:
    run = SimulationRun("a", "2000-01-01", "2000-01-25")
    assert [str(d.date()) for d in simulate.list_chunk_dates(run, 10)] == ["2000-01-01", "2000-01-11", "2000-01-21"]
    for day, value in (("20000101", 1.0), ("20000111", 2.0)):
        times = pd.date_range(day, periods=2, freq="6h")
        ds = xr.Dataset({"x": (("time",), np.full(2, value, "f4"))}, {"time": times})
        ds.to_netcdf(tmp_path / f"{day}.nc")
    files = simulate.list_chunks(tmp_path, "2000-01-01", "2000-02-01")
    assert [f.stem for f in files] == ["20000101", "20000111"]
    assert [f.stem for f in simulate.list_chunks(tmp_path, "2000-01-05", "2000-02-01")] == ["20000111"]
    before = simulate.hash_chunks(files)
    xr.Dataset({"x": (("time",), np.array([2.0, 2.5], "f4"))}, {"time": times}).to_netcdf(files[1])
    assert simulate.hash_chunks(files) != before


def test_restart_states_may_be_compressed(tmp_path) -> None:
    import lzma

    packed = tmp_path / "restart.msgpack.xz"
    packed.write_bytes(lzma.compress(b"state"))
    plain = simulate._decompress_restart(packed, tmp_path)
    assert plain.read_bytes() == b"state"
    assert simulate._decompress_restart(plain, tmp_path) == plain


def test_the_simulator_sees_xappa_and_nothing_else_of_this_environment(tmp_path, monkeypatch) -> None:
    from pathlib import Path

    from xappa.training import commands

    seen = {}

    def run(command, check, cwd):
        seen.update(command=command, beside=[p.name for p in Path(cwd).iterdir()], check=check)
        assert (Path(cwd) / "xappa" / "training" / "simulate.py").exists()

    monkeypatch.setattr(commands.subprocess, "run", run)
    restart = tmp_path / "r.xz"
    restart.touch()
    commands.simulate(
        Path(commands.__file__).with_name("speedy.toml"), tmp_path, ("a",), restart, python=Path("/elsewhere/python")
    )
    assert seen["beside"] == ["xappa"]
    assert seen["check"]
    assert seen["command"][:3] == ["/elsewhere/python", "-m", "xappa.training.simulate"]
    assert seen["command"][-3:] == ["a", "--restart", str(restart)]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot confine a process")
def test_each_simulation_keeps_to_a_processor_of_its_own(tmp_path) -> None:
    """Bits depend on the number of threads: every simulation has one, and two of them don't share it."""
    code = (
        "import os, time; from xappa.training.simulate import pin_to_one_processor as pin; pin();"
        "print(*os.sched_getaffinity(0), flush=True); time.sleep(30)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    runs = []
    try:
        for _ in range(2):
            runs.append(
                subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
            )
        taken = [run.stdout.readline().split() for run in runs]
    finally:
        for run in runs:
            run.kill()
            run.wait()
            run.stdout.close()
    assert [len(t) for t in taken] == [1, 1]
    assert taken[0] != taken[1] or len(os.sched_getaffinity(0)) == 1
