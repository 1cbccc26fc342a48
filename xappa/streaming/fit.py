"""How well sampled states fit the observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from xappa.errors import FitWarning, warn
from xappa.operators.rows import Rows
from xappa.operators.stencil import Stencil

Array = np.ndarray
Residuals = Callable[[Stencil | Rows, int, Tensor], tuple[Array, Array]]
"""(rows of a window, its start, its latents) -> whitened y - H(x) (member, M), and deviations (M,)."""

PLAUSIBLE = (0.3, 3.0)
"""Range of chi-squared an observation: it is 1 where errors are as they were said to be."""
FEWEST = 10
"""Observations of which chi-squared says anything."""


def fit(rows: Stencil | Rows, latents: Tensor, starts: Sequence[int], window: int, residuals: Residuals) -> dict:
    """Statistics of observation minus analysis, by quantity.

    Parameters
    ----------
    rows : Stencil or Rows
        Of the whole trajectory.
    latents : Tensor, (member, time, h, w, C)
    starts : sequence of int
        First times of the windows, each of `window` times.
    window : int
    residuals : callable

    Returns
    -------
    dict of arrays
        ``count`` (variable,); ``chi_squared`` (member, variable), mean squares in units of the errors;
        ``departure_mean`` and ``departure_rms`` (member, variable), physical units.
    """
    names = rows.names
    seen: set[tuple[int, int]] = set()
    found: list[tuple[Array, Array, Array]] = []
    for start in starts:
        inside = rows.window(start, window)
        if not len(inside):
            continue
        codes = np.array([names.index(name) for name in inside.names], int)[inside.variable]
        keys = list(zip(codes.tolist(), inside.observation.tolist(), strict=True))
        fresh = np.array([key not in seen for key in keys])
        if not fresh.any():
            continue
        seen.update(keys)
        departure, deviation = residuals(
            inside.select(np.flatnonzero(fresh)), start, latents[:, start : start + window]
        )
        found.append((codes[fresh], departure, deviation))
    members = len(latents)
    out: dict[str, Array] = {
        name: np.full((members, len(names)), np.nan) for name in ("chi_squared", "departure_mean", "departure_rms")
    }
    out["count"] = np.zeros(len(names), int)
    if not found:
        return out
    code = np.concatenate([part[0] for part in found])
    departure = np.concatenate([part[1] for part in found], axis=1)
    physical = departure * np.concatenate([part[2] for part in found])
    for k in range(len(names)):
        mine = code == k
        out["count"][k] = mine.sum()
        if mine.any():
            out["chi_squared"][:, k] = np.square(departure[:, mine]).mean(1)
            out["departure_mean"][:, k] = physical[:, mine].mean(1)
            out["departure_rms"][:, k] = np.sqrt(np.square(physical[:, mine]).mean(1))
    return out


def warn_of(statistics: dict, names: Sequence[str]) -> None:
    """Warn where the fit is implausible: chi-squared an observation outside 0.3 to 3."""
    count = statistics["count"]
    total = int(count.sum())
    if total < FEWEST:
        return
    by_variable = statistics["chi_squared"].mean(0)
    overall = float(np.nansum(by_variable * count) / total)
    low, high = PLAUSIBLE
    if low <= overall <= high:
        return
    listed = ", ".join(f"{name} {value:.2g}" for name, value, n in zip(names, by_variable, count, strict=True) if n)
    advice = (
        "the analysis does not reach the reports: their errors are larger than was said, reports are wrong that "
        "quality control passed, or the sampling is too coarse (more steps, more iterations of the guidance)"
        if overall > high
        else "the analysis is nearer to the reports than their errors allow: these, or the model's error of "
        "representation, are smaller than was said"
    )
    warn(
        f"Implausible fit: chi-squared an observation is {overall:.2g} ({listed}), expected about 1; {advice}. "
        "xappa.diagnostics(result) has it by variable.",
        FitWarning,
    )


def departures(y: Tensor, predicted: Tensor) -> Array:
    """Whitened y - H(x): (member, M), float64."""
    with torch.no_grad():
        return (y - predicted).double().cpu().numpy()
