"""Regridding: weights between grids as sparse matrices, made, kept, written, read and applied."""

from xappa.grids.regrid.build import weights_between
from xappa.grids.regrid.files import read, write_weights
from xappa.grids.regrid.grid import Grid
from xappa.grids.regrid.weights import Weights

__all__ = ["Grid", "Weights", "read", "weights_between", "write_weights"]
