"""Grids: how axes are recognised, and the weights that read a field between its points."""

from xappa.grids.axes import Layout, inspect, recognise, refuse
from xappa.grids.bilinear import Corners, bracket, corners
from xappa.grids.tidy import tidy

__all__ = ["Corners", "Layout", "bracket", "corners", "inspect", "recognise", "refuse", "tidy"]
