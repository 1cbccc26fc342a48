"""Whether the errors that reports were said to have are those that they have."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from xappa._typing import Array
from xappa.model.protocol import GenerativeModel
from xappa.operators.composite import CompositeOperator
from xappa.operators.forward.linear import WhitenedOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.error_evidence import ErrorScale, estimate_common_scale, estimate_subset_scale

MOST = 96
"""Reports that are looked at, which bounds the work."""
FEWEST = 20
"""Reports that say anything of their errors."""
FACTOR = 2.0
"""Errors that are less wrong are none of a warning's business: what a model cannot represent is no better known."""
SURE, VERY_SURE = 2.5, 3.5
"""How sure one has to be that errors are larger; and that one variable's are, or that errors are smaller."""


@dataclass(frozen=True)
class MisstatedErrors:
    """Errors that are not as was said.

    Parameters
    ----------
    name : str
        The variable that shows it most.
    factor : float
        How many times what was said its errors are.
    alone : bool
        Whether the others' are as was said.
    count : int
        Reports that were looked at.
    """

    name: str
    factor: float
    alone: bool
    count: int


@torch.no_grad()
def detect_misstated_errors(
    model: GenerativeModel, rows: SparseOperator | CompositeOperator, times: Array
) -> MisstatedErrors | None:
    """Compare reports of one time with each other, by the model's static Gaussian prior.

    Parameters
    ----------
    model : GenerativeModel
    rows : SparseOperator or CompositeOperator
        Of the whole trajectory. Functions of the state are left out.
    times : array of datetime64
        Times of the trajectory.

    Returns
    -------
    MisstatedErrors or None
        None where errors seem right, reports are too few, or the model has no such prior.
    """
    linear = _select_linear(rows)
    if not model.has_linear_decoder or not model.static_prior or linear is None:
        return None
    observations, frame = _select_busiest_time(linear)
    if len(observations) < FEWEST:
        return None
    time = times[[frame]]
    reading = WhitenedOperator(observations, model.climatology(time), model.scale, representation=model.error).to(
        model.device
    )
    _, channel, row, column = torch.unravel_index(reading.index, reading.shape)
    among = model.compute_sum_covariance(reading.weight, channel, row, column, time)
    if among is None:
        return None
    spread, departure = (x.double().cpu().numpy() for x in (among, reading.y))
    return _judge(spread, departure, observations, observations.error / reading.deviation)


def _select_linear(rows: SparseOperator | CompositeOperator) -> SparseOperator | None:
    """Reports that are read linearly off the state."""
    if isinstance(rows, SparseOperator):
        return rows if len(rows) else None
    parts = [
        part.stencil for part in rows.blocks if part.function is None and part.extreme is None and len(part.stencil)
    ]
    return max(parts, key=len, default=None)


def _select_busiest_time(observations: SparseOperator) -> tuple[SparseOperator, int]:
    """Some reports of the time that has most of them, as if the state stood still while they read it; and that time."""
    heaviest = np.abs(observations.weight).argmax(axis=1)
    frame = observations.time[np.arange(len(observations)), heaviest]
    busiest = int(np.bincount(frame).argmax())
    part = observations.select(_sample_evenly(observations.variable, np.flatnonzero(frame == busiest)))
    return replace(part, time=np.zeros_like(part.time)), busiest


def _sample_evenly(variable: Array, rows: Array) -> Array:
    """At most `MOST` of the rows, at random, as many of each variable as there are."""
    rows = np.random.default_rng(0).permutation(rows)
    rank = np.zeros(len(rows), int)
    for code in np.unique(variable[rows]):
        mine = variable[rows] == code
        rank[mine] = np.arange(mine.sum())
    return np.sort(rows[np.argsort(rank, kind="stable")[:MOST]])


def _judge(spread: Array, departure: Array, observations: SparseOperator, share: Array) -> MisstatedErrors | None:
    """`share` (M,): the reports' own errors in units of those that they have together with the model's."""
    together, kappa = estimate_common_scale(spread, departure)
    codes = np.unique(observations.variable)
    single = [estimate_subset_scale(kappa * spread, departure, observations.variable == code) for code in codes]
    sign = np.sign(together.sure) if _is_misstated(together, SURE) else 0
    alone = [sign == 0 and _is_misstated(scale, VERY_SURE) for scale in single]
    if not sign and not any(alone):
        return None
    evident = [
        scale.sure * sign if sign else abs(scale.sure) * wrong for scale, wrong in zip(single, alone, strict=True)
    ]
    worst = int(np.argmax(evident))
    # One variable's errors may explain it better than everybody's; with the same kappa, to compare like with like.
    every = estimate_subset_scale(kappa * spread, departure, np.ones(len(departure), bool))
    is_alone = len(codes) > 1 and bool(not sign or evident[worst] > abs(every.sure))
    mine = observations.variable == codes[worst]
    alpha = single[worst].alpha if is_alone else together.alpha
    own = float(np.square(share[mine]).mean())
    factor = max((alpha - 1 + own) / own, 0.0) ** 0.5
    return MisstatedErrors(observations.names[codes[worst]], factor, is_alone, len(departure))


def _is_misstated(scale: ErrorScale, larger: float) -> bool:
    if scale.alpha >= FACTOR**2:
        return scale.sure >= larger
    return scale.alpha <= FACTOR**-2 and scale.sure <= -VERY_SURE
