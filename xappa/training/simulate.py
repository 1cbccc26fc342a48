"""Simulate an atmosphere to learn from: the JCM general circulation model (SPEEDY physics, T31, 8 levels).

This module runs in an environment of its own (``pip install "jcm==3.0.0"``), which `xappa train simulate`
makes; it imports nothing of torch. A run is a chain of chunks of fixed length. A chunk is one NetCDF file,
written beside and renamed, then a restart state: a run that was killed goes on after its last whole chunk, with
the same bits.

The traps of the generator that are dealt with here: the daily-mean sun (``DiurnalForcing``), the mass of the
initial state (``set_mass``), weak eddies (scale-selective diffusion of order 4), artefacts of the sea-surface
temperature anomalies at ice edges (clipped), a float32 accumulator of precipitation (emptied each chunk), and an
orography in the terrain file that is not the dynamical core's (the core's own is used).
"""

from __future__ import annotations

import argparse
import hashlib
import lzma
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from xappa._files import replace_atomically
from xappa.training.config import SimulationConfig, SimulationRun, read_config
from xappa.training.pressure_levels import GRAVITY, PressureLevels

_LOCKS: list[IO[str]] = []
FIELDS = (
    "u_wind",
    "v_wind",
    "temperature",
    "specific_humidity",
    "geopotential",
    "normalized_surface_pressure",
    "surface_flux.t0",
    "surface_flux.u0",
    "surface_flux.v0",
    "accumulated.precipitation",
)


def make_sst_forcing(clip: float) -> xr.Dataset:
    """Forcing with the sea-surface temperatures of 1979–2013: climatology plus anomalies clipped to ±clip K."""
    climate = xr.open_dataset(str(resources.files("jcm.data.bc.t30.clim") / "forcing.nc")).load()
    anomaly = xr.open_dataset(
        str(resources.files("jcm.data.bc.t30.anom") / "sea_surface_temperature_anomaly.nc")
    ).ssta.load()
    middle = pd.DatetimeIndex(anomaly.time.values) + pd.Timedelta(days=14)
    forcing = climate.isel(time=middle.month.values - 1).assign_coords(time=middle)
    anomaly = anomaly.sortby("lat").transpose("lon", "lat", "time").fillna(0.0).clip(-clip, clip)
    forcing["sst"] = forcing.sst.transpose("lon", "lat", "time") + anomaly.values.astype("f4")
    return forcing.transpose("lon", "lat", "time")


