"""Fields that a function can be tried on before there is any state: a standard atmosphere with weather of its size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xappa.model.state import StateSpec
from xappa.standard_atmosphere import (
    GRAVITY,
    LAPSE_RATE,
    SEA_LEVEL_TEMPERATURE,
    TROPOPAUSE_TEMPERATURE,
    compute_standard_height,
)

LARGEST = 1 << 26  # numbers that are made; larger fields are the same everywhere

_SURFACE = {
    "2m_temperature": (285.0, 5.0),
    "10m_u_component_of_wind": (4.0, 3.0),
    "10m_v_component_of_wind": (-3.0, 3.0),
    "mean_sea_level_pressure": (101325.0, 600.0),
    "sea_surface_temperature": (291.0, 3.0),
    "total_precipitation": (1e-3, 2e-4),
    "total_precipitation_6hr": (4e-3, 8e-4),
}


def compute_moments(spec: StateSpec) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (each (channel,)) of each channel, physical units."""
    return tuple(np.array(part) for part in zip(*(_compute_moment(*channel) for channel in spec.channels), strict=True))  # type: ignore[return-value]


def make_plausible_fields(spec: StateSpec, times: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Physical fields (time, channel, latitude, longitude)."""
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = (torch.from_numpy(part).to(dtype)[:, None, None] for part in compute_moments(spec))
    full = (times, *spec.shape)
    small = int(np.prod(full)) <= LARGEST
    # Uniform numbers: humidity stays above 0.
    noise = 2 * torch.rand(full if small else (*full[:2], 1, 1), generator=generator, dtype=dtype) - 1
    return (mean + deviation * noise).expand(full)


def _compute_moment(name: str, level: float | None) -> tuple[float, float]:
    if level is None:
        return _SURFACE.get(name, (1.0, 0.1))
    pressure = float(level)
    height = float(compute_standard_height(np.array(pressure)))
    humidity = 0.008 * (pressure / 1000) ** 3
    return {
        "temperature": (max(SEA_LEVEL_TEMPERATURE - LAPSE_RATE * height, TROPOPAUSE_TEMPERATURE), 5.0),
        "geopotential": (GRAVITY * height, 600.0),
        "u_component_of_wind": (10.0, 6.0),
        "v_component_of_wind": (2.0, 6.0),
        "specific_humidity": (humidity, humidity / 3),
    }.get(name, (1.0, 0.1))
