r"""Noise as a function of where it stands.

The standard normal numbers of a member at a time are drawn from a counter-based generator, Philox, whose key is (seed,
member) and whose counter begins at (draw, time): no two of these streams share a block, and none depends on which
others are drawn.

References
----------
.. [1] Salmon et al., Parallel random numbers: as easy as 1, 2, 3, 2011, https://doi.org/10.1145/2063384.2063405
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xappa.errors import OptionError

WORD = 1 << 64


def draw_member_noise(
    seed: int,
    members: Iterable[int],
    times: Iterable[int],
    shape: Sequence[int],
    draw: int = 0,
    *,
    antithetic: bool = False,
) -> Tensor:
    """Standard normal noise, a pure function of (seed, member, time, draw).

    Parameters
    ----------
    seed : int
        From 0 to 2**64 - 1.
    members : iterable of int
        Member numbers, from 0.
    times : iterable of int
        Absolute times, hours since 1970-01-01T00; negative before.
    shape : sequence of int
        Shape of one member at one time.
    draw : int, default 0
        Number of the draw; negative ones are draws too, which no sampler makes.
    antithetic : bool, default False
        Members 2k and 2k + 1 have opposite noise: that of member 2k, and its negative.

    Returns
    -------
    Tensor, shape (member, time, *shape), float32
        On the CPU; the same bits whatever members and times are asked for together.

    Raises
    ------
    OptionError
        If the seed or a member is negative or too large.
    """
    members, times = [int(m) for m in members], [int(t) for t in times]
    numbers = {"seed": seed, **{f"member {m}": m for m in members}}
    if wrong := [f"{name} = {value}" for name, value in numbers.items() if not 0 <= value < WORD]:
        raise OptionError(f"Noise of {', '.join(wrong)}; expected from 0 to 2**64 - 1")
    noise = np.empty((len(members), len(times), *shape), dtype=np.float32)
    for i, member in enumerate(members):
        opposite = antithetic and member % 2 == 1
        for j, time in enumerate(times):
            key = np.array([seed, member - opposite], dtype=np.uint64)
            counter = np.array([0, 0, draw % WORD, time % WORD], dtype=np.uint64)
            generator = np.random.Generator(np.random.Philox(key=key, counter=counter))
            noise[i, j] = generator.standard_normal(tuple(shape), dtype=np.float32)
        if opposite:
            noise[i] *= -1
    return torch.from_numpy(noise)


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of one run of a sampler.

    Parameters
    ----------
    seed : int
    members, times : sequence of int
        See `draw_member_noise`.
    shape : sequence of int
        Shape of one member at one time.
    antithetic : bool, default False
        See `draw_member_noise`.
    """

    seed: int
    members: Sequence[int]
    times: Sequence[int] | np.ndarray
    shape: Sequence[int]
    antithetic: bool = False

    def start(self) -> Tensor:
        """Draw 0, which the sampler's start is made of: (member, time, *shape)."""
        return self(-1)

    def __call__(self, k: int) -> Tensor:
        """The sampler's k-th draw, from 0: (member, time, *shape). It is draw k + 1, so that none equals the start."""
        return draw_member_noise(self.seed, self.members, self.times, self.shape, k + 1, antithetic=self.antithetic)
