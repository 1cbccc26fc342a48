"""A state on 11 × 24 points, reports of it and a function of it: what tests of operators share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr

from xappa.model.state import StateSpec
from xappa.state import to_dataset

LEVELS = (300, 500, 700, 850, 1000)
SPEC = StateSpec(
    channels=(
        ("2m_temperature", None),
        ("10m_u_component_of_wind", None),
        ("10m_v_component_of_wind", None),
        ("mean_sea_level_pressure", None),
        ("sea_surface_temperature", None),
        ("total_precipitation_6hr", None),
        *((name, level) for name in ("temperature", "geopotential", "specific_humidity") for level in LEVELS),
    ),
    latitude=tuple(np.arange(-75.0, 90, 15)),
    longitude=tuple(np.arange(0.0, 360, 15)),
    step_hours=6,
    window=5,
)
TIMES = np.datetime64("2021-03-21", "s") + np.arange(5) * SPEC.step
U, V = "10m_u_component_of_wind", "10m_v_component_of_wind"


def reports(latitude=0.0, longitude=0.0, hours=0.0, error=1.0, coords=None, **values: Any) -> xr.Dataset:
    size = max(np.size(v) for v in (latitude, longitude, hours, *values.values(), *(coords or {}).values()))

    def spread(value: Any, dtype: Any = float) -> tuple[str, np.ndarray]:
        return "obs", np.array(np.broadcast_to(np.asarray(value, dtype), size))

    when = TIMES[0] + (spread(hours)[1] * 3600).astype("m8[s]")
    places = {"time": ("obs", when), "latitude": spread(latitude), "longitude": spread(longitude)}
    places |= {name: spread(value, None) for name, value in (coords or {}).items()}
    data = {name: spread(value) for name, value in values.items()}
    data |= {f"{name}_error": spread(error) for name in values}
    return xr.Dataset(data, places)


def random_states(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(5, *SPEC.shape)) + 10


def fields(rng: np.random.Generator, spec: StateSpec = SPEC) -> xr.Dataset:
    from xappa.operators.forward.reference_atmosphere import make_plausible_fields

    values = make_plausible_fields(spec, 5, seed=int(rng.integers(1000)), dtype=torch.float64).numpy()
    return to_dataset(values[None], spec, TIMES, [0]).isel(member=0, drop=True)


def wind_speed(state: xr.Dataset) -> xr.DataArray:
    """Speed of the 10 m wind."""
    return (state[U] ** 2 + state[V] ** 2) ** 0.5


def flags(obs: xr.Dataset, name: str) -> list[int]:
    return obs[f"{name}_flag"].values.tolist()
