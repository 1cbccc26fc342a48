"""Models of the official kind with random parameters: full size as the released one is thought to be, tiny and toy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.schedule import Rectified
from xappa.model.appa.channels import list_channels, make_equiangular_grid
from xappa.model.latent_normalisation import ChannelLatents
from xappa.model.model import Model
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.transformer import Transformer, TransformerSpec
from xappa.model.normalisation import ChannelNormalisation
from xappa.model.state import StateSpec

SIZES: dict[str, dict[str, dict[str, Any]]] = {
    "full": {  # 128 latent channels and 18 blocks: 565 M parameters
        "autoencoder": {
            "lat_channels": 128,
            "shape": (721, 1440),
            "resize": 32,
            "hid_channels": (64, 128, 256, 512, 768, 1024),
            "hid_blocks": (3,) * 6,
        },
        "transformer": {
            "blanket_size": 24,
            "hid_channels": 1024,
            "hid_blocks": 18,
            "attention_heads": 8,
            "mod_features": 256,
            "patch_size": (2, 1, 1),
        },
    },
    "tiny": {  # the proportions of the full one, a window of 24 hours included
        "autoencoder": {
            "lat_channels": 16,
            "shape": (49, 96),
            "resize": 4,
            "hid_channels": (16, 32, 64),
            "hid_blocks": (2,) * 3,
        },
        "transformer": {
            "blanket_size": 24,
            "hid_channels": 128,
            "hid_blocks": 4,
            "attention_heads": 4,
            "mod_features": 64,
            "patch_size": (2, 1, 1),
        },
    },
    "toy": {
        "autoencoder": {
            "lat_channels": 4,
            "shape": (13, 24),
            "resize": 4,
            "hid_channels": (8, 8, 8),
            "hid_blocks": (1,) * 3,
        },
        "transformer": {
            "blanket_size": 4,
            "hid_channels": 32,
            "hid_blocks": 2,
            "attention_heads": 2,
            "mod_features": 16,
            "patch_size": (2, 1, 1),
        },
    },
}


def random_autoencoder(size: str, seed: int = 0) -> ConvAutoencoder:
    """Autoencoder of 71 channels."""
    torch.manual_seed(seed)
    return ConvAutoencoder(AutoencoderSpec(in_channels=71, **SIZES[size]["autoencoder"])).eval().requires_grad_(False)


def random_denoiser(size: str, seed: int = 0, window: int | None = None) -> Denoiser:
    """Denoiser of the autoencoder's latents. No block is near the identity, as those of new networks are."""
    torch.manual_seed(seed + 1)
    height, width, channels = AutoencoderSpec(in_channels=71, **SIZES[size]["autoencoder"]).latent_shape
    values = SIZES[size]["transformer"] | ({} if window is None else {"blanket_size": window})
    spec = TransformerSpec(in_channels=channels, shape=(height, width), **values)
    backbone = Transformer(spec)
    for block in backbone.blocks:
        last: nn.Linear = block.ada_zero[2]  # type: ignore[index, assignment, union-attr]
        nn.init.normal_(last.weight, std=0.05)
        nn.init.normal_(last.bias, std=0.3)
    return Denoiser(backbone).eval().requires_grad_(False)


def random_model(size: str, seed: int = 0, precision: str = "float32", window: int | None = None) -> Model:
    """Both, with statistics of no meaning: fields and latents of deviation one."""
    autoencoder, denoiser = random_autoencoder(size, seed), random_denoiser(size, seed, window)
    latitude, longitude = make_equiangular_grid(autoencoder.spec.shape)
    window = SIZES[size]["transformer"]["blanket_size"] if window is None else window
    spec = StateSpec(list_channels(71), latitude, longitude, 1, window, ("sea_surface_temperature",))
    channels = autoencoder.spec.lat_channels
    return Model(
        name=f"random-{size}",
        digest=f"random-{size}-{seed}",
        spec=spec,
        autoencoder=autoencoder,
        denoiser=denoiser,
        schedule=Rectified(),
        normalisation=ChannelNormalisation(np.zeros(71, "f4"), np.ones(71, "f4"), spec),
        latents=ChannelLatents(np.zeros(channels, "f4"), np.ones(channels, "f4")),
        precision=precision,
    )
