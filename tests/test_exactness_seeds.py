"""Seeds: equal bits of noise and, as far as floating point allows, equal analyses, however members are asked for."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from torch import Tensor

from tests.exactness import Process
from xappa.diffusion.composition import TrajectoryDenoiser
from xappa.diffusion.guidance import MMPS, JacobianFree, LatentOptimisation, Observation
from xappa.diffusion.noise import Noise, draw_member_noise
from xappa.diffusion.samplers import DPM, LMS, PC
from xappa.diffusion.schedule import Rectified

SEED, TIMES, SHAPE = 11, range(450_000, 450_108, 6), (2,)
SCHEDULE = Rectified(1e-3, 1e3)
ANALYSES = [
    (JacobianFree(), LMS(12)),
    (MMPS(2, None, False), PC(6, 1)),
    (MMPS(solver="cg"), DPM(12)),
    (LatentOptimisation(iterations=10, perturb_observations=True), DPM(12)),
]


def digest(members: list[int], times: list[int]) -> dict[tuple[int, int], str]:
    """Of the noise of each member at each time."""
    found = draw_member_noise(SEED, members, times, (5, 3), 4)
    return {
        (m, t): hashlib.sha256(found[i, j].numpy().tobytes()).hexdigest()
        for i, m in enumerate(members)
        for j, t in enumerate(times)
    }


def test_noise_has_the_same_bits_in_any_chunk_order_and_process():
    members, times = list(range(12)), list(TIMES)
    whole = digest(members, times)
    chunks = [(members[i : i + 5], times[j : j + 7]) for i in range(0, 12, 5) for j in range(0, len(times), 7)]
    parts: dict[tuple[int, int], str] = {}
    for chunk in reversed(chunks):
        parts |= digest(chunk[0][::-1], chunk[1][::-1])
    assert parts == whole
    assert len(set(whole.values())) == len(whole)


@pytest.mark.slow
def test_noise_has_the_same_bits_in_another_process():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(digest, [9, 2], [450_006]).result() == digest([2, 9], [450_006])


def test_members_continue():
    eight, more, all_ = (Noise(SEED, members, TIMES, SHAPE) for members in (range(8), range(8, 16), range(16)))
    for draw in (lambda n: n.start(), lambda n: n(0), lambda n: n(17)):
        assert torch.equal(torch.cat([draw(eight), draw(more)]), draw(all_))


def analysis(members, guidance, sampler, dtype=torch.float32) -> Tensor:
    """Posterior trajectories (member, 18, 2) from two windows of 12."""
    process = Process(times=18, seen=tuple(range(0, 18, 3)))
    members = tuple(members)
    problems = [process.observed(start, 12) for start in (0, 6)]
    reports = {0: (0, 1, 2, 3), 1: (2, 3, 4, 5)}

    def guided(n: int):
        p = problems[n]
        for name in ("p", "h", "r", "y", "vectors", "variances"):
            setattr(p, name, getattr(p, name).to(dtype))

        def noise(k: int) -> Tensor:
            return draw_member_noise(SEED, members, [0], (6,), 10_000 + k)[:, 0, list(reports[n])].to(dtype)

        observation = Observation(p.y, lambda x: x @ p.h.mT, p.r, noise=noise)
        inner = guidance.guide(lambda x, s: p.denoise(x, s).to(dtype), observation, p.covariance)
        return lambda x, s: inner(x.flatten(1), s).view_as(x)

    noise = Noise(SEED, members, TIMES, SHAPE)
    start = (SCHEDULE(torch.ones(1)).item() * noise.start()).to(dtype)
    return sampler(TrajectoryDenoiser([guided(0), guided(1)], 12, 6), start, noise, SCHEDULE)


@pytest.mark.parametrize(("guidance", "sampler"), ANALYSES, ids=repr)
def test_the_same_batch_gives_the_same_bits(guidance, sampler):
    assert torch.equal(analysis(range(4), guidance, sampler), analysis(range(4), guidance, sampler))


@pytest.mark.parametrize(("guidance", "sampler"), ANALYSES, ids=repr)
def test_other_batches_and_orders_agree(guidance, sampler):
    whole = analysis(range(6), guidance, sampler)
    for members in ([0, 1, 2], [5, 3], [4], [2, 0, 5, 1]):
        torch.testing.assert_close(analysis(members, guidance, sampler), whole[members], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("guidance", "sampler"), ANALYSES[:2], ids=repr)
def test_other_numbers_of_threads_agree(guidance, sampler):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(analysis(range(4), guidance, sampler))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_another_seed_is_another_analysis():
    whole = analysis(range(3), *ANALYSES[0])
    assert not torch.isclose(whole[0], whole[1], atol=1e-2).all()
    assert not torch.isclose(whole[1], whole[2], atol=1e-2).all()
