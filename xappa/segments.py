"""Options of ``segments=``: methods that split a long time axis into segments that are sampled one by one.

`Independent` pieces overlap and are blended, so that December can be sampled without January. In a `Chain` each piece
is held to states of the one before, so that one trajectory comes out of any length, one piece after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from xappa.errors import OptionError, choose

__all__ = ["SEGMENTS", "Chain", "Independent", "choose_segments"]

FEWEST, FEWEST_OF_A_CHAIN = 2, 3
"""Windows that segments share at least, so that both are far from their ends where one takes over."""


def _is_integer(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _require_overlap(way: str, windows: int, overlap: int, fewest: int) -> None:
    if not _is_integer(overlap) or overlap < fewest:
        raise OptionError(f"{way}: overlap={overlap!r}: expected a number of windows, at least {fewest}")
    if not _is_integer(windows) or windows < 2 * overlap:
        raise OptionError(f"{way}: windows={windows!r}: expected a number of windows, at least {2 * overlap}")


@dataclass(frozen=True)
class Independent:
    """Segments that overlap and are blended; none needs another, so that they run in parallel.

    Parameters
    ----------
    windows : int, default 16
        The model's windows that a segment covers. More need more memory, and repeat less.
    overlap : int, default 3
        Windows that a segment shares with the next. The noise there is the same in both, and so are the reports: far
        from the ends of both segments their samples are nearly the same.
    """

    windows: int = 16
    overlap: int = 3

    def __post_init__(self) -> None:
        _require_overlap("Independent", self.windows, self.overlap, FEWEST)


@dataclass(frozen=True)
class Chain:
    """Segments that continue each other: each is held to states of the one before, where their overlap begins.

    It takes over in the middle of the rest of the overlap, where the states of both have seen what lies to both sides.
    The noise is the same in both, so that they nearly agree there, and are blended over a few times.

    Parameters
    ----------
    windows : int, default 16
        The model's windows that a segment covers.
    overlap : int, default 3
        Windows that a segment shares with the next.
    """

    windows: int = 16
    overlap: int = 3

    def __post_init__(self) -> None:
        _require_overlap("Chain", self.windows, self.overlap, FEWEST_OF_A_CHAIN)


Segments = Independent | Chain

SEGMENTS: dict[str, Segments] = {"independent": Independent(), "chain": Chain()}
"""Names that choose a way with its default options."""


def choose_segments(segments: str | Segments) -> Segments:
    """The way that was named, or the object itself.

    Raises
    ------
    OptionError
        If there is none.
    """
    if isinstance(segments, Independent | Chain):
        return segments
    if isinstance(segments, str):
        return choose("segments", segments, SEGMENTS)
    raise OptionError(
        f"segments={segments!r}: expected one of {', '.join(map(repr, SEGMENTS))}, xappa.segments.Independent(...) or "
        "xappa.segments.Chain(...)"
    )
