"""A tiny nature run and recipe: red noise on 8 x 16 points, so that the whole of the training runs in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

RECIPE = """
name = "tiny"
seed = 3

[simulation]
chunk_days = 10
[[simulation.runs]]
name = "a"
start = "2000-01-01"
end = "2000-05-10"
[[simulation.runs]]
name = "b"
start = "2001-01-01"
end = "2001-04-11"

[state]
surface = ["2m_temperature", "mean_sea_level_pressure", "sea_surface_temperature", "total_precipitation_6hr"]
upper_air = [["temperature", [500, 850]], ["u_component_of_wind", [500, 850]]]
masked = ["sea_surface_temperature"]
daily = [["2m_temperature", 0]]
weight = [["total_precipitation_6hr", 0.3]]

[splits]
train = [["2000-01-01", "2000-05-10"], ["2001-01-01", "2001-01-31"]]
validation = [["2001-02-10", "2001-03-02"]]
test = [["2001-03-12", "2001-04-11"]]

[autoencoder]
latent_channels = 12
factor = 4
hidden = [8, 12]
blocks = [1, 1]
[autoencoder.training]
steps = 20
batch = 4
warmup = 5
checkpoint = 10
bfloat16 = false

[prior]
patterns = 10
joint = 3
calibration_bins = 4

[[local]]
rank = 12
[[local]]
rank = 6
modes = 2
neighbours = true

[denoiser]
window = 4
hidden = 16
blocks = 1
[denoiser.training]
steps = 12
batch = 4
warmup = 4
checkpoint = 6
bfloat16 = false

[seasonal_diurnal_correction]
rank = 6
emphasis = [["2m_temperature", 2.0]]
steps = 5
"""

LATITUDE = -90 + (np.arange(8) + 0.5) * 22.5
LONGITUDE = np.arange(16) * 22.5
MEAN = {
    "2m_temperature": (285.0, 3.0),
    "mean_sea_level_pressure": (101000.0, 600.0),
    "sea_surface_temperature": (290.0, 1.0),
    "total_precipitation_6hr": (0.002, 0.0005),
    "temperature": (260.0, 3.0),
    "u_component_of_wind": (5.0, 6.0),
}


def write_nature_run(folder: Path) -> Path:
    """Chunks as the simulator leaves them, under ``folder/nature``; returns `folder`."""
    rng = np.random.default_rng(0)
    land = np.zeros((8, 16))
    land[4:6, :6] = 1.0
    static = xr.Dataset(
        {
            "land_sea_mask": (("latitude", "longitude"), land),
            "geopotential_at_surface": (("latitude", "longitude"), 5000.0 * land),
        }
    )
    for run, start, days in (("a", "2000-01-01", 130), ("b", "2001-01-01", 100)):
        out = folder / "nature" / run
        out.mkdir(parents=True)
        static.to_netcdf(out / "static.nc")
        # Waves that drift eastwards, with noise: something for each network to learn.
        state = rng.standard_normal((8, 8, 16))
        for first in pd.date_range(start, periods=days // 10, freq="10D"):
            times = pd.date_range(first, periods=41, freq="6h")[1:]
            fields = np.empty((40, 8, 8, 16))
            for t in range(40):
                noise = rng.standard_normal((8, 8, 16))
                noise = noise + np.roll(noise, 1, -1) + np.roll(noise, -1, -1) + noise.mean(0)
                state = 0.9 * np.roll(state, 1, -1) + 0.3 * noise
                fields[t] = state
            _chunk(fields, times, land).to_netcdf(out / f"{first:%Y%m%d}.nc")
    return folder


def _chunk(fields: np.ndarray, times: pd.DatetimeIndex, land: np.ndarray) -> xr.Dataset:
    data, k = {}, 0
    for name, (mean, deviation) in MEAN.items():
        levels = 2 if name in ("temperature", "u_component_of_wind") else 1
        values = mean + deviation * fields[:, k : k + levels]
        k += levels
        if levels == 1:
            data[name] = (("time", "latitude", "longitude"), values[:, 0].astype("f4"))
        else:
            data[name] = (("time", "level", "latitude", "longitude"), values.astype("f4"))
    ds = xr.Dataset(data, {"time": times, "level": [500, 850], "latitude": LATITUDE, "longitude": LONGITUDE})
    ds["sea_surface_temperature"] = ds.sea_surface_temperature.where(land < 0.5)
    return ds
