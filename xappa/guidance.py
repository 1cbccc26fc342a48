"""Guidance methods, for ``guidance=``: the public name of `xappa.diffusion.guidance`."""

from xappa.diffusion.guidance import *  # noqa: F403
from xappa.diffusion.guidance import __all__ as __all__
