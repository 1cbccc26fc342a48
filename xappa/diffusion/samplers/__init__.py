"""Samplers: from noise to data, by any denoiser."""

from xappa.diffusion.samplers.base import SAMPLERS, Denoise, Noise, Progress, Sampler, Schedule
from xappa.diffusion.samplers.ddim import DDIM
from xappa.diffusion.samplers.ddpm import DDPM
from xappa.diffusion.samplers.dpm import DPM
from xappa.diffusion.samplers.lms import LMS
from xappa.diffusion.samplers.pc import PC
from xappa.diffusion.samplers.rewind import Rewind
from xappa.registry import import_modules

# Those above are named for type checkers; a sampler needs no more than a file in this folder.
import_modules(__name__, __path__)
globals().update({kind.__name__: kind for kind in SAMPLERS.registered.values()})

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
__all__ += sorted({kind.__name__ for kind in SAMPLERS.registered.values()} - set(__all__))