def build_model(config: SimulationConfig, start: str) -> tuple[Any, Any, xr.DataArray]:
    """The model at rest on `start`, its forcing, and the prescribed sea-surface temperature (lon, lat, time)."""
    import jax.numpy as jnp
    from jcm.diffusion import DiffusionFilter
    from jcm.dycore.dinosaur.dycore import DinosaurDycore
    from jcm.forcing import ForcingData
    from jcm.model import Model
    from jcm.physics.physics_term import PhysicsTerm
    from jcm.physics.speedy.speedy_coords import get_speedy_coords
    from jcm.physics.speedy.speedy_terms import SpeedyForcing, speedy_physics
    from jcm.physics_interface import PhysicsTendency
    from jcm.terrain import TerrainData

    class Accumulated(PhysicsTerm):
        """Precipitation since the start of the chunk, kg m-2."""

        name: ClassVar[str] = "accumulated"
        category: ClassVar[str] = "diagnostic"
        requires: ClassVar = ("surface_exchange",)
        provides: ClassVar = ("accumulated",)
        output_attrs: ClassVar = {"accumulated.precipitation": {"units": "kg m-2"}}

        def initial_carry_state(self, coords):
            return {"accumulated": {"precipitation": jnp.zeros(coords.horizontal.nodal_shape)}}

        def __call__(self, state, diagnostics, forcing, terrain):
            rate = diagnostics["surface_exchange"].precipitation
            before = diagnostics.get("accumulated", {}).get("precipitation", jnp.zeros_like(rate))
            total = before + rate * diagnostics["_dt_seconds"]
            return PhysicsTendency.zeros(state.temperature.shape), {
                **diagnostics,
                "accumulated": {"precipitation": total},
            }

    class DiurnalForcing(SpeedyForcing):
        """SPEEDY's daily-mean insolation, times cos(zenith) over its daily mean: a diurnal cycle of the same energy.

        Declination after Spencer (1971), Fourier series representation of the position of the sun.
        """

        name: ClassVar[str] = "speedy_forcing"
        category: ClassVar[str] = "forcing"

        def cache_coords(self, coords):
            super().cache_coords(coords)
            # Tuples, because the physics terms are hashed when the model is compiled.
            self._latitudes = tuple(float(x) for x in coords.horizontal.latitudes)
            self._longitudes = tuple(float(x) for x in coords.horizontal.longitudes)

        def __call__(self, state, diagnostics, forcing, terrain):
            tendency, out = super().__call__(state, diagnostics, forcing, terrain)
            lat = jnp.asarray(self._latitudes)[None, :]
            lon = jnp.asarray(self._longitudes)[:, None]
            year = 2 * jnp.pi * forcing.solar.tyear
            terms = (0.006918, -0.399912, 0.070257, -0.006758, 0.000907, -0.002697, 0.00148)
            declination = terms[0] + sum(
                terms[2 * k - 1] * jnp.cos(k * year) + terms[2 * k] * jnp.sin(k * year) for k in (1, 2, 3)
            )
            hour = forcing.solar.synodic_phase + lon - jnp.pi
            a = jnp.sin(lat) * jnp.sin(declination)
            b = jnp.cos(lat) * jnp.cos(declination)
            cos_zenith = jnp.maximum(a + b * jnp.cos(hour), 0.0)
            sunset = jnp.arccos(jnp.clip(-jnp.tan(lat) * jnp.tan(declination), -1, 1))
            daily = (sunset * a + b * jnp.sin(sunset)) / jnp.pi
            factor = jnp.where(daily > 1e-4, cos_zenith / jnp.maximum(daily, 1e-4), 0.0)
            sw = out["_shortwave_rad"]
            sw = sw.copy(fsol=sw.fsol * factor, ozone=sw.ozone * factor, ozupp=sw.ozupp * factor)
            return tendency, {**out, "_shortwave_rad": sw}

    coords = get_speedy_coords(spectral_truncation=31)
    terrain = TerrainData.from_file(resources.files("jcm.data.bc.t30.clim") / "terrain.nc", coords=coords)
    prescribed = make_sst_forcing(config.sst_anomaly_limit)
    forcing = ForcingData.from_dataset(prescribed, coords=coords, align_mode="by_date_interp", persist="hold")
    tau = config.diffusion_hours * 3600
    diffusion = DiffusionFilter(
        **{f"{k}_timescale": tau for k in ("div", "vor_q", "temp")},
        **{f"{k}_order": config.diffusion_order for k in ("div", "vor_q", "temp")},
    )
    seconds = config.step_minutes * 60
    dycore = DinosaurDycore(coords=coords, terrain=terrain, dt_seconds=seconds, diffusion=diffusion)
    physics = speedy_physics(checkpoint_terms=False) + Accumulated()
    physics = physics.replace("forcing", DiurnalForcing())
    model = Model(
        coords=coords,
        terrain=terrain,
        time_step=config.step_minutes,
        start_time=start,
        physics=physics,
        dycore=dycore,
    )
    return model, forcing, prescribed.sst


def set_mass(model: Any, pressure: float) -> None:
    """Scale the surface pressure so that its global mean is `pressure` Pa (the state at rest is 17 hPa too heavy)."""
    import jax.numpy as jnp

    state, grid = model.run_state, model.coords.horizontal
    now = np.asarray(model.dycore.to_physics_state(state.dynamics).normalized_surface_pressure)
    weights = np.cos(np.asarray(grid.latitudes))[None, :]
    mean = float((now * weights).sum() / (weights.sum() * now.shape[0])) * 1e5
    shift = grid.to_modal(jnp.full((1, *grid.nodal_shape), np.log(pressure / mean)))
    dynamics = state.dynamics.replace(log_surface_pressure=state.dynamics.log_surface_pressure + shift)
    model.restore_state(dynamics, state.physics, time=state.time, step=state.step)


