"""How well sampled states fit the observations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from xappa._typing import Array
from xappa.errors import FitWarning, warn
from xappa.operators.composite import CompositeOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.stated_errors import MisstatedErrors

Residuals = Callable[[SparseOperator | CompositeOperator, int, Tensor], tuple[Array, Array]]
"""(rows of a window, its start, its latents) -> whitened y - H(x) (member, M), and deviations (M,)."""

LOWEST, NEARLY_ONE = 0.3, 0.75
"""Chi-squared an observation below which errors are too large: of few reports, and of very many."""
HIGHEST, HIGHEST_OF_FEW_LEVELS = 2.5, 4.0
"""Above which the fit is too bad, and for samplers with less than `FEW_LEVELS` noise levels. Networks with right errors
reach 1.8 and 3.8 (``docs/benchmarks.md``)."""
FEW_LEVELS = 10
_TOO_NEAR = (
    "the analysis is nearer to them than their errors allow: these, or the model's error of representation, are "
    "smaller than was said"
)
_ONE_TOO_SMALL = (
    "its errors are stated too small or in other units, or its values are in other units or for another height"
)
_TOO_SMALL = (
    "they are stated too small, or leave out what the model's grid cannot represent, or values are wrong that quality "
    "control passed"
)
FEWEST = 10
"""Observations of which chi-squared says anything."""


def compute_fit_statistics(
    rows: SparseOperator | CompositeOperator, latents: Tensor, starts: Sequence[int], window: int, residuals: Residuals
) -> dict:
    """Statistics of observation minus analysis, by quantity.

    Parameters
    ----------
    rows : SparseOperator or CompositeOperator
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
        inside = rows.select_window(start, window)
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


def warn_of_poor_fit(statistics: dict, names: Sequence[str], levels: int = FEW_LEVELS) -> bool:
    """Warn where chi-squared an observation is implausible, naming the variable that is worst; and tell whether it is.

    Parameters
    ----------
    statistics : dict
        Of `compute_fit_statistics`.
    names : sequence of str
        Variables.
    levels : int, optional
        Noise levels of the sampler: with few, an analysis does not come as near to the reports.
    """
    count = statistics["count"]
    total = int(count.sum())
    if total < FEWEST:
        return False
    by_variable = statistics["chi_squared"].mean(0)
    overall = float(np.nansum(by_variable * count) / total)
    low, high = compute_plausible_range(total, levels)
    if low <= overall <= high:
        return False
    excess = np.where(count > 0, (by_variable - 1) * count * (1 if overall > high else -1), -np.inf)
    worst = int(np.argmax(excess))
    cause = _describe_cause(statistics, worst, levels) if overall > high else _TOO_NEAR
    warn(
        f"Implausible fit: chi-squared an observation is {overall:.2g}, expected about 1 ({low:.2g} to {high:.2g}). "
        f"Most of it is due to {names[worst]}: {by_variable[worst]:.2g} of {int(count[worst])} reports; {cause}. "
        "xappa.diagnostics(analysis) has chi-squared and departures by variable.",
        FitWarning,
    )
    return True


def warn_of_errors(found: MisstatedErrors) -> None:
    """Warn that errors are not those that were stated, naming the variable that shows it most, and a likely cause."""
    if found.factor < 1:
        many = f"about {max(found.factor, 0.1):.1g} times what was stated, or less"
        cause = "they are stated too large, or in other units"
    else:
        many = f"about {found.factor:.2g} times what was stated"
        cause = _ONE_TOO_SMALL if found.alone else _TOO_SMALL
    whose = f"the errors of {found.name} alone" if found.alone else f"the errors, first of all of {found.name},"
    warn(
        f"Implausible errors: as {found.count} reports of one time differ from each other, {whose} are {many}. "
        f"Likely cause: {cause}. error= states others.",
        FitWarning,
    )


def compute_plausible_range(total: int, levels: int) -> tuple[float, float]:
    """Between what chi-squared an observation lies if errors are as they were said to be, for so many reports."""
    low = max(LOWEST, min(NEARLY_ONE, 1 - 5 * (2 / total) ** 0.5))
    return low, HIGHEST if levels >= FEW_LEVELS else HIGHEST_OF_FEW_LEVELS


def _describe_cause(statistics: dict, variable: int, levels: int) -> str:
    """The likely cause, by how much of the departures is a mean."""
    mean, rms = (float(statistics[f"departure_{name}"].mean(0)[variable]) for name in ("mean", "rms"))
    far = "the analysis does not reach them: they differ by"
    if abs(mean) > 0.6 * rms:
        return f"{far} {mean:+.3g} on average, as with a bias, a wrong height or wrong units"
    coarse = '; effort="standard" comes nearer to them' if levels < FEW_LEVELS else ""
    return (
        f"{far} {rms:.3g} (root mean square), around a mean of {mean:+.2g}: errors are larger than was said, or values "
        f"are wrong, or contradict each other, that quality control passed{coarse}"
    )


def compute_departures(y: Tensor, predicted: Tensor) -> Array:
    """Whitened y - H(x): (member, M), float64."""
    with torch.no_grad():
        return (y - predicted).double().cpu().numpy()
