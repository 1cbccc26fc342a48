r"""Daily extremes: the largest or smallest of a model's states in the period of a report.

A report of the maximum over :math:`[t - P, t]` is compared with :math:`\max_k H(x_{t_k})` over the model's states
:math:`t_k` in that period, both ends included. Its derivative is that of H at the state that is the extreme; where two
are equal, that of the first.

The extreme of the states is less extreme than that of the period: with a diurnal wave of amplitude A and states every
:math:`\Delta`, the highest is off the wave's peak by an angle of up to :math:`a = \pi \Delta / 24\,\mathrm{h}`, any as
likely, so that :math:`A (1 - \cos\phi)` is missed, with the root mean square

.. math:: A \sqrt{3/2 - 2 \sin(a) / a + \sin(2a) / (4a)} ,

0.13 A for six-hourly states. It is added to the error of a report; that it is of one sign is left to the report's own
error. Showers, fronts and gusts of less than a step come on top.
"""

from __future__ import annotations

import numpy as np

from xappa._typing import Array
from xappa.operators.sparse import compact

METHODS = ("maximum", "minimum")

AMPLITUDES = {"2m_temperature": 5.0}
"""Amplitude (K) of the diurnal wave that is taken, a range of 10 K: an order of magnitude for land."""

ROUNDING = 1.0  # s


def estimate_sampling_error(variable: str, step: float) -> float:
    """Root mean square of what states every `step` seconds miss of an extreme, in the variable's units.

    0 for variables of which no diurnal wave is known here.
    """
    a = np.pi * min(step / 86400.0, 1.0)
    square = 1.5 - 2 * np.sin(a) / a + np.sin(2 * a) / (4 * a)
    return AMPLITUDES.get(variable, 0.0) * float(np.sqrt(max(square, 0.0)))


def find_states_within(nodes: Array, end: Array, length: float, step: float) -> tuple[Array, Array, Array]:
    """States in the periods of reports.

    Parameters
    ----------
    nodes : array, (T,)
        Times of the states, s, ascending.
    end : array, (N,)
        Ends of the periods, s; NaN where unknown.
    length, step : float
        Of the periods, and between states, s.

    Returns
    -------
    index : array of int, (N, K)
        The states; a period of fewer repeats its last.
    enough : array of bool, (N,)
        Whether the model's steps put two states and more into the period.
    there : array of bool, (N,)
        Whether all of them are among `nodes`.
    """
    when = np.where(np.isnan(end), nodes[0], end)
    first = np.searchsorted(nodes, when - length - ROUNDING)
    last = np.searchsorted(nodes, when + ROUNDING, side="right") - 1
    # Positions on the model's regular times, which go on beyond the nodes.
    low = np.ceil((when - length - nodes[0] - ROUNDING) / step)
    high = np.floor((when - nodes[0] + ROUNDING) / step)
    number = (high - low + 1).astype(int)
    enough = number >= 2
    there = (last - first + 1 == number) & ~np.isnan(end)
    most = max(int(number[enough & there].max(initial=1)), 1)
    index = np.minimum(first[:, None] + np.arange(most), np.maximum(last, first)[:, None])
    return np.clip(index, 0, len(nodes) - 1), enough, there


def arrange_by_state(states: Array, channel: Array, cell: Array, weight: Array) -> tuple[Array, Array, Array, Array]:
    """Numbers that make up each candidate of each report, side by side.

    Parameters
    ----------
    states : array of int, (M, K)
    channel : array of int, (M, L)
    cell : array of int, (M, C)
    weight : array, (M, L, C)

    Returns
    -------
    weight, time, channel, cell : arrays, (M, K * Q)
        The Q numbers of the first candidate, then those of the second, ...
    """
    size, number = states.shape
    channels = np.broadcast_to(channel[:, :, None], weight.shape).reshape(size, -1)
    cells = np.broadcast_to(cell[:, None, :], weight.shape).reshape(size, -1)
    found = compact(weight.reshape(size, -1), channels, cells)
    width = found[0].shape[1]
    weights, channels, cells = (np.tile(array, (1, number)) for array in found)
    return weights, np.repeat(states, width, axis=1), channels, cells
