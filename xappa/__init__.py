"""Generative data assimilation as an xarray accessor.

Importing xappa registers ``Dataset.appa`` and ``DataArray.appa``. The names below are loaded when first used, so that
the import is quick and needs xarray alone.
"""

from __future__ import annotations

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xappa import background as background
    from xappa import errors as errors
    from xappa import experimental as experimental
    from xappa import observations as observations
    from xappa import operators as operators
    from xappa import platforms as platforms
    from xappa import segments as segments
    from xappa import testing as testing
    from xappa import tutorial as tutorial
    from xappa.binning.superob import superob as superob
    from xappa.binning.thinning import thin as thin
    from xappa.diffusion import guidance as guidance
    from xappa.diffusion import samplers as samplers
    from xappa.grids.regrid.files import write_weights as write_weights
    from xappa.grids.regrid.torch_weights import to_torch as to_torch
    from xappa.model.protocol import IdentityCoder as IdentityCoder
    from xappa.model.protocol import Prior as Prior
    from xappa.model.registry import fetch as fetch
    from xappa.model.registry import load as load
    from xappa.model.registry import models as models
    from xappa.model.state import StateSpec as StateSpec
    from xappa.observations import Quality as Quality
    from xappa.observations import observation_errors as observation_errors
    from xappa.observations import read_observations as read_observations
    from xappa.observations import summary as summary
    from xappa.options import get_options as get_options
    from xappa.options import set_options as set_options
    from xappa.streaming.graph.diagnostics import diagnostics as diagnostics
    from xappa.streaming.store.zarr import to_zarr as to_zarr
    from xappa.tasks.assimilate import assimilate as assimilate
    from xappa.tasks.check import check as check
    from xappa.tasks.cycle import cycle as cycle
    from xappa.tasks.filter import filter as filter
    from xappa.tasks.forecast import forecast as forecast
    from xappa.tasks.latents import decode as decode
    from xappa.tasks.latents import encode as encode
    from xappa.tasks.observe import observe as observe
    from xappa.tasks.plan import plan as plan
    from xappa.tasks.quality import quality_control as quality_control
    from xappa.tasks.regrid import regrid as regrid
    from xappa.tasks.regrid import regrid_weights as regrid_weights
    from xappa.tasks.sample import sample as sample
    from xappa.tasks.template import template as template
    from xappa.verification.verify import verify as verify

# Registers ds.appa and da.appa. By name, since type checkers need the types of the functions below before theirs.
importlib.import_module("xappa.array_accessor")

try:
    __version__ = version("xappa")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_FUNCTIONS = {
    # observations in
    "read_observations": "xappa.observations",
    "observation_errors": "xappa.observations",
    "Quality": "xappa.observations",
    "quality_control": "xappa.tasks.quality",
    "superob": "xappa.binning.superob",
    "thin": "xappa.binning.thinning",
    "summary": "xappa.observations",
    # what ds.appa does, as functions
    "assimilate": "xappa.tasks.assimilate",
    "filter": "xappa.tasks.filter",
    "forecast": "xappa.tasks.forecast",
    "sample": "xappa.tasks.sample",
    "cycle": "xappa.tasks.cycle",
    "observe": "xappa.tasks.observe",
    "encode": "xappa.tasks.latents",
    "decode": "xappa.tasks.latents",
    "regrid": "xappa.tasks.regrid",
    "regrid_weights": "xappa.tasks.regrid",
    "write_weights": "xappa.grids.regrid.files",
    "to_torch": "xappa.grids.regrid.torch_weights",
    "verify": "xappa.verification.verify",
    "check": "xappa.tasks.check",
    "plan": "xappa.tasks.plan",
    "template": "xappa.tasks.template",
    # models
    "models": "xappa.model.registry",
    "load": "xappa.model.registry",
    "fetch": "xappa.model.registry",
    "Prior": "xappa.model.protocol",
    "IdentityCoder": "xappa.model.protocol",
    "StateSpec": "xappa.model.state",
    # results out
    "to_zarr": "xappa.streaming.store.zarr",
    "diagnostics": "xappa.streaming.graph.diagnostics",
    # options
    "set_options": "xappa.options",
    "get_options": "xappa.options",
}

_MODULES = {
    "background": "xappa.background",
    "errors": "xappa.errors",
    "experimental": "xappa.experimental",
    "guidance": "xappa.guidance",
    "operators": "xappa.operators",
    "observations": "xappa.observations",
    "platforms": "xappa.platforms",
    "samplers": "xappa.samplers",
    "segments": "xappa.segments",
    "testing": "xappa.testing",
    "tutorial": "xappa.tutorial",
}

__all__ = [  # noqa: F822  (resolved by __getattr__)
    "IdentityCoder",
    "Prior",
    "Quality",
    "StateSpec",
    "__version__",
    "assimilate",
    "background",
    "check",
    "cycle",
    "decode",
    "diagnostics",
    "encode",
    "errors",
    "experimental",
    "fetch",
    "filter",
    "forecast",
    "get_options",
    "guidance",
    "load",
    "models",
    "observation_errors",
    "observations",
    "observe",
    "operators",
    "plan",
    "platforms",
    "quality_control",
    "read_observations",
    "regrid",
    "regrid_weights",
    "sample",
    "samplers",
    "segments",
    "set_options",
    "summary",
    "superob",
    "template",
    "testing",
    "thin",
    "to_torch",
    "to_zarr",
    "tutorial",
    "verify",
    "write_weights",
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
