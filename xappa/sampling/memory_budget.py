"""Division of an analysis that fits into memory: members sampled together, states whose graphs are kept.

Members come first: fewer of them at once cost nothing but speed. If one alone does not fit, the graphs of decoded
states are given up one after the other, and computed anew at every product: that costs arithmetic. Results agree to
rounding, whatever the division.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xappa.devices import estimate_kernel_memory, get_available_memory
from xappa.diffusion.guidance import W2C, JacobianFree, LatentOptimisation, SolverGuidance
from xappa.errors import DeviceMemoryError
from xappa.model.protocol import GenerativeModel
from xappa.operators.sparse import SparseOperator
from xappa.sampling.evaluation_cost import (
    METERED,
    Stretch,
    measure_peak_memory,
    select_most_observed,
    split_into_joint_plans,
)
from xappa.sampling.spec import SamplingSpec

SHARE = 0.8
"""Share of the free memory that is used by default."""
SURE = 0.5
"""Share of the budget; if a rough bound is below, nothing is metered."""
SLACK = 1.25
"""Allocators and kernels need more than the tensors."""
GRAPH, ALONE = 800, 60
"""Rough bound: bytes of a denoiser with its graph, and without, over those of its window of latents."""
LIGHT = (JacobianFree, W2C, LatentOptimisation)
"""Guidance that does not differentiate the denoiser."""


@dataclass(frozen=True)
class BatchPlan:
    """Numbers of members and states that are processed together.

    Parameters
    ----------
    members : int
        Sampled at once.
    graph_budget : int
        Bytes that graphs of decoded states may take.
    need : float
        Bytes at the fullest, with the networks' weights; not a number where nobody had to know.
    """

    members: int
    graph_budget: int
    need: float


def determine_budget(sampling: SamplingSpec, model: GenerativeModel) -> float | None:
    """Bytes that may be used, weights included; None where nobody knows."""
    if sampling.memory is not None:
        return sampling.memory
    free = get_available_memory(model.device)
    return None if free is None else SHARE * free + model.nbytes


def plan_batches(model: GenerativeModel, sampling: SamplingSpec, members: int) -> BatchPlan:
    """The division that fits into the budget with the fewest parts and the least arithmetic.

    Raises
    ------
    DeviceMemoryError
        If a budget that was given is too small for one member and one state.
    """
    budget = determine_budget(sampling, model)
    sampling = split_into_joint_plans(model, sampling)[0][0]
    stretch = select_most_observed(model, sampling)
    rough = model.nbytes + estimate_kernel_memory(model.device) + bound_memory(model, sampling, stretch, members)
    if budget is None or rough < SURE * budget:
        return BatchPlan(members, model.graph_budget, float("nan"))
    kept = model.graph_budget
    while True:
        one = estimate_memory(model.with_graph_budget(kept), sampling, stretch, 1)
        if one <= budget or kept <= model.graph_bytes:
            break
        kept = max(min(kept, stretch.frames * model.graph_bytes) // 2, model.graph_bytes)
    if one > budget:
        if sampling.memory is None:
            return BatchPlan(1, kept, one)
        raise DeviceMemoryError(
            f"memory={sampling.memory / 1e9:.3g} GB is too little for one member: {one / 1e9:.3g} GB are needed, "
            f"{model.nbytes / 1e9:.3g} GB of them for the networks. Allow more, or use a "
            "guidance that does not differentiate the denoiser (ds.appa.plan says what each needs)"
        )
    model = model.with_graph_budget(kept)
    each = max(estimate_memory(model, sampling, stretch, 2) - one, 1.0) if members > 1 else one
    together = min(members, 1 + int((budget - one) // each))
    return BatchPlan(together, kept, one + (together - 1) * each)


def estimate_memory(model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int) -> float:
    """Bytes that sampling so many members takes at the fullest, with the networks' weights."""
    made = SLACK * measure_peak_memory(model, sampling, stretch, members)
    if isinstance(sampling.guidance, SolverGuidance):
        made += 8.0 * members * stretch.reports * max(sampling.guidance.iterations - METERED, 0)
    # The trajectory, its derivatives and its noise, as samplers keep them.
    size = math.prod(model.latent_shape)
    return model.nbytes + estimate_kernel_memory(model.device) + made + 8 * 4.0 * members * len(sampling.times) * size


def bound_memory(model: GenerativeModel, sampling: SamplingSpec, stretch: Stretch, members: int) -> float:
    """Bytes that an evaluation surely does not exceed, without metering it."""
    window = 4.0 * stretch.length * math.prod(model.latent_shape)
    derived = stretch.reports > 0 and not isinstance(sampling.guidance, LIGHT)
    states = min(members * stretch.frames, model.states_per_batch) * model.graph_bytes
    channels, height, width = model.spec.shape
    # Linear readings take states as they are decoded, others need them all.
    together = min(members * stretch.frames, model.states_per_batch)
    together = together if isinstance(sampling.observations, SparseOperator) else members * stretch.frames
    fields = 4.0 * together * channels * height * width
    iterations = sampling.guidance.iterations if isinstance(sampling.guidance, SolverGuidance) else 0
    rows = 8.0 * members * stretch.reports * (iterations + 10)
    return members * window * (GRAPH if derived else ALONE) + (3.0 if derived else 0.5) * states + 6 * fields + rows
