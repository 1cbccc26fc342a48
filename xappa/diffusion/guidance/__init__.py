"""Guidance: denoisers wrapped round a denoiser, that know of observations."""

from xappa.diffusion.guidance.base import Covariance, Denoise, Guidance, GuidedDenoiser, Observation
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

GUIDANCE: dict[str, type[Guidance]] = {
    "mmps": MMPS,
    "jacobian-free": JacobianFree,
    "sda": SDA,
    "w2c": W2C,
    "dps": DPS,
    "repaint": RePaint,
    "latent-optimisation": LatentOptimisation,
}
"""Names that choose a guidance method."""

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