def empty_accumulator(model: Any) -> None:
    """Start the precipitation of a new chunk from zero: a float32 sum over years loses the drizzle."""
    import jax

    state = model.run_state
    zero = jax.tree.map(lambda x: x * 0, state.physics["accumulated"])
    model.restore_state(state.dynamics, {**state.physics, "accumulated": zero}, time=state.time, step=state.step)


def read_core_orography(model: Any) -> np.ndarray:
    """Surface geopotential of the dynamical core (lon, lat), m2 s-2; the terrain file's is off by up to 1.6 km."""
    metres = model.coords.horizontal.to_nodal(model.dycore._truncated_orography)
    return np.asarray(metres, "f4").squeeze() * np.float32(GRAVITY)


def make_converter(model: Any, sst: xr.DataArray, config: SimulationConfig) -> PressureLevels:
    """Conversion of the model's output to the record's variables."""
    grid = model.coords.horizontal
    latitude, longitude = (np.rad2deg(np.asarray(axis)) for axis in (grid.latitudes, grid.longitudes))
    terrain = xr.open_dataset(str(resources.files("jcm.data.bc.t30.clim") / "terrain.nc")).load()
    land = terrain.lsm.transpose("lon", "lat").values.astype("f4")
    return PressureLevels(latitude, longitude, read_core_orography(model), land, sst, config)


def list_chunk_dates(run: SimulationRun, days: int) -> list[pd.Timestamp]:
    """First days of the chunks that cover a run; the first times of output lie one interval later."""
    return list(pd.date_range(run.start, run.end, freq=f"{days}D", inclusive="left"))


def write_atomically(dataset: xr.Dataset, path: Path) -> None:
    """NetCDF, complete or absent."""
    encoding = {name: {"compression": "gzip", "compression_opts": 2, "shuffle": True} for name in dataset.data_vars}
    with replace_atomically(path) as part:
        dataset.to_netcdf(part, engine="h5netcdf", encoding=encoding)


def hash_chunks(files: Sequence[Path]) -> str:
    """Hash (sha256) of a period: the values of its chunks, times first, then variables by name, as float32."""
    sha = hashlib.sha256()
    for file in files:
        with xr.open_dataset(file) as dataset:
            sha.update(dataset.time.values.astype("datetime64[s]").astype("<i8").tobytes())
            for name in sorted(map(str, dataset.data_vars)):
                sha.update(name.encode())
                sha.update(np.ascontiguousarray(dataset[name].values, "<f4").tobytes())
    return sha.hexdigest()


def list_chunks(folder: Path, start: str, end: str) -> list[Path]:
    """Chunks that begin on `start` or later, and before `end`."""
    first, last = (pd.Timestamp(day).strftime("%Y%m%d") for day in (start, end))
    return sorted(file for file in folder.glob("[0-9]*.nc") if first <= file.stem < last)


