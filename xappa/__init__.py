"""Generative data assimilation as an xarray accessor.

Importing xappa registers ``Dataset.appa``. The names below are loaded when first used, so that the import is
quick and needs xarray alone.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from xappa import accessor as _accessor  # noqa: F401  (registers ds.appa)

if TYPE_CHECKING:
    from xappa import testing as testing
    from xappa import tutorial as tutorial
    from xappa.diffusion import guidance as guidance
    from xappa.diffusion import samplers as samplers
    from xappa.models.registry import fetch as fetch
    from xappa.models.registry import load as load
    from xappa.models.registry import models as models
    from xappa.observations import observation_errors as observation_errors
    from xappa.observations import read_observations as read_observations
    from xappa.options import get_options as get_options
    from xappa.options import set_options as set_options
    from xappa.streaming import diagnostics as diagnostics
    from xappa.streaming import to_zarr as to_zarr
    from xappa.tasks.assimilate import assimilate as assimilate
    from xappa.tasks.check import check as check
    from xappa.tasks.observe import observe as observe
    from xappa.tasks.template import template as template
    from xappa.verification.verify import verify as verify

try:
    __version__ = version("xappa")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_FUNCTIONS = {
    # observations in
    "read_observations": "xappa.observations",
    "observation_errors": "xappa.observations",
    # what ds.appa does, as functions
    "assimilate": "xappa.tasks.assimilate",
    "observe": "xappa.tasks.observe",
    "verify": "xappa.verification.verify",
    "check": "xappa.tasks.check",
    "template": "xappa.tasks.template",
    # models
    "load": "xappa.models.registry",
    "fetch": "xappa.models.registry",
    # results out
    "to_zarr": "xappa.streaming",
    "diagnostics": "xappa.streaming",
    # options
    "set_options": "xappa.options",
    "get_options": "xappa.options",
}

_MODULES = {
    "guidance": "xappa.diffusion.guidance",
    "models": "xappa.models",  # the module is callable: xappa.models() lists what xappa.load knows
    "samplers": "xappa.diffusion.samplers",
    "testing": "xappa.testing",
    "tutorial": "xappa.tutorial",
}

__all__ = [  # noqa: F822  (resolved by __getattr__)
    "__version__",
    "assimilate",
    "check",
    "diagnostics",
    "fetch",
    "get_options",
    "guidance",
    "load",
    "models",
    "observation_errors",
    "observe",
    "read_observations",
    "samplers",
    "set_options",
    "template",
    "testing",
    "to_zarr",
    "tutorial",
    "verify",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first used."""
    if name in _MODULES:
        value: object = importlib.import_module(_MODULES[name])
    elif name in _FUNCTIONS:
        value = getattr(importlib.import_module(_FUNCTIONS[name]), name)
    else:
        raise AttributeError(f"module 'xappa' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
