"""Observations as functions of latents: where operators, covariances and decoder meet."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from xappa.diffusion.guidance import ErrorCovariance, Linearised, Observation
from xappa.diffusion.guidance.linearised import LinearFunction, LinearMap, Product
from xappa.model.protocol import GenerativeModel
from xappa.operators.composite import CompositeOperator
from xappa.operators.forward.correlated import build_error_covariance
from xappa.operators.forward.frames import FrameOperators
from xappa.operators.forward.functions import make_whitened_operator
from xappa.operators.forward.linear import WhitenedOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.meter import run_with_real_values


def observe_latents(
    model: GenerativeModel,
    stencil: SparseOperator | CompositeOperator,
    times: np.ndarray,
    correlation: xr.Dataset | None = None,
) -> Observation:
    """Whitened observations of a window, as a function of its latents.

    The autoencoder's error, seen through the operator, is part of the observations' error, where it is known; it is
    independent from report to report, whatever the correlation of theirs.
    """
    reading = make_model_operator(model, stencil, times)
    frames = torch.as_tensor(reading.frames, device=model.device)
    seen = times[np.asarray(reading.frames)]

    by_time = cache(lambda: run_with_real_values(lambda: FrameOperators(reading).to(model.device)))

    def operator(latents: Tensor) -> Tensor:
        if not isinstance(reading, WhitenedOperator) or latents.shape[0] * len(frames) <= model.states_per_batch:
            return reading(model.decode(latents[:, frames], seen))
        # Where not all states can be there at once, neither are their fields.
        parts = by_time()
        return parts(model.decode_by_time(latents[:, frames], seen, list(parts.parts)))

    def tangent(latents: Tensor) -> Tensor:
        return reading(model.linear_decode(latents[:, frames], seen))

    def linearise(latents: Tensor) -> tuple[LinearMap, Tensor]:
        """A reading that is not linear, around the decoded estimate; the decoder by the linear map nearest to it."""
        with torch.no_grad():
            fields = model.decode(latents[:, frames], seen)
        outer = Linearised(reading, fields)
        return Product(outer, LinearFunction(decoded, latents)), outer.value

    def decoded(latents: Tensor) -> Tensor:
        return model.linear_decode(latents[:, frames], seen)

    variance: Tensor | ErrorCovariance = torch.ones_like(reading.y)
    if correlation is not None:
        rows = (stencil.names, stencil.variable, stencil.observation, stencil.error, np.asarray(reading.deviation))
        variance = build_error_covariance(correlation, *rows, device=model.device) or variance
    if not model.has_linear_decoder:
        return Observation(reading.y, operator, variance)
    if reading.linear:
        return Observation(reading.y, operator, variance, tangent)
    return Observation(reading.y, operator, variance, linearise=linearise)


def make_model_operator(model: GenerativeModel, stencil: SparseOperator | CompositeOperator, times: np.ndarray) -> Any:
    """The reports of a window as a function of its fields, on the model's device."""
    return make_whitened_operator(stencil, model.climatology(times), model.scale, representation=model.error).to(
        model.device
    )
