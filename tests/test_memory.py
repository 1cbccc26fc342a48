"""Memory: metered without doing anything, divided so as to fit a budget, with the same results."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.test_cheaper import reports
from tests.test_sampling import plan_of
from xappa.diffusion.guidance import MMPS, JacobianFree
from xappa.diffusion.samplers import LMS
from xappa.errors import DeviceMemoryError, OptionError
from xappa.model.directory import read_model
from xappa.sampling import evaluation_cost
from xappa.sampling.evaluation_cost import list_stretches, measure_evaluation
from xappa.sampling.memory_budget import estimate_memory, plan_batches
from xappa.sampling.meter import Meter, measure_work
from xappa.sampling.sampling_tasks import sample
from xappa.tasks.planning import choose_memory


def observed(folder, **changes):
    """A plan with reports, whose guidance keeps graphs."""
    plan = plan_of(folder, guidance=MMPS(iterations=2, tolerance=None, tangent=False), sampler=LMS(steps=3))
    return replace(plan, observations=reports(read_model(folder), plan.times), **changes)


def test_products_and_convolutions_are_counted():
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    image, kernel = torch.ones(2, 4, 6, 6), torch.ones(8, 4, 3, 3)
    assert measure_work(lambda: a @ b).flop == 2 * 3 * 5 * 7
    assert measure_work(lambda: a.to(torch.complex64) @ b.to(torch.complex64)).flop == 4 * 2 * 3 * 5 * 7
    assert measure_work(lambda: torch.nn.functional.conv2d(image, kernel, padding=1)).flop == 2 * 2 * 8 * 4 * 9 * 36


def test_memory_at_its_fullest_is_that_of_what_exists_together():
    def steps() -> None:
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b.view(10, 100) * 2
        del b, c

    assert measure_work(steps).peak == 2 * 4000
    with Meter() as meter:
        steps()
    assert (meter.peak, meter.live) == (2 * 4000, 0)


def test_what_a_graph_keeps_is_counted():
    def chain(gradient: bool) -> None:
        x = torch.zeros(1000, requires_grad=gradient)
        for _ in range(10):
            x = torch.sin(x)

    assert measure_work(lambda: chain(False)).peak == 2 * 4000
    assert measure_work(lambda: chain(True)).peak == 11 * 4000


def test_metering_predicts_an_evaluation(tiny_model):
    from xappa.sampling.evaluation_cost import build_denoiser

    model, plan = read_model(tiny_model), observed(tiny_model)
    plan = replace(plan, guidance=replace(plan.guidance, warm_start=False))
    (stretch,) = list_stretches(model, plan)
    predicted = measure_evaluation(model, plan, stretch, 3, 2)
    guided = build_denoiser(model, plan, stretch, (0, 1, 2))
    first, later = Meter(), Meter()
    for meter in (first, later):
        with meter:
            guided(torch.zeros(3, 4, *model.latent_shape), torch.tensor(0.5))
    # the units of reports are found once
    assert (predicted.first, predicted.flop) == (first.flop, later.flop)
    assert predicted.first > predicted.flop
    assert predicted.peak == pytest.approx(later.peak, rel=0.5)


@pytest.mark.parametrize("members", [3])
def test_results_agree_whatever_the_budget(tiny_model, members):
    model, plan = read_model(tiny_model), observed(tiny_model)
    (stretch,) = list_stretches(model, plan)
    least = estimate_memory(model.with_graph_budget(1), plan, stretch, 1)
    second = estimate_memory(model.with_graph_budget(1), plan, stretch, 2)
    most = estimate_memory(model, plan, stretch, members)
    divisions, found = [], []
    for memory in ((least + second) / 2, (least + most) / 2, 2.5 * most):
        own = replace(plan, memory=memory)
        divisions.append(plan_batches(model, own, members))
        found.append(sample(own, tuple(range(members)), f"budget-{memory}").latents)
    together = [division.members for division in divisions]
    assert together[0] == 1 and together == sorted(together) and together[-1] == members
    for other in found[:-1]:
        np.testing.assert_allclose(other, found[-1], atol=2e-3)


def test_too_little_memory_says_how_much_is_needed(tiny_model):
    plan = observed(tiny_model, memory=1000.0)
    with pytest.raises(DeviceMemoryError, match=r"too little for one member: .* GB are needed"):
        sample(plan, (0,), "nothing")


@pytest.mark.parametrize("guidance", [MMPS, JacobianFree])
def test_the_peak_of_few_probes_is_that_of_all(tiny_model, monkeypatch, guidance):
    model, plan = (
        read_model(tiny_model),
        observed(tiny_model, guidance=guidance(iterations=1, tolerance=None, probes=5)),
    )
    (stretch,) = list_stretches(model, plan)
    few = evaluation_cost._meter_evaluation(model, plan, stretch, 2, False).peak
    monkeypatch.setattr(evaluation_cost, "limit_probes", lambda denoise, most: None)
    assert evaluation_cost._meter_evaluation(model, plan, stretch, 2, False).peak == few


def test_free_memory_is_enough_for_a_tiny_model(tiny_model):
    model, plan = read_model(tiny_model), observed(tiny_model)
    assert plan_batches(model, plan, 5).members == 5


def test_a_budget_changes_no_token(tiny_model):
    import dask

    plan = observed(tiny_model)
    assert dask.base.tokenize(plan) == dask.base.tokenize(replace(plan, memory=1e9))


@pytest.mark.parametrize(("text", "expected"), [("6GB", 6e9), ("500 MiB", 500 * 2**20), (7e8, 7e8), (None, None)])
def test_amounts_of_memory(text, expected):
    assert choose_memory(text) == expected


@pytest.mark.parametrize("wrong", ["much", "-1GB", 0, -5, True, float("nan")])
def test_no_amount_of_memory(wrong):
    with pytest.raises(OptionError, match="memory="):
        choose_memory(wrong)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has malloc_trim")
def test_memory_that_was_freed_goes_back_to_the_system() -> None:
    code = """
from pathlib import Path
from xappa.devices import trim_host_memory

def resident():
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1e3

blocks = [bytes(2000) for _ in range(60_000)]
last = bytes(2000)  # holds the end of the heap in its place
before = resident()
del blocks
freed = resident()
trim_host_memory()
print(before - freed, freed - resident())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unasked, asked = map(float, done.stdout.split())
    assert unasked < 20
    assert asked > 80
