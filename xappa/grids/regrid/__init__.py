"""Regridding: weights between grids as sparse matrices, made, kept, written, read and applied."""

from xappa.grids.regrid.build import get_weights
from xappa.grids.regrid.files import read_weights, write_weights
from xappa.grids.regrid.grid import Grid
from xappa.grids.regrid.weights import Weights

__all__ = ["Grid", "Weights", "read_weights", "get_weights", "write_weights"]
