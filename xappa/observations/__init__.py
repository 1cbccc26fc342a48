"""Observations: reports of any origin into the one CF form, with units, errors and flags.

`read_observations` does all of it. The pieces work on the schema: `with_errors` fills in error deviations,
`derive_wind` makes components, `check` flags, `flag_counts` counts, `with_flag` rejects for a custom reason.
"""

from xappa.observations.derive import derive_wind
from xappa.observations.errors.correlation import Correlation, with_correlation
from xappa.observations.errors.representativeness import with_representativeness
from xappa.observations.errors.tables import observation_errors, with_errors
from xappa.observations.flags import Flag, flag_attrs, flags_of, with_flag
from xappa.observations.qc import Quality, check, flag_counts, summary
from xappa.observations.read import read_observations
from xappa.observations.readers.registry import READERS, Reader
from xappa.observations.schema import concat, is_one_form, quantities

__all__ = [
    "Correlation",
    "Flag",
    "READERS",
    "Quality",
    "Reader",
    "check",
    "concat",
    "derive_wind",
    "flag_attrs",
    "flag_counts",
    "flags_of",
    "is_one_form",
    "observation_errors",
    "quantities",
    "read_observations",
    "summary",
    "with_correlation",
    "with_errors",
    "with_flag",
    "with_representativeness",
]