def simulate(config: SimulationConfig, run: SimulationRun, out: Path, restart: Path | None = None) -> None:
    """Simulate one run into `out`, going on after the last complete chunk.

    Parameters
    ----------
    config : SimulationConfig
        Settings of the generator.
    run : SimulationRun
        Name, first and last day of the record; the spin-up comes before.
    out : Path
        Folder that receives ``static.nc``, one ``YYYYMMDD.nc`` a chunk, ``restart-YYYYMMDD.msgpack``.
    restart : Path, optional
        A restart state of the run's first day, instead of a spin-up from rest.
    """
    import jax
    from jcm.checkpoint import load_checkpoint, save_checkpoint

    out.mkdir(parents=True, exist_ok=True)
    dates = list_chunk_dates(run, config.chunk_days)
    origin = pd.Timestamp(run.origin) if run.origin else pd.Timestamp(run.start) - pd.Timedelta(days=config.spinup_days)
    model, forcing, sst = build_model(config, str(origin.date()))
    levels = make_converter(model, sst, config)
    model.bootstrap_state()

    done = [d for d in dates if (out / f"restart-{d:%Y%m%d}.msgpack").exists()]
    if done:
        first = done[-1]
        load_checkpoint(model, out / f"restart-{first:%Y%m%d}.msgpack")
    else:
        first = dates[0]
        if restart is not None:
            load_checkpoint(model, _decompress_restart(restart, out))
        else:
            set_mass(model, config.mean_surface_pressure)
            begin = time.time()
            model.resume(forcing=forcing, save_interval=float(config.spinup_days), total_time=float(config.spinup_days))
            print(f"{run.name}: spin-up of {config.spinup_days} days, {time.time() - begin:.0f} s", flush=True)
        save_checkpoint(model, out / f"restart-{first:%Y%m%d}.msgpack")
    if not (out / "static.nc").exists():
        write_atomically(levels.make_static(), out / "static.nc")

    begin = time.time()
    todo = [d for d in dates if d >= first]
    keep = {pd.Timestamp(d) for d in run.keep_restarts} | {dates[0]}
    for n, date in enumerate(todo, 1):
        empty_accumulator(model)
        prediction = model.resume(
            forcing=forcing, save_interval=config.save_hours / 24, total_time=float(config.chunk_days)
        )
        jax.block_until_ready(prediction.dynamics)
        raw = prediction.to_xarray()[list(FIELDS)]
        chunk = levels(raw)
        mean = float(chunk["2m_temperature"].weighted(np.cos(np.deg2rad(chunk.latitude))).mean())
        if not np.isfinite(mean):
            raise FloatingPointError(f"{run.name} became unstable in the chunk that begins on {date:%Y-%m-%d}.")
        write_atomically(chunk, out / f"{date:%Y%m%d}.nc")
        after = date + pd.Timedelta(days=config.chunk_days)
        save_checkpoint(model, out / f"restart-{after:%Y%m%d}.msgpack")
        if date not in keep:
            (out / f"restart-{date:%Y%m%d}.msgpack").unlink(missing_ok=True)
        left = (time.time() - begin) / n * (len(todo) - n)
        print(f"{run.name}: {after:%Y-%m-%d}  T2m {mean:.2f} K  {left / 60:.1f} min left", flush=True)


def pin_to_one_processor() -> None:
    """Confine this process to one processor, which no other simulation has taken.

    The simulator's sums are divided among as many threads as there are processors, and rounded accordingly: with one,
    a restart gives the same bits on any number of them.
    """
    if not hasattr(os, "sched_setaffinity"):
        return
    import fcntl

    allowed = sorted(os.sched_getaffinity(0))
    for processor in allowed:
        # The lock is held as long as the process lives, so the file must stay open.
        file = open(Path(tempfile.gettempdir()) / f"xappa-simulate-{processor}.lock", "w")  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            continue
        _LOCKS.append(file)
        os.sched_setaffinity(0, {processor})
        return
    os.sched_setaffinity(0, {allowed[os.getpid() % len(allowed)]})


def _decompress_restart(restart: Path, out: Path) -> Path:
    """A restart state that may be compressed with xz, as a file that the simulator reads."""
    if restart.suffix != ".xz":
        return restart
    plain = out / f"given-{restart.stem}"
    plain.write_bytes(lzma.decompress(restart.read_bytes()))
    return plain


def main(argv: list[str] | None = None) -> int:
    """Entry point in the generator's environment: ``python -m xappa.training.simulate CONFIG OUT [RUN …]``."""
    parser = argparse.ArgumentParser(prog="python -m xappa.training.simulate", description=__doc__)
    parser.add_argument("config", type=Path, help="TOML file of the recipe")
    parser.add_argument("out", type=Path, help="folder of the nature run")
    parser.add_argument("runs", nargs="*", help="names of the runs to simulate (default: all, one after another)")
    parser.add_argument("--restart", type=Path, help="restart state of the run's first day")
    args = parser.parse_args(argv)
    warnings.filterwarnings("ignore")
    pin_to_one_processor()
    config = read_config(args.config).simulation
    known = {run.name: run for run in config.runs}
    unknown = set(args.runs) - set(known)
    if unknown:
        parser.error(f"no run named {sorted(unknown)}; the recipe has {sorted(known)}")
    for name in args.runs or known:
        run = known[name]
        simulate(config, run, args.out / name, args.restart)
        print(f"{name}: sha256 {hash_chunks(list_chunks(args.out / name, run.start, run.end))}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
