"""What became of one mutation."""

from __future__ import annotations

import random
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.target import Target
from xappa.errors import XappaError

OUTCOMES = ("read", "remarked", "refused", "raw", "absurd", "hang", "crash")
"""Read with sane values; with flags, counts or warnings too; an `XappaError`; and the four that are faults."""

FAULTS = ("raw", "absurd", "hang", "crash")


@dataclass(frozen=True)
class Outcome:
    """`kind` is one of `OUTCOMES`; `what` groups faults: the class and innermost frames, or the absurd values."""

    index: int
    kind: str
    what: str = ""


def draw(target: Target, seeds: Any, seed: int, index: int, folder: Path) -> Any:
    """Mutation `index` of `target`."""
    rng = random.Random(f"{seed}:{target.name}:{index}")
    return target.mutate(rng.choice(seeds), rng, folder)


def judge(target: Target, damaged: Any, index: int) -> Outcome:
    """Read one input, and judge what comes of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = target.read(damaged)
        except XappaError as error:
            if (hidden := _own_fault(error)) is not None:
                return Outcome(index, "raw", f"behind {type(error).__name__}: {place_of(hidden)}")
            return Outcome(index, "refused", type(error).__name__)
        except Exception as error:
            return Outcome(index, "raw", place_of(error))
    if wrong := target.absurd(result):
        return Outcome(index, "absurd", "; ".join(wrong))
    return Outcome(index, "remarked" if caught or target.remarked(result) else "read")


_OURS = (AttributeError, KeyError, IndexError, TypeError, NameError, AssertionError, ArithmeticError, StopIteration)


def _own_fault(error: BaseException) -> BaseException | None:
    """What a boundary turned into an error of a file, although it was raised by xappa's own line."""
    cause = error.__cause__
    while isinstance(cause, XappaError):
        cause = cause.__cause__
    if not isinstance(cause, _OURS) or "cannot be read as" not in str(error):
        return None
    innermost = traceback.extract_tb(cause.__traceback__)[-1]
    return cause if "/xappa/observations/" in innermost.filename else None


def place_of(error: BaseException) -> str:
    """Class of an error, the innermost frame of xappa, and the innermost one of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/xappa/" in frame.filename]
    shown = dict.fromkeys([*map(_frame, ours[-1:]), *map(_frame, frames[-1:])])
    return f"{type(error).__name__} in {' <- '.join(reversed(shown))}"


def _frame(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    return f"{path.parent.name}/{path.name}:{frame.lineno} {frame.name}"
