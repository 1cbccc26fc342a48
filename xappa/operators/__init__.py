"""Observation operators H: from a trajectory of states to what an instrument would report.

Geometries (`Interpolate`, `Nearest`, `Footprint`, `GridPoints`) say where fields are read, periods (`Average`,
`Accumulate`, `Maximum`, `Minimum`) over how long, physics (`ColumnWater`, `Thickness`, `Sounder`, plain functions of a
Dataset) what is read. They compose: ``Footprint(radius=25) @ wind_speed``.
"""

from __future__ import annotations

from xappa.operators.aggregation import Accumulate, Average, Maximum, Minimum
from xappa.operators.base import OPERATORS, Operator
from xappa.operators.calculus import differentiate, interp
from xappa.operators.chain import OperatorChain, Physics
from xappa.operators.columns import ColumnWater, Thickness
from xappa.operators.composite import CompositeOperator
from xappa.operators.context import StateContext
from xappa.operators.footprint import Footprint
from xappa.operators.function import Function
from xappa.operators.interpolate import Interpolate, interpolate
from xappa.operators.nearest import GridPoints, Nearest
from xappa.operators.sounder import Sounder
from xappa.operators.sources import PerSource, choose_operator, split_windows
from xappa.operators.sparse import SparseOperator
from xappa.registry import import_modules

# Those above are named for type checkers; an operator needs no more than a file in this folder. What needs torch is in
# `forward` and `torch_array`, which load it when they are used.
import_modules(__name__, __path__)
_REGISTERED = {kind.__name__: kind for kind in map(type, OPERATORS.registered.values()) if issubclass(kind, Operator)}
globals().update(_REGISTERED)

__all__ = [
    "OPERATORS",
    "Accumulate",
    "Average",
    "OperatorChain",
    "ColumnWater",
    "Footprint",
    "Function",
    "GridPoints",
    "Interpolate",
    "Maximum",
    "Minimum",
    "Nearest",
    "Operator",
    "PerSource",
    "Physics",
    "CompositeOperator",
    "Sounder",
    "StateContext",
    "SparseOperator",
    "Thickness",
    "choose_operator",
    "differentiate",
    "interp",
    "interpolate",
    "split_windows",
]
__all__ += sorted(set(_REGISTERED) - set(__all__))
