"""Devices that are full: batches are halved, once told, and remembered."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

import xappa
from tests.test_sampling import plan_of, point
from xappa.devices import is_out_of_memory
from xappa.errors import DeviceMemoryError
from xappa.model.directory import read_model
from xappa.sampling import batching, sampling_tasks

pytestmark = pytest.mark.usefixtures("nothing_on_disk")

FULL = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of 1 GiB")
MEMBERS = tuple(range(6))


@pytest.fixture
def room(monkeypatch):
    """A device with room for so many members; the sizes that were tried."""
    tried: list[int] = []
    batching.forget_batch_sizes()

    def limit(most: int, error: Exception = FULL) -> list[int]:
        whole = sampling_tasks._sample_together

        def some(model, plan, members, *args):
            tried.append(len(members))
            if len(members) > most:
                raise error
            return whole(model, plan, members, *args)

        monkeypatch.setattr(sampling_tasks, "_sample_together", some)
        return tried

    yield limit
    batching.forget_batch_sizes()


def test_the_batch_is_halved_until_it_fits(tiny_model, room, caplog) -> None:
    model = read_model(tiny_model)
    plan = plan_of(tiny_model, observations=point(model, 290.0, 1.0))
    expected = sampling_tasks.sample(plan, MEMBERS, "whole")
    tried = room(2)
    with caplog.at_level(logging.WARNING, "xappa"):
        found = sampling_tasks.sample(plan, MEMBERS, "halved")
        assert tried == [6, 3, 1, 1, 1, 1, 1, 1]
        np.testing.assert_allclose(found.latents, expected.latents, atol=1e-4)
        assert found.members == MEMBERS
        assert found.diagnostics["residual"].shape == expected.diagnostics["residual"].shape
        assert found.diagnostics["chi_squared"].shape == (6, 1)
        np.testing.assert_allclose(found.diagnostics["chi_squared"], expected.diagnostics["chi_squared"], rtol=0.01)
        tried.clear()
        sampling_tasks.sample(plan, MEMBERS, "again")
        assert tried == [1] * 6, "the size that works is remembered"
    assert sum("Out of memory" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        MemoryError("Unable to allocate 3 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    ],
)
def test_what_out_of_memory_looks_like(tiny_model, room, error) -> None:
    assert is_out_of_memory(error)
    tried = room(3, error)
    sampling_tasks.sample(plan_of(tiny_model), MEMBERS, f"kind {error}")
    assert tried == [6, 3, 3]


def test_other_errors_are_not_taken_for_it(tiny_model, room) -> None:
    tried = room(3, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sampling_tasks.sample(plan_of(tiny_model), MEMBERS, "other")
    assert tried == [6]


def test_one_member_that_does_not_fit(tiny_model, room) -> None:
    room(0)
    with pytest.raises(
        DeviceMemoryError, match=r"Not even one member fits on cpu.*CUDA out of memory.*4 times of latents"
    ):
        sampling_tasks.sample(plan_of(tiny_model), MEMBERS, "none")
    with pytest.raises(MemoryError):
        sampling_tasks.sample(plan_of(tiny_model), MEMBERS, "none")


def test_a_state_that_cannot_be_decoded(tiny_model, monkeypatch) -> None:
    model = xappa.load(tiny_model)

    def full(*args):
        raise FULL

    monkeypatch.setattr(type(model), "decode", full)
    plan = plan_of(tiny_model)
    latents = np.zeros((1, 1, *model.latent_shape), "f4")
    with pytest.raises(DeviceMemoryError, match="One state of .* cannot be decoded"):
        sampling_tasks.decode(plan, latents, (0,), 0)


def test_a_chain_is_halved_with_the_states_that_it_follows(tiny_model, room, caplog) -> None:
    ds = xappa.template("2001-03-13T00", "2001-03-18T00", model=tiny_model)
    options = {"model": tiny_model, "members": 4, "seed": 0, "steps": 2, "segments": xappa.segments.Chain(6)}
    sampling_tasks._CACHE.clear()
    expected = ds.appa.sample(**options)["temperature"].compute()
    sampling_tasks._CACHE.clear()
    tried = room(2)
    found = ds.appa.sample(**options)["temperature"].compute()
    assert tried == [4, 2, 2, 2, 2, 4, 2, 2], "the last segment is shorter, and might have had room for all"
    assert sum("Out of memory" in record.message for record in caplog.records) == 1
    np.testing.assert_allclose(found, expected, atol=0.02)
