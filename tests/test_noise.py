"""Noise: equal bits whatever is asked for together, and standard normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xappa.diffusion.noise import Noise, draw_member_noise
from xappa.errors import OptionError

MEMBERS = range(6)
TIMES = range(-12, 24, 6)
SHAPE = (3, 4, 2)
SEED = 7
GOLDEN = [[-0.01182815, 0.43558937], [0.13361403, -0.31466857]]


@settings(deadline=None, max_examples=30)
@given(
    members=st.lists(st.sampled_from(MEMBERS), min_size=1),
    times=st.lists(st.sampled_from(TIMES), min_size=1),
    draw=st.integers(-2, 3),
)
def test_a_selection_has_the_bits_of_the_whole(members, times, draw):
    whole = draw_member_noise(SEED, MEMBERS, TIMES, SHAPE, draw)
    part = draw_member_noise(SEED, members, times, SHAPE, draw)
    assert part.dtype == torch.float32
    assert torch.equal(part, whole[members][:, [TIMES.index(t) for t in times]])


def test_no_two_streams_are_equal():
    first = [
        draw_member_noise(seed, [member], [time], (8,), draw).flatten().tolist()
        for seed in (0, 1, 2**63)
        for member in (0, 1, 2**40)
        for time in (-1, 0, 1, 2**31)
        for draw in (-1, 0, 1)
    ]
    numbers = {number for row in first for number in row}
    assert len(numbers) == 8 * len(first)


def test_standard_normal_and_independent():
    noise = draw_member_noise(3, range(8), range(0, 48, 6), (50, 40)).double()
    count = noise.numel()
    assert abs(noise.mean()) < 4 / count**0.5
    assert abs(noise.var() - 1) < 4 * (2 / count) ** 0.5
    assert abs((noise**4).mean() - 3) < 4 * (96 / count) ** 0.5
    streams = noise.flatten(2).flatten(0, 1)
    correlation = torch.corrcoef(streams) - torch.eye(len(streams))
    assert correlation.abs().max() < 5 / streams.shape[1] ** 0.5
    following = draw_member_noise(3, range(8), range(0, 48, 6), (50, 40), 1).double()
    assert abs((noise * following).mean()) < 4 / count**0.5


def test_bits_stay_those_of_earlier_versions():
    found = draw_member_noise(2024, [3], [-6, 450000], (2,), 1)
    np.testing.assert_allclose(found[0], GOLDEN, rtol=1e-6)


def test_draws_of_a_run_differ_from_its_start():
    noise = Noise(SEED, MEMBERS, np.array(TIMES), SHAPE)
    draws = [noise.start(), noise(0), noise(1)]
    assert all(draw.shape == (6, 6, 3, 4, 2) for draw in draws)
    assert torch.equal(noise(0), noise(0))
    assert not any(torch.equal(a, b) for a, b in zip(draws, draws[1:] + draws[:1], strict=True))


def test_wrong_numbers_are_named_together():
    with pytest.raises(OptionError, match=r"seed = -1.*member -2.*expected from 0"):
        draw_member_noise(-1, [0, -2], [0], SHAPE)
