"""Projects in the official layout, with tiny networks of random weights: any names, sizes, levels and time steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml

from xappa.model.appa.channels import LEVELS_37, SURFACE, UPPER_AIR
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.transformer import Transformer, TransformerSpec

POSIX_PATH = "path: !!python/object/apply:pathlib.PosixPath\n- /\n- somewhere\n- appa\n"
CLIMATE = {  # mean and deviation, roughly those of the atmosphere
    "2m_temperature": (278.0, 21.0),
    "10m_u_component_of_wind": (0.0, 5.5),
    "10m_v_component_of_wind": (0.2, 4.7),
    "mean_sea_level_pressure": (100960.0, 1330.0),
    "sea_surface_temperature": (286.8, 11.6),
    "total_precipitation": (1e-4, 4e-4),
    "temperature": (250.0, 12.0),
    "u_component_of_wind": (8.0, 13.0),
    "v_component_of_wind": (0.0, 9.0),
    "geopotential": (78000.0, 3000.0),
    "specific_humidity": (2e-3, 1.5e-3),
}


@dataclass
class Project:
    """What is written; the sections are those of official configurations."""

    ae: dict[str, Any] = field(
        default_factory=lambda: {
            "name": "cae_f4c5",
            "in_channels": 71,
            "context_channels": 6,
            "lat_channels": 5,
            "saturation": "softclip2",
            "noise_level": 0.0,
            "pixel_shuffle": True,
            "ffn_factor": 1,
            "patch_size": [1, 1],
            "shape": [13, 24],
            "resize": 4,
            "hid_channels": [8, 8, 8],
            "hid_blocks": [1, 1, 1],
        }
    )
    backbone: dict[str, Any] = field(
        default_factory=lambda: {
            "name": "vit_test",
            "arch": "vit",
            "blanket_size": 4,
            "mod_features": 8,
            "hid_channels": 16,
            "hid_blocks": 2,
            "ffn_factor": 2,
            "attention_heads": 2,
            "qk_norm": True,
            "rope": True,
            "patch_size": [2, 1, 1],
            "window_size": None,
        }
    )
    train: dict[str, Any] = field(
        default_factory=lambda: {
            "blanket_dt": 1,
            "blanket_size": 4,
            "noise_schedule": "rectified",
            "sigma_min": 1e-3,
            "sigma_max": 1e3,
        }
    )
    run: str = "alpha/0"
    dump: str = "one"
    denoiser: str = "beta/3"
    masks: bool = True
    checkpoints: tuple[str, ...] = ("best", "last")

    def write(self, root: Path) -> Path:
        """Write the project under `root`, and return the denoiser's lap."""
        torch.manual_seed(0)
        spec = AutoencoderSpec.from_config(self.ae)
        run = root / "autoencoders" / self.run
        dump = run / "latents" / self.dump
        lap = dump / "denoisers" / self.denoiser
        for folder in (dump / "ae", lap):
            folder.mkdir(parents=True)
        ae = {"ae": {**self.ae, "latent_shape": list(spec.latent_shape)}, "train": {"sub_pressure_levels": True}}
        for folder in (run, dump / "ae"):
            (folder / "config.yaml").write_text(yaml.safe_dump(ae) + POSIX_PATH)
        weights = ConvAutoencoder(spec).state_dict()
        torch.save(weights, dump / "ae" / "model.pth")
        torch.save(weights, run / "model_last.pth")
        c = spec.lat_channels
        torch.save({"mean": torch.linspace(-0.2, 0.3, c), "std": torch.linspace(0.5, 1.5, c)}, dump / "stats.pth")
        (lap / "config.yaml").write_text(yaml.safe_dump({"backbone": self.backbone, "train": self.train}))
        h, w, _ = spec.latent_shape
        for name in self.checkpoints:
            network = Transformer(TransformerSpec.from_config(self.backbone, in_channels=c, shape=(h, w)))
            torch.save(network.state_dict(), lap / f"model_{name}.pth")
        write_data(root / "data", spec.shape, self.masks)
        return lap


def write_data(folder: Path, shape: tuple[int, int], masks: bool = True) -> None:
    """Statistics on 37 levels (Zarr 2), and a mask (Zarr 3) whose eastern half is sea, from south to north."""
    names = {"statistic": ["mean", "std"], "level": list(LEVELS_37)}
    ds = xr.Dataset(coords=names)
    for name in SURFACE:
        ds[name] = ("statistic", np.array(CLIMATE[name], "f4"))
    for name in UPPER_AIR:
        ds[name] = (("statistic", "level"), np.outer(CLIMATE[name], 1 + np.arange(37) / 100).astype("f4"))
    ds.to_zarr(folder / "stats_any.zarr", consolidated=False, zarr_format=2)
    if masks:
        rows, columns = shape
        sea = np.zeros(shape, bool)
        sea[:, columns // 2 :] = True
        sea[0] = True  # the southernmost row is sea throughout
        coords = {"latitude": np.linspace(-90, 90, rows), "longitude": 360 / columns * np.arange(columns)}
        mask = xr.Dataset({"sea_surface_temperature_mask": (("latitude", "longitude"), sea)}, coords)
        mask.to_zarr(folder / "masks_any.zarr", consolidated=False)
