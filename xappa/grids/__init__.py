"""Grids: how axes are recognised, and the weights that read a field between its points."""

from xappa.grids.axes import Layout, inspect, recognise, refuse
from xappa.grids.bilinear import InterpolationWeights, bracket, compute_bilinear_weights
from xappa.grids.valid_time import flatten_valid_time

__all__ = [
    "InterpolationWeights",
    "Layout",
    "bracket",
    "compute_bilinear_weights",
    "inspect",
    "recognise",
    "refuse",
    "flatten_valid_time",
]
