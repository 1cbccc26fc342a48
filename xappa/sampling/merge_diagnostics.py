"""What the segments of a batch learned of themselves, as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xappa._typing import Array
from xappa.sampling.sampled import SamplingResult

WORST = ("residual", "iterations")
MEANS = ("departure_mean", "chi_squared")


def without_latents(sampled: SamplingResult) -> SamplingResult:
    """The same without latents."""
    return SamplingResult(sampled.members, np.array(sampled.latents[:, :0]), sampled.diagnostics)


def merge_segments(parts: Sequence[SamplingResult], variables: Sequence[str]) -> SamplingResult:
    """The diagnostics of all segments.

    Parameters
    ----------
    parts : sequence of SamplingResult
        Segments of one batch, `without_latents`.
    variables : sequence of str
        Observed quantities, in the order of the result.

    Returns
    -------
    Sampled
        ``residual`` and ``iterations`` (step, member), worst of the segments; ``sigma`` (step,); ``seconds`` (), their
        sum; ``count`` (variable,), and ``chi_squared``, ``departure_mean`` and ``departure_rms`` (member, variable)
        over the reports of all segments, where a report that two segments see counts twice.
    """
    members = parts[0].members
    learned = [part.diagnostics for part in parts]
    out: dict[str, Array] = {"seconds": np.array(sum(float(part["seconds"]) for part in learned))}
    if sigma := [part["sigma"] for part in learned if "sigma" in part]:
        out["sigma"] = sigma[0]
    for name in WORST:
        if rows := [part[name] for part in learned if name in part]:
            with np.errstate(invalid="ignore"):
                out[name] = np.fmax.reduce([np.broadcast_to(row, (len(row), len(members))) for row in rows])
    return SamplingResult(members, parts[0].latents, out | _merge_fit(learned, variables, len(members)))


def concat_members(parts: Sequence[SamplingResult]) -> SamplingResult:
    """One batch that was sampled in parts, of different members."""
    learned = [part.diagnostics for part in parts]
    out: dict[str, Array] = {k: learned[0][k] for k in ("sigma", "count", "variables") if k in learned[0]}
    out["seconds"] = np.array(sum(float(part["seconds"]) for part in learned))
    for name in (*WORST, *MEANS, "departure_rms"):
        if all(name in part for part in learned):
            axis = 1 if name in WORST else 0
            out[name] = np.concatenate([part[name] for part in learned], axis)
    members = tuple(member for part in parts for member in part.members)
    return SamplingResult(members, np.concatenate([part.latents for part in parts]), out)


def _merge_fit(learned: Sequence[dict[str, Array]], variables: Sequence[str], members: int) -> dict[str, Array]:
    """Statistics of observation minus analysis, over all segments."""
    known = [part for part in learned if "count" in part]
    if not known or not variables:
        return {}
    count = np.zeros((len(known), len(variables)))
    sums = {name: np.zeros((members, len(variables))) for name in (*MEANS, "departure_rms")}
    for row, part in zip(count, known, strict=True):
        names = part["variables"].tolist()
        here = [k for k, name in enumerate(names) if name in variables]
        there = [list(variables).index(names[k]) for k in here]
        row[there] = part["count"][here]
        for name, total in sums.items():
            values = np.square(part[name]) if name == "departure_rms" else part[name]
            total[:, there] += np.nan_to_num(values[:, here]) * row[there]
    total = count.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        out = {name: np.where(total > 0, values / total, np.nan) for name, values in sums.items()}
    out["departure_rms"] = np.sqrt(out["departure_rms"])
    return out | {"count": total.astype(int), "variables": np.array(list(variables))}
