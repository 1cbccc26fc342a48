"""What a run will cost, before it runs."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import xappa
from tests.benchmarks.full_plan import (
    EVALUATIONS,
    HOURS,
    ITERATIONS,
    PROBES,
    REFERENCE,
    STATIC,
    STEPS,
    TANGENT,
    WINDOW,
    Parts,
    large_model,
    windows_of,
)
from tests.benchmarks.random_models import random_model
from xappa.diffusion.guidance import MMPS, JacobianFree
from xappa.diffusion.samplers import LMS
from xappa.errors import OptionError
from xappa.model.linear_decoder import LinearDecoder
from xappa.operators.sparse import SparseOperator
from xappa.sampling import evaluation_cost
from xappa.sampling.evaluation_cost import list_stretches, measure_evaluation, split_into_joint_plans, with_fewer
from xappa.sampling.meter import Meter
from xappa.sampling.sampling_tasks import load_model
from xappa.sampling.spec import SamplingSpec
from xappa.streaming.cost.calibration import EvaluationSpeed
from xappa.streaming.cost.solving import estimate_solver_steps
from xappa.streaming.graph.diagnostics import find_run

ERROR = {"2m_temperature": 1.0}
METERED_AS_IS = evaluation_cost._meter_evaluation
COLD = {"tolerance": None, "warm_start": False}


@pytest.fixture
def ds(tiny_model) -> xr.Dataset:
    return xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)


@pytest.fixture
def obs() -> xr.Dataset:
    rng = np.random.default_rng(0)
    times = np.datetime64("2001-03-13T00", "ns") + np.timedelta64(6, "h") * rng.integers(0, 4, 30)
    return xr.Dataset(
        {"2m_temperature": ("obs", 285 + rng.standard_normal(30), {"units": "K"})},
        {
            "time": ("obs", times),
            "latitude": ("obs", rng.uniform(-60, 60, 30)),
            "longitude": ("obs", rng.uniform(0, 360, 30)),
        },
    )


@pytest.mark.parametrize(
    "guidance",
    [MMPS.official(), JacobianFree(iterations=2, tolerance=None, below=50.0)],
    ids=["cold", "warm, below a level"],
)
def test_counts_are_those_of_the_run(tiny_model, ds, obs, guidance):
    options = {"model": tiny_model, "guidance": guidance, "sampler": LMS(steps=3), "seed": 0}
    cost = ds.appa.plan(obs, error=ERROR, **options)
    assert (cost.task, cost.members, cost.times, cost.windows, cost.evaluations) == ("assimilate", 1, 4, 1, 3)
    assert cost.iterations == guidance.iterations
    result = ds.appa.assimilate(obs, error=ERROR, **options)
    with Meter() as meter:
        result.compute(scheduler="synchronous")
    assert cost.flop == meter.flop
    assert float(xappa.diagnostics(result)["evaluations"]) == cost.evaluations
    assert cost.result_bytes == sum(v.nbytes for v in result.data_vars.values())
    assert cost.chunks == sum(v.data.npartitions for v in result.data_vars.values())
    assert cost.tasks == len(result.__dask_graph__())
    assert 0 < cost.memory < 1e9
    assert 0 < cost.seconds < 1000


def test_counts_of_several_members_are_those_of_the_run(tiny_model, ds):
    cost = ds.appa.plan(model=tiny_model, members=3, steps=5, seed=0)
    assert (cost.task, cost.evaluations, cost.iterations) == ("sample", 15, 0)
    with Meter() as meter:
        ds.appa.sample(model=tiny_model, members=3, steps=5, seed=0).compute(scheduler="synchronous")
    assert meter.flop == cost.flop


def test_windows_with_other_numbers_of_reports_are_metered_once(tiny_model, monkeypatch):
    """The operations are those of the run all the same; what is metered again has other times with reports."""
    ds = xappa.template("2001-03-13T00", "2001-03-14T06", model=tiny_model)
    rng = np.random.default_rng(0)
    hours = np.concatenate([np.arange(6), rng.integers(0, 4, 20)]) * np.timedelta64(6, "h")
    where = {
        "latitude": ("obs", rng.uniform(-60, 60, 26)),
        "longitude": ("obs", rng.uniform(0, 360, 26)),
        "time": ("obs", np.datetime64("2001-03-13T00", "ns") + hours),
    }
    obs = xr.Dataset({"2m_temperature": ("obs", 285 + rng.standard_normal(26), {"units": "K"})}, where)
    options = {"model": tiny_model, "guidance": JacobianFree(iterations=2, tolerance=None, probes=3), "seed": 0}
    result = ds.appa.assimilate(obs, error=ERROR, steps=2, **options)
    ((plan, _),) = find_run(result).parts
    found = [(s.frames, s.reports) for s in list_stretches(load_model(plan), plan)]
    assert len(set(found)) == 2 and len({frames for frames, _ in found}) == 1
    metered = []
    monkeypatch.setattr(evaluation_cost, "_meter_evaluation", lambda *a: metered.append(a) or METERED_AS_IS(*a))
    monkeypatch.setattr(evaluation_cost, "_KNOWN", OrderedDict())
    cost = ds.appa.plan(obs, error=ERROR, steps=2, **options)
    assert len([a for a in metered if a[2].reports]) == 1
    with Meter() as meter:
        result.compute(scheduler="synchronous")
    assert cost.flop == meter.flop


def test_nothing_is_sampled(tiny_model, ds, obs, monkeypatch):
    from xappa.sampling import sampling_tasks

    monkeypatch.setattr(sampling_tasks, "sample", None)
    monkeypatch.setattr(sampling_tasks, "_sample", None)
    assert ds.appa.plan(obs, model=tiny_model, error=ERROR, steps=2).evaluations == 2


def test_more_work_costs_more(tiny_model, ds, obs):
    plans = {
        name: ds.appa.plan(obs, model=tiny_model, error=ERROR, guidance=JacobianFree(**COLD, **more), **other)
        for name, more, other in (
            ("little", {"iterations": 2}, {"steps": 2}),
            ("steps", {"iterations": 2}, {"steps": 4}),
            ("iterations", {"iterations": 4}, {"steps": 2}),
            ("members", {"iterations": 2}, {"steps": 2, "members": 2}),
        )
    }
    little = plans.pop("little")
    assert all(plan.flop > little.flop for plan in plans.values())
    assert plans["members"].flop == pytest.approx(2 * little.flop, rel=0.01)
    assert little.sampling_flop < plans["steps"].sampling_flop < 2 * little.sampling_flop


def test_a_forecast_counts_its_pieces(tiny_model, ds):
    start = ds.map(lambda v: v.fillna(280.0))
    cost = start.appa.plan(lead="48h", model=tiny_model, steps=2)
    assert cost.task == "forecast"
    assert cost.times == 8
    assert cost.windows > 1


@pytest.mark.parametrize("task", ["assimilate", "forecast"])
def test_steps_to_a_tolerance_are_about_those_of_the_run(task):
    """Known before from a small problem: reports of two of eight times, the prior's own estimate, states drawn."""
    truth = xappa.tutorial.nature_run()
    if task == "forecast":
        result = truth.isel(time=[0]).appa.forecast("48h", steps=5, seed=0)
    else:
        network = xappa.platforms.stations(truth, 230, errors="speedy-twin", seed=0)
        result = truth.appa.assimilate(truth.appa.observe(network, error="reported", seed=0), seed=0, steps=5)
    ((plan, _),) = find_run(result).parts
    model = load_model(plan)
    unused = EvaluationSpeed(1.0, 1.0, 0.0, False)
    told = [estimate_solver_steps(model, piece, unused) for piece, _ in split_into_joint_plans(model, plan)]
    assert len(told) == {"forecast": 2, "assimilate": 1}[task]
    found = xappa.diagnostics(result)["iterations"].mean()
    assert np.mean(told) == pytest.approx(float(found), rel=0.3)


