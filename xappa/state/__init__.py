"""Every way from a Dataset to numbers and back: times, variables, levels, order of axes, units."""

from xappa.state.fields import derive_spec, get_surface_height
from xappa.state.from_model import to_dataset, with_pairs
from xappa.state.selection import OutputSelection, find_model_times, select_output
from xappa.state.to_model import to_array
from xappa.state.units import check_units

__all__ = [
    "OutputSelection",
    "check_units",
    "find_model_times",
    "derive_spec",
    "get_surface_height",
    "to_array",
    "to_dataset",
    "select_output",
    "with_pairs",
]
