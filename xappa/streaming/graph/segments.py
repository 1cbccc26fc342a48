"""Where a long trajectory is cut, and how the pieces are joined: numbers of times alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xappa._typing import Array
from xappa.segments import Chain, Segments

BLENDED = 0.3
"""Share of an overlap in which one segment takes over from the other: longer, and it nears the ends of both; shorter,
and jumps from one time to the next grow with their difference."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a trajectory that is sampled by one task.

    Parameters
    ----------
    start, stop : int
        Its times, the last not included.
    overlap : int
        Times at its beginning where it is held to the segment before; 0 where it needs none.
    """

    start: int
    stop: int
    overlap: int = 0


@dataclass(frozen=True)
class Piece:
    """What a chunk of times takes from one segment.

    Parameters
    ----------
    segment : int
    rows : tuple of int
        Which of the chunk's times.
    frames : tuple of int
        Where these lie along the segment.
    weights : tuple of float
        1 where no other segment has a share.
    """

    segment: int
    rows: tuple[int, ...]
    frames: tuple[int, ...]
    weights: tuple[float, ...]


def cut_trajectory(length: int, window: int, stride: int, segments: Segments | None) -> tuple[Segment, ...]:
    """Segments of a trajectory; each begins and ends with one of its windows, so that all see the same windows.

    Parameters
    ----------
    length : int
        Times, which whole windows cover.
    window, stride : int
        Times of a window, and from the start of one to that of the next.
    segments : Independent, Chain or None
        None: one segment, whatever the length.
    """
    windows = 1 + max(0, -(-(length - window) // stride))
    if segments is None or windows <= segments.windows:
        return (Segment(0, length),)
    found = []
    held = window - stride if isinstance(segments, Chain) else 0
    for first in range(0, windows, segments.windows - segments.overlap):
        last = min(first + segments.windows, windows)
        found.append(Segment(first * stride, (last - 1) * stride + window, held if first else 0))
        if last == windows:
            break
    return tuple(found)


def list_pieces(segments: Sequence[Segment], times: Array, size: int) -> tuple[tuple[Piece, ...], ...]:
    """What each chunk of times takes from each segment that has a share in it.

    Parameters
    ----------
    segments : sequence of Segment
    times : array of int
        Ascending, along the trajectory.
    size : int
        Times of a chunk.
    """
    found: list[list[Piece]] = [[] for _ in range(0, len(times), size)]
    for k, segment in enumerate(segments):
        low, high = np.searchsorted(times, (segment.start, segment.stop))
        share = _compute_share(segments, k, times[low:high])
        used = np.flatnonzero(share > 0)
        edges = np.flatnonzero(np.diff((low + used) // size)) + 1
        for part in np.split(used, edges) if len(used) else []:
            chunk = int(low + part[0]) // size
            rows, frames = low + part - chunk * size, times[low + part] - segment.start
            weights = share[part]
            found[chunk].append(Piece(k, tuple(rows.tolist()), tuple(frames.tolist()), tuple(weights.tolist())))
    return tuple(tuple(parts) for parts in found)


def _compute_share(segments: Sequence[Segment], k: int, times: Array) -> Array:
    """Share of a segment in its times; the shares of all segments add up to 1."""
    share = np.ones(len(times))
    if k:
        share = _compute_ramp(times, segments[k], segments[k - 1].stop)
    if k + 1 < len(segments):
        share = np.minimum(share, 1 - _compute_ramp(times, segments[k + 1], segments[k].stop))
    return share


def _compute_ramp(times: Array, segment: Segment, last: int) -> Array:
    """Share of a segment where the one before reaches to before `last`.

    It rises from 0 to 1 in the middle of what the two share, far from the end of the one before, and from the beginning
    of this one or the states that it is held to.
    """
    first = segment.start + segment.overlap
    length = BLENDED * (last - first)
    return np.clip((times + 0.5 - (first + last - length) / 2) / length, 0.0, 1.0)
