"""Valid ranges of the numbers and days of a recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

SIZE, COUNT, ANY_FACTOR = (1, 1 << 24), (0, 1 << 31), (0.0, 1e6)

RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("chunk_days", "save_hours", "batch", "checkpoint", "latent_channels", "factor", "window"), SIZE),
    **dict.fromkeys(("hidden", "diffusion_order", "every", "calibration_bins", "keepbits", "step_minutes"), SIZE),
    **dict.fromkeys(("spinup_days", "steps", "warmup", "blocks", "patterns", "joint", "rank", "modes", "count"), COUNT),
    **dict.fromkeys(("rate", "linear_rate", "local_rate", "decay", "bound", "ridge", "pooling"), ANY_FACTOR),
    **dict.fromkeys(("analysis_weight", "diffusion_hours", "sst_anomaly_limit", "sigma_min", "sigma_max"), ANY_FACTOR),
    "seed": (0, 2**63 - 1),
    "average": (0.0, 1.0),
    "levels": (1, 1100),
    "upper_air": (1, 1100),
    **dict.fromkeys(("daily", "channels"), (0, 1100)),
    "mean_surface_pressure": (1e4, 2e5),
}
"""Least and largest value by the name of an entry."""

DAYS = ("start", "end", "train", "validation", "test", "climatology", "keep_restarts")
"""Entries that are days."""

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def describe_out_of_range(values: Mapping[str, Any]) -> list[str]:
    """Sentences on numbers that are out of range or not finite, and on texts that are no days.

    Parameters
    ----------
    values : mapping
        Entries of a recipe's table by name; tuples are looked at entry by entry.
    """
    wrong = []
    for name, value in values.items():
        leaves = list(_flatten(value))
        least, most = RANGES.get(name, (-math.inf, math.inf))
        numbers = [leaf for leaf in leaves if isinstance(leaf, int | float) and not isinstance(leaf, bool)]
        if odd := [n for n in numbers if not math.isfinite(n) or not least <= n <= most]:
            wrong.append(
                f"{name} is {odd[0]}; expected {f'{least:g} to {most:g}' if name in RANGES else 'finite ones'}"
            )
        if name in DAYS and (odd := [leaf for leaf in leaves if not _is_day(leaf)]):
            wrong.append(f"{name} is {odd[0]!r}; expected days such as 2000-01-31")
    return wrong


def _flatten(value: Any) -> list[Any]:
    return [leaf for item in value for leaf in _flatten(item)] if isinstance(value, tuple) else [value]


def _is_day(value: Any) -> bool:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        return False
    try:
        return not np.isnat(np.datetime64(value))
    except ValueError:
        return False
