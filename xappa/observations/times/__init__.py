"""Times of reports, whatever they come as: datetimes, text, numbers, or parts in columns of their own.

No report is moved to 00 UTC because a part of its time is not understood: what is not read is missing, and a source of
which nothing is read, or that can be read in two ways, is refused.
"""

from xappa.observations.times.convert import decoded, to_times
from xappa.observations.times.parts import PARTS, Found, find_times

__all__ = ["PARTS", "Found", "decoded", "find_times", "to_times"]
