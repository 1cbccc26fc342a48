"""Quality control: reports that cannot be believed are flagged with the reason, counted, and kept.

`check` looks at reports by themselves, when they are read. `run_quality_control` compares them with each other, with
station tables and with a background; `Quality` says how. Nothing here stops a run because of a bad report.
"""

from xappa.observations.qc.control import run_quality_control
from xappa.observations.qc.counts import flag_counts, summary
from xappa.observations.qc.gross_checks import check
from xappa.observations.qc.options import QUALITY, Quality, choose_quality

__all__ = ["QUALITY", "Quality", "check", "choose_quality", "run_quality_control", "flag_counts", "summary"]
