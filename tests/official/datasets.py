"""Checks of data on their way to the networks: era5_dataset, latent_dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from tests.official.latent_dump import LatentWindows
from tests.official.runner import ResultRow, compare, load, register
from xappa.grids.axes import recognise
from xappa.model.appa.channels import MASKED, Channels, list_channels
from xappa.model.appa.statistics import read_channel_statistics, read_levels
from xappa.model.dates import to_date_tensor
from xappa.model.latent_normalisation import ChannelLatents
from xappa.model.normalisation import ChannelNormalisation
from xappa.model.state import StateSpec
from xappa.state import to_array
from xappa.vocabulary import VARIABLES

CONTEXT: Channels = (
    ("toa_incident_solar_radiation", None),
    ("angle_of_sub_gridscale_orography", None),
    ("anisotropy_of_sub_gridscale_orography", None),
    ("slope_of_sub_gridscale_orography", None),
    ("standard_deviation_of_orography", None),
    ("land_sea_mask", None),
)


@register("era5_dataset", recognise=lambda f: {"trajectory_size", "trajectory_dt", "stats"} <= f.config.keys())
def check_era5(folder: Path) -> Iterator[ResultRow]:
    """Fields of a Zarr store as channels, standardised and back, on the times of a trajectory."""
    config, io = load(folder)
    store = folder / config["stats"]
    hours = config["trajectory_dt"] * np.arange(config["trajectory_size"]).astype("timedelta64[h]")
    times = np.datetime64(config["start"], "s") + hours
    ds = xr.open_zarr(folder / config["zarr"], consolidated=False).sel(time=times)
    yield compare(folder, "time", to_date_tensor(times), io["time"])
    readers: dict[str, tuple[Channels, Callable[[xr.Dataset, StateSpec], Tensor]]] = {
        "state": (list_channels(io["state"].shape[1], read_levels(store)), _state),
        "context": (CONTEXT, _context),
    }
    for kind, (channels, read) in readers.items():
        latitude, longitude = (tuple(np.asarray(ds[axis], float).tolist()) for axis in ("latitude", "longitude"))
        spec = StateSpec(channels, latitude, longitude, config["trajectory_dt"], 1, MASKED)
        normalisation = ChannelNormalisation(*read_channel_statistics(store, channels), spec)
        raw = read(ds, spec)
        standard = torch.from_numpy(normalisation.standardise(raw.numpy(), times))
        outputs = {
            # Official fields are 0 where they are missing, standardised or not.
            f"{kind}_raw": torch.nan_to_num(raw),
            kind: standard,
            f"{kind}_mean": torch.from_numpy(normalisation.channel_mean)[None, :, None, None],
            f"{kind}_std": torch.from_numpy(normalisation.channel_deviation)[None, :, None, None],
        }
        if kind == "state":
            outputs["unstandardized"] = torch.from_numpy(normalisation.destandardise(standard.numpy(), times))
        for name, value in outputs.items():
            if name in io:
                yield compare(folder, name, value, io[name])


def _state(ds: xr.Dataset, spec: StateSpec) -> Tensor:
    # The stores have no units: they are those of the vocabulary.
    known = {name: ds[name].assign_attrs(units=VARIABLES[name].units) for name in spec.variables}
    labelled = ds[list(known)].assign(known)
    return torch.from_numpy(to_array(labelled, spec, recognise(labelled)))


def _context(ds: xr.Dataset, spec: StateSpec) -> Tensor:
    fields = [ds[name].transpose("time", "latitude", "longitude").values for name, _ in spec.channels]
    return torch.from_numpy(np.stack(fields, 1))


@register("latent_dataset", recognise=lambda f: {"h5", "blanket_size"} <= f.config.keys())
def check_latents(folder: Path) -> Iterator[ResultRow]:
    """A standardised window of a dump of latents."""
    config, io = load(folder)
    file = folder / config["h5"]
    latents = ChannelLatents(io["mean"].numpy(), io["std"].numpy(), config["noise_level"])
    start = np.datetime64(config["start"], "h") if "start" in config else None
    windows = LatentWindows(file, latents, config["blanket_size"], config["stride"], start)
    found = dict(zip(("blanket", "date"), windows[config["index"]], strict=True))
    found |= dict(zip(("mean", "std"), windows.statistics(), strict=True)) | {"length": torch.tensor(len(windows))}
    for name, value in found.items():
        if name in io:
            yield compare(folder, name, value, io[name])