def test_fewer_reports_leave_what_is_given(tiny_model, ds, obs):
    ((plan, _),) = find_run(ds.appa.assimilate(obs, model=tiny_model, error=ERROR, seed=0)).parts
    model = load_model(plan)
    (stretch,) = list_stretches(model, plan)
    held = 100
    own, fewer = with_fewer(plan, replace(stretch, reports=stretch.reports + held), 1)
    assert (fewer.frames, fewer.reports) == (1, len(own.stencil) + held)
    assert len(own.stencil) == (plan.stencil.time[:, 0] == plan.stencil.time.min()).sum()
    assert with_fewer(plan, stretch, stretch.frames)[1] == stretch


def test_reports_over_a_period_longer_than_a_few_times(tiny_model, ds, obs):
    """Those of the period that ends first stand for all."""
    ends = np.repeat(np.array(["2001-03-13T12", "2001-03-13T18"], "M8[ns]"), 15)
    means = obs.assign_coords(time=("obs", ends))
    options = {"model": tiny_model, "operator": xappa.operators.Average(18.0), "error": ERROR, "seed": 0}
    ((plan, _),) = find_run(means.pipe(ds.appa.assimilate, **options)).parts
    (stretch,) = list_stretches(load_model(plan), plan)
    assert stretch.frames == 4
    own, fewer = with_fewer(plan, stretch, 2)
    assert fewer.frames == 3
    assert fewer.reports == len(own.stencil) == (plan.stencil.time.max(axis=1) == 2).sum() > 0
    assert ds.appa.plan(means, **options).iterations > 0


