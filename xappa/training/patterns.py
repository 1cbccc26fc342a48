"""Fit matrices of all places by patterns that the places share."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from tqdm import tqdm

from xappa.model.corrections.linear import PatternCorrection, combine_patterns
from xappa.training.moments import Moments

RATE = 0.02


def fit_correction(correction: PatternCorrection, found: Moments, metric: Tensor, ridge: float, steps: int) -> None:
    """Give a correction, in place, the weights and patterns of `fit_patterns`, as many as it has."""
    fitted = fit_patterns(found, metric, correction.weights.shape[1], ridge, steps)
    for parameter, value in zip((correction.weights, correction.inward, correction.outward), fitted, strict=True):
        parameter.data = value


def fit_patterns(found: Moments, metric: Tensor, rank: int, ridge: float, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (places, rank), and patterns u (rank, inputs) and v (rank, C), of least error in the metric.

    Ridge regression of each place for itself; its principal components over the places, and theirs in turn, give
    patterns to begin with. Then weights and patterns descend together on the exact loss, a quadratic form in each
    place's matrix.

    Parameters
    ----------
    found : Moments
    metric : Tensor (places, C, C)
        Of errors.
    rank : int
        At most what a matrix of all places has.
    ridge : float
        Of the mean power of the regressors, once these are made independent of each other.
    steps : int
        Steps of the descent (Adam, learning rate falling along half a cosine).
    """
    places, inputs, c = found.product.shape
    # In these coordinates the mean of the regressors' moments and that of the metrics are the identity.
    eye = torch.eye(inputs, dtype=torch.float64)
    mean = found.square.mean(0, dtype=torch.float64).cpu()
    root = torch.linalg.cholesky(mean + 1e-6 * mean.diagonal().mean() * eye)
    into = torch.linalg.solve_triangular(root, eye, upper=False).to(found.square)
    out = torch.linalg.cholesky(metric.double().mean(0).cpu())
    back = torch.linalg.inv(out)
    forms = (back @ metric.double().cpu() @ back.mT).to(found.square)
    square = into @ found.square @ into.mT
    square.diagonal(dim1=1, dim2=2).add_(ridge)
    product = into @ found.product @ out.to(found.product)

    size = forms.diagonal(dim1=1, dim2=2).mean(1).sqrt()
    first = _initialise_patterns(torch.stack([*map(torch.linalg.solve, square, product)]), size, rank)
    parameters = [part.requires_grad_() for part in first]
    groups = [{"params": [part], "scale": float(part.detach().square().mean().sqrt())} for part in parameters]
    optimiser = torch.optim.Adam(groups, lr=RATE, betas=(0.9, 0.99))
    bar = tqdm(range(steps), desc="patterns", unit="step")
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = RATE * group["scale"] * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad()
        matrices = combine_patterns(*parameters)
        with torch.no_grad():
            # Half the gradient of the trace of S (M^T G M - 2 M^T X), which is quadratic in M.
            slope = (square @ matrices - product) @ forms
            loss = ((slope - product @ forms) * matrices).sum() / places / c
        matrices.backward(slope)
        optimiser.step()
        bar.set_postfix_str(f"loss {loss.item():.5f}", refresh=False)
    weights, inward, outward = (part.detach() for part in parameters)
    return weights, inward @ into, outward @ back.to(outward)


def _initialise_patterns(matrices: Tensor, size: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The `rank` largest patterns in principal components of matrices (places, inputs, C), which count by `size`."""
    flat = (matrices * size[:, None, None]).flatten(1)
    u, s, vh = torch.linalg.svd(flat, full_matrices=False)
    left, values, right = torch.linalg.svd((s[:, None] * vh).view(-1, *matrices.shape[1:]), full_matrices=False)
    chosen = values.flatten().topk(min(rank, values.numel())).indices
    component, k = chosen // values.shape[1], chosen % values.shape[1]
    # A third root each: a step of the descent is then as large for all three.
    third = values[component, k].pow(1 / 3)
    weights = u[:, component] / size[:, None] * third
    return weights, left[component, :, k] * third[:, None], right[component, k] * third[:, None]
