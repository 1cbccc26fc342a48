"""Guidance: denoisers wrapped round a denoiser, that know of observations."""

from xappa.diffusion.guidance.base import GUIDANCE, Covariance, Denoise, Guidance, GuidedDenoiser, Observation
from xappa.diffusion.guidance.covariance import (
    BlockCovariance,
    ErrorCovariance,
    FactoredCovariance,
    InflatedCovariance,
    JoinedCovariance,
    SequenceCovariance,
)
from xappa.diffusion.guidance.dps import DPS
from xappa.diffusion.guidance.jacobian_free import JacobianFree
from xappa.diffusion.guidance.latent_optimisation import LatentOptimisation
from xappa.diffusion.guidance.linearised import Linearised
from xappa.diffusion.guidance.mmps import MMPS
from xappa.diffusion.guidance.repaint import RePaint
from xappa.diffusion.guidance.sda import SDA
from xappa.diffusion.guidance.solver import SolverGuidance
from xappa.diffusion.guidance.w2c import W2C
from xappa.registry import import_modules

# Those above are named for type checkers; a method needs no more than a file in this folder.
import_modules(__name__, __path__)
globals().update({kind.__name__: kind for kind in GUIDANCE.registered.values()})

__all__ = [
    "DPS",
    "GUIDANCE",
    "MMPS",
    "SDA",
    "W2C",
    "BlockCovariance",
    "Covariance",
    "Denoise",
    "ErrorCovariance",
    "FactoredCovariance",
    "Guidance",
    "GuidedDenoiser",
    "InflatedCovariance",
    "JacobianFree",
    "JoinedCovariance",
    "LatentOptimisation",
    "Linearised",
    "Observation",
    "RePaint",
    "SequenceCovariance",
    "SolverGuidance",
]
__all__ += sorted({kind.__name__ for kind in GUIDANCE.registered.values()} - set(__all__))
