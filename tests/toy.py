"""A model of the official kind and of toy size: what tests of precision, memory and operations share."""

from __future__ import annotations

import numpy as np
import torch

from tests.benchmarks.random_models import random_model
from xappa.diffusion.guidance import MMPS, Observation
from xappa.model.window_denoiser import WindowDenoiser

TIMES = np.datetime64("2021-03-01", "h") + np.arange(24)


def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def toy_model():
    return random_model("toy")


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def guided_evaluation(model):
    guided = MMPS.official().guide(
        WindowDenoiser(model).make_denoiser(TIMES[:4]),
        Observation(torch.ones(80), lambda z: model.decode(z, TIMES[:4])[:, :, 5, 3, :20].flatten(1), torch.ones(80)),
    )
    return guided(torch.randn(1, 4, *model.latent_shape), torch.tensor(1.0))
