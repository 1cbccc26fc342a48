"""Samplers: from noise to data, by any denoiser."""

from xappa.diffusion.samplers.base import Denoise, Noise, Progress, Sampler, Schedule
from xappa.diffusion.samplers.ddim import DDIM
from xappa.diffusion.samplers.ddpm import DDPM
from xappa.diffusion.samplers.dpm import DPM
from xappa.diffusion.samplers.lms import LMS
from xappa.diffusion.samplers.pc import PC
from xappa.diffusion.samplers.rewind import Rewind

SAMPLERS: dict[str, type[Sampler]] = {
    "lms": LMS,
    "dpm": DPM,
    "pc": PC,
    "ddim": DDIM,
    "ddpm": DDPM,
    "rewind": Rewind,
}
"""Names that choose a sampler."""

__all__ = [
    "DDIM",
    "DDPM",
    "DPM",
    "LMS",
    "PC",
    "SAMPLERS",
    "Denoise",
    "Noise",
    "Progress",
    "Rewind",
    "Sampler",
    "Schedule",
]
