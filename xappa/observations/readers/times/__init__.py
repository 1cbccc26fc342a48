"""Times of reports, whatever they come as: datetimes, text, numbers, or parts in columns of their own.

No report is moved to 00 UTC because a part of its time is not understood: what is not read is missing, and a source of
which nothing is read, or that can be read in two ways, is refused.
"""

from xappa.observations.readers.times.convert import decode_cf_times, to_times
from xappa.observations.readers.times.parts import PARTS, TimeColumns, find_times

__all__ = ["PARTS", "TimeColumns", "decode_cf_times", "find_times", "to_times"]
