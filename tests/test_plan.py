"""What a run will cost, before it runs."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xappa
from xappa.diffusion.guidance import JacobianFree
from xappa.diffusion.samplers import LMS
from xappa.errors import OptionError
from xappa.streaming.meter import Meter

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


def test_counts_are_those_of_the_run(tiny_model, ds, obs):
    options = {"model": tiny_model, "guidance": JacobianFree(iterations=2, **COLD), "sampler": LMS(steps=3)}
    cost = ds.appa.plan(obs, error={"2m_temperature": 1.0}, members=2, seed=0, **options)
    assert (cost.task, cost.members, cost.times, cost.windows, cost.evaluations) == ("assimilate", 2, 4, 1, 6)
    assert cost.iterations == 2
    result = ds.appa.assimilate(obs, error={"2m_temperature": 1.0}, members=2, seed=0, **options)
    with Meter() as meter:
        result.compute(scheduler="synchronous")
    # The run decodes once more, to see how the result fits.
    assert cost.flop < meter.flop < 1.2 * cost.flop
    assert cost.result_bytes == result.nbytes
    assert cost.chunks == sum(v.data.npartitions for v in result.data_vars.values())
    assert cost.tasks == len(result.__dask_graph__())
    assert 0 < cost.memory < 1e9
    assert 0 < cost.seconds < 1000


def test_nothing_is_sampled(tiny_model, ds, obs, monkeypatch):
    from xappa.streaming import sampling

    monkeypatch.setattr(sampling, "sample", None)
    monkeypatch.setattr(sampling, "_sample", None)
    assert ds.appa.plan(obs, model=tiny_model, error={"2m_temperature": 1.0}, steps=2).evaluations == 2


def test_more_work_costs_more(tiny_model, ds, obs):
    plans = {
        name: ds.appa.plan(
            obs, model=tiny_model, error={"2m_temperature": 1.0}, guidance=JacobianFree(**COLD, **more), **other
        )
        for name, more, other in (
            ("little", {"iterations": 2}, {"steps": 2}),
            ("steps", {"iterations": 2}, {"steps": 4}),
            ("iterations", {"iterations": 4}, {"steps": 2}),
            ("members", {"iterations": 2}, {"steps": 2, "members": 2}),
        )
    }
    little = plans.pop("little")
    assert all(plan.flop > little.flop for plan in plans.values())
    assert plans["members"].flop == pytest.approx(2 * little.flop)
    assert plans["steps"].sampling_flop == pytest.approx(2 * little.sampling_flop)


def test_without_observations_it_is_a_sample(tiny_model, ds):
    cost = ds.appa.plan(model=tiny_model, members=3, steps=5)
    assert (cost.task, cost.evaluations, cost.iterations) == ("sample", 15, 0)


def test_a_forecast_counts_its_pieces(tiny_model, ds):
    start = ds.map(lambda v: v.fillna(280.0))
    cost = start.appa.plan(lead="48h", model=tiny_model, steps=2)
    assert cost.task == "forecast"
    assert cost.times == 8
    assert cost.windows > 1


def test_it_is_shown_as_a_table(tiny_model, ds):
    cost = ds.appa.plan(model=tiny_model, steps=2)
    for line in ("evaluations", "FLOP", "memory", "time", "chunks, tasks", "tiny"):
        assert line in repr(cost)
    assert cost._repr_html_().startswith("<table>")
    assert "<th" in cost._repr_html_()


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