def test_guidance_without_arithmetic_of_its_own(tiny_model, ds):
    start = ds.isel(time=[0]).map(lambda v: v.fillna(280.0))
    cost = start.appa.plan(lead="6h", model=tiny_model, guidance="repaint", steps=2)
    assert cost.timed and 0 < cost.seconds < float("inf")


def test_steps_of_a_robust_solver_are_counted_by_system(tiny_model, ds, obs):
    options = {"model": tiny_model, "guidance": MMPS(iterations=2, tolerance=None, huber=2.5), "steps": 2, "seed": 0}
    result = ds.appa.assimilate(obs, error=ERROR, **options)
    with Meter() as meter:
        result.compute(scheduler="synchronous")
    cost = ds.appa.plan(obs, error=ERROR, **options)
    assert cost.flop == meter.flop
    assert cost.iterations == float(xappa.diagnostics(result)["iterations"].mean()) == 3 * 2


def test_it_is_shown_as_a_table(tiny_model, ds):
    cost = ds.appa.plan(model=tiny_model, steps=2)
    for line in ("evaluations", "FLOP", "memory", "time", "chunks, tasks", "tiny"):
        assert line in repr(cost)
    assert cost._repr_html_().startswith("<table><caption>xappa plan of sample</caption><tr><th")
    assert cost._repr_html_().count("<tr>") == len(repr(cost).splitlines()) - 1 == len(cost.rows())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"task": "guess"}, "expected 'assimilate'"),
        ({"task": "filter"}, "observations"),
        ({"task": "forecast"}, "lead"),
    ],
)
def test_what_a_task_lacks_is_said(tiny_model, ds, options, expected):
    with pytest.raises(OptionError, match=expected):
        ds.appa.plan(model=tiny_model, **options)


def test_derivatives_at_official_size_are_counted_as_the_arithmetic_says():
    """What extrapolates the cost of official models, at toy size: decoded one by one, each derivative anew."""
    model = random_model("toy").with_graph_budget(1)
    times = np.datetime64("2021-03-21", "h") + np.arange(model.spec.window)
    k = np.arange(model.spec.window)
    one, zero = np.ones(len(k)), np.zeros(len(k))
    stencil = SparseOperator(
        k[:, None], 0 * k[:, None], 0 * k[:, None], one[:, None], zero, zero, one, k, 0 * k, ("value",)
    )  # fmt: skip
    parts = Parts.of(model)
    plan = SamplingSpec(
        "toy", model.digest, None, times, stencil, MMPS(tolerance=0.2, probes=PROBES), LMS(), "symmetrical", 0
    )
    (stretch,) = list_stretches(model, plan)
    found = measure_evaluation(model, plan, stretch, 1, 2)
    assert found.flop == pytest.approx(parts.moment_matching(1, len(times), 2, 1), rel=0.01)
    first = parts.moment_matching(1, len(times), 2) + parts.probing(len(times))
    assert found.first == pytest.approx(first, rel=0.01)
    tangent = LinearDecoder(model.latent_shape[2], model.spec.shape[0], model.autoencoder.spec.resize)
    near = measure_evaluation(replace(model, tangent=tangent, digest="with a tangent"), plan, stretch, 1, 2)
    assert near.flop == pytest.approx(parts.with_tangent(1, len(times), 2), rel=0.01)


def test_the_reference_at_official_size():
    parts = Parts.of(large_model())
    one = parts.moment_matching(1, WINDOW, ITERATIONS)
    assert one == pytest.approx(REFERENCE["evaluation"], rel=0.01)
    for span in ("72 h", "a week"):
        assert EVALUATIONS * windows_of(HOURS[span]) * one == pytest.approx(REFERENCE[span], rel=0.01)
    # With a tangent, and with a prior as well, as the embedded model has them.
    for span in HOURS:
        n = windows_of(HOURS[span])
        assert STEPS * parts.with_tangent(n, WINDOW * n, TANGENT) < EVALUATIONS * n * one / 11
        assert STEPS * parts.static_prior(n, WINDOW * n, STATIC) < EVALUATIONS * n * one / 40
