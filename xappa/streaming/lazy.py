"""The Dask graph of an analysis: members are sampled once, and decoded in the chunk that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import dask
import dask.array as da
import numpy as np
from dask.delayed import Delayed

from xappa.models.state import StateSpec
from xappa.streaming.plan import Plan
from xappa.streaming.progress import bar

if TYPE_CHECKING:
    from xappa.streaming.sampling import Sampled

MEMBERS_AT_ONCE = 8  # members that share the evaluations of the networks
CHUNK_BYTES = 64e6  # of decoded fields, unless the user says otherwise


@dataclass(frozen=True)
class Run:
    """A planned analysis: fields that are computed on demand, and the tasks that sample them.

    Parameters
    ----------
    token : str
        The same for the same plan and members, in any process.
    fields : dask array (member, time, channel, latitude, longitude)
        Physical units, on the model's grid, at the times of the trajectory.
    sampled : tuple of (members, Delayed)
        Sampling tasks, a batch of members each.
    evaluations : int
        Calls of the denoiser a member.
    """

    token: str
    fields: da.Array
    sampled: tuple[tuple[tuple[int, ...], Delayed], ...]
    evaluations: int


def build(
    plan: Plan, members: tuple[int, ...], spec: StateSpec, times: int, chunks: int | None, progress: bool | None
) -> Run:
    """Graph of a plan.

    Parameters
    ----------
    plan : Plan
    members : tuple of int
        Member numbers.
    spec : StateSpec
        The model's state.
    times : int
        Times of the result: the first ones of the plan's trajectory, which may be padded.
    chunks : int or None
        Times that are decoded at once; None lets `CHUNK_BYTES` decide.
    progress : bool or None
        Whether sampling shows a bar.
    """
    token = dask.base.tokenize(plan, members)
    size = chunks or max(1, int(CHUNK_BYTES // (4 * np.prod(spec.shape))))
    size = min(size, times)
    batches = [members[i : i + MEMBERS_AT_ONCE] for i in range(0, len(members), MEMBERS_AT_ONCE)]
    sampled, rows = [], []
    for batch in batches:
        key = dask.base.tokenize(token, batch)
        task = dask.delayed(_sample, pure=True)(plan, batch, token, progress, dask_key_name=f"xappa-sample-{key}")
        sampled.append((batch, task))
        for position, member in enumerate(batch):
            blocks = []
            for first in range(0, times, size):
                last = min(first + size, times)
                block = dask.delayed(_decode, pure=True)(
                    plan, task, position, first, last, dask_key_name=f"xappa-decode-{key}-{member}-{first}-{last}"
                )
                blocks.append(da.from_delayed(block, (1, last - first, *spec.shape), "f4"))
            rows.append(da.concatenate(blocks, axis=1))
    return Run(token, da.concatenate(rows, axis=0), tuple(sampled), plan.sampler.evaluations)


def _sample(plan: Plan, members: tuple[int, ...], token: str, progress: bool | None) -> Sampled:
    from xappa.streaming.sampling import sample

    with bar(plan.sampler.evaluations, f"sampling {len(members)} members", progress) as advance:
        return sample(plan, members, token, advance)


def _decode(plan: Plan, sampled: Sampled, position: int, first: int, last: int) -> np.ndarray:
    from xappa.streaming.sampling import decode

    latents = sampled.latents[position : position + 1, first:last]
    return decode(plan, latents, sampled.members[position : position + 1], first)
