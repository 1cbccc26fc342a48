"""Every way from a Dataset to numbers and back: times, variables, levels, order of axes, units."""

from xappa.labels.asked import Wanted, model_times, wanted
from xappa.labels.fields import spec_of, surface_height
from xappa.labels.inward import to_array
from xappa.labels.outward import to_dataset, with_pairs
from xappa.labels.units import check_units

__all__ = [
    "Wanted",
    "check_units",
    "model_times",
    "spec_of",
    "surface_height",
    "to_array",
    "to_dataset",
    "wanted",
    "with_pairs",
]
