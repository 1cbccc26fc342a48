r"""Trajectories longer than the denoiser's window.

A trajectory of T times is covered by N windows of K times; window n begins at time :math:`n S`, with a stride
:math:`S \leq K` and :math:`T = K + (N - 1) S`. Far from its edges, a window's estimate of a time is nearly that of the
whole trajectory, if dependence dies out in time. So at every noise level all windows are denoised by themselves, and
their estimates stitched together.

References
----------
.. [1] Rozet and Louppe, Score-based data assimilation, 2023, https://arxiv.org/abs/2306.10574
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xappa._typing import Denoise
from xappa.errors import OptionError, choose

BLENDING = 4
Stitching = Callable[[Tensor, int], Tensor]
"""(windows (B, N, K, ...), stride S) -> trajectory (B, T, ...)"""


def count_windows(times: int, window: int, overlap: int) -> int:
    """Number N of windows that cover so many times.

    Parameters
    ----------
    times : int
        Times wanted, at least 1.
    window : int
        Times K of a window.
    overlap : int
        Times that a window shares with the next, from 0 to K - 1.

    Raises
    ------
    OptionError
        If the overlap is out of range.
    """
    if not 0 <= overlap < window:
        raise OptionError(f"overlap={overlap} of windows of {window} times; expected from 0 to {window - 1}")
    return 1 + max(0, -(-(times - window) // (window - overlap)))


def compute_padded_length(times: int, window: int, overlap: int) -> int:
    """Smallest number T of times, at least `times`, that whole windows cover."""
    return window + (count_windows(times, window, overlap) - 1) * (window - overlap)


def unfold(x: Tensor, window: int, overlap: int) -> Tensor:
    """Windows (B, N, K, ...) of a trajectory (B, T, ...) of a padded length.

    Raises
    ------
    OptionError
        If whole windows do not make up T times.
    """
    times = x.shape[1]
    if (padded := compute_padded_length(times, window, overlap)) != times:
        raise OptionError(
            f"{times} times are not covered by windows of {window} that overlap by {overlap}; expected {padded} times"
        )
    return x.unfold(1, window, window - overlap).movedim(-1, 2)


def stitch_symmetrical(windows: Tensor, stride: int) -> Tensor:
    """The middle S times of every window, and all that comes before the first's and after the last's."""
    before = (windows.shape[2] - stride) // 2
    first, last = windows[:, 0, :before], windows[:, -1, before + stride :]
    return torch.cat([first, windows[:, :, before : before + stride].flatten(1, 2), last], 1)


def stitch_causal(windows: Tensor, stride: int) -> Tensor:
    """All of the first window, and the last S times of every other: no time sees a later window."""
    return torch.cat([windows[:, 0], windows[:, 1:, windows.shape[2] - stride :].flatten(1, 2)], 1)


def stitch_average(windows: Tensor, stride: int) -> Tensor:
    """Mean of the windows at every time."""
    return average_weighted(windows, stride, torch.ones(windows.shape[2]))


def stitch_blended(windows: Tensor, stride: int) -> Tensor:
    """Mean of the windows at every time, each with the fourth power of the distance to its nearer end for a weight.

    What a window misses beyond its end harms the times near it most. So the mean of all its neighbours is far from as
    good as the window that has a time in its middle, and this one nearly is, without a seam.
    """
    place = torch.arange(windows.shape[2])
    return average_weighted(windows, stride, torch.minimum(place + 1, windows.shape[2] - place) ** BLENDING)


def average_weighted(windows: Tensor, stride: int, weight: Tensor) -> Tensor:
    """Mean of the windows at every time, with weights (K,) of the times in a window."""
    batch, number, window, *rest = windows.shape
    weight = (weight / weight.max()).to(windows).view(-1, *[1] * len(rest))
    total = windows.new_zeros(batch, window + (number - 1) * stride, *rest)
    count = torch.zeros_like(total[:1])
    for n in range(number):
        at = slice(n * stride, n * stride + window)
        total[:, at] += weight * windows[:, n]
        count[:, at] += weight
    return total / count


STITCHING: dict[str, Stitching] = {
    "symmetrical": stitch_symmetrical,
    "causal": stitch_causal,
    "blended": stitch_blended,
    "average": stitch_average,
}
"""Names that choose how windows become a trajectory."""


def fold(windows: Tensor, overlap: int, stitching: str = "symmetrical") -> Tensor:
    """Trajectory (B, T, ...) of windows (B, N, K, ...): the inverse of `unfold` where the windows agree.

    Parameters
    ----------
    windows : Tensor, shape (B, N, K, ...)
    overlap : int
        Times that a window shares with the next.
    stitching : {"symmetrical", "causal", "blended", "average"}, default "symmetrical"

    Raises
    ------
    OptionError
        If there is no such stitching.
    """
    choose("stitching", stitching, STITCHING)
    return STITCHING[stitching](windows, windows.shape[2] - overlap)


class TrajectoryDenoiser:
    """Denoiser of a trajectory, made of those of its windows.

    Parameters
    ----------
    windows : sequence of callable
        ``denoiser(x_t (B, K, ...), sigma) -> estimate``, one a window: dates and observations are bound.
    window : int
        Times K of a window.
    overlap : int
        Times that a window shares with the next.
    stitching : {"symmetrical", "causal", "blended", "average"}, default "symmetrical"

    Raises
    ------
    OptionError
        If an option is not valid.
    """

    def __init__(self, windows: Sequence[Denoise], window: int, overlap: int, stitching: str = "symmetrical") -> None:
        choose("stitching", stitching, STITCHING)
        self.windows, self.window, self.overlap, self.stitching = tuple(windows), window, overlap, stitching
        self.length = window + (len(self.windows) - 1) * (window - overlap)
        count_windows(self.length, window, overlap)

    def __call__(self, x_t: Tensor, sigma: Tensor) -> Tensor:
        """Estimate of x (B, T, ...) from `x_t` at noise level `sigma` (0-d); the windows are evaluated one by one.

        Raises
        ------
        OptionError
            If T is not the length that the windows cover.
        """
        if (times := x_t.shape[1]) != self.length:
            raise OptionError(f"Trajectory of {times} times; expected {self.length} for {len(self.windows)} windows")
        parts = unfold(x_t, self.window, self.overlap).unbind(1)
        estimates = [denoise(part, sigma) for denoise, part in zip(self.windows, parts, strict=True)]
        return fold(torch.stack(estimates, 1), self.overlap, self.stitching)
