"""Samplers, for ``sampler=``: the public name of `xappa.diffusion.samplers`."""

from xappa.diffusion.samplers import *  # noqa: F403
from xappa.diffusion.samplers import __all__ as __all__
