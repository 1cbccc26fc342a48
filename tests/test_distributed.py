"""Workers in processes of their own: the same bits as elsewhere, whatever happens to the workers."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import dask
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from tqdm import tqdm

import xappa
from tests.faulty import Faulty
from xappa.diffusion.samplers import LMS
from xappa.errors import ClusterError, IntegrityError
from xappa.sampling import sampling_tasks

distributed = pytest.importorskip(
    "distributed", reason="distributed is not installed: pip install 'xappa[distributed]'"
)

STEPS = 4
T = "2m_temperature"


@pytest.fixture(scope="module")
def client() -> Iterator:
    """Two worker processes of one thread each, which are restarted when they die."""
    config = {
        "distributed.comm.timeouts.connect": "60s",
        "distributed.worker.memory.terminate": False,
        # So long after a worker was lost its cluster looks whether one of its name is there, and if not, gives the
        # name up for good: a worker killed by one test and, just then, restarted by another would not come back.
        "distributed.deploy.lost-worker-timeout": "1h",
    }
    with (
        dask.config.set(config),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        distributed.Client(cluster, set_as_default=False, timeout="120s") as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the workers have."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def analyse(tiny_model) -> Callable[..., xr.Dataset]:
    """An analysis of two batches of two members."""
    rows = {"lat": [10.0, -33.0, 85.0], "lon": [5.0, 359.0, 180.0], "variable": T, "observation": [287.0, 283.0, 284.0]}
    obs = pd.DataFrame({"time": pd.to_datetime(["2001-03-13T00", "2001-03-13T06", "2001-03-13T18"]), **rows})

    def call(sampler: object = None, seed: int | None = 0, model: Path = tiny_model) -> xr.Dataset:
        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=model)
        sampler = LMS(steps=STEPS) if sampler is None else sampler
        found = ds.appa.assimilate(
            obs, error={T: 0.5}, model=model, members=4, chunks={"member": 2}, seed=seed, sampler=sampler, device="cpu"
        )
        return found[[T, "temperature"]]

    return call


@pytest.fixture
def expected(analyse) -> xr.Dataset:
    return on_the_spot(analyse())


def on_the_spot(analysis: xr.Dataset) -> xr.Dataset:
    """Computed in this process and thread, without what was sampled before."""
    sampling_tasks._CACHE.clear()
    return analysis.compute(scheduler="synchronous")


def on(client, analysis: xr.Dataset) -> xr.Dataset:
    client.run(lambda: __import__("xappa.sampling.sampling_tasks", fromlist=["_"])._CACHE.clear())
    return client.compute(analysis).result(timeout=120)


def struck(folder: Path) -> int:
    """Process that the fault has struck; waits for it."""
    end = time.monotonic() + 60
    while not (folder / "struck").exists() or not (folder / "struck").read_text():
        assert time.monotonic() < end, "the fault never struck"
        time.sleep(0.05)
    return int((folder / "struck").read_text())


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=str(name))


def test_all_schedulers_give_the_same_bits(client, analyse, expected) -> None:
    sampling_tasks._CACHE.clear()
    same(analyse().compute(scheduler="threads"), expected)
    same(on(client, analyse()), expected)
    with client.as_current():  # as users have it: the client is taken without being named
        same(analyse().compute(), expected)


def test_models_are_loaded_once_a_process_and_never_travel(client, analyse, tiny_model) -> None:
    analysis = analyse(seed=1)
    kinds: set[str] = set()

    class Looking(cloudpickle.Pickler):
        def persistent_id(self, obj: object) -> None:
            kinds.add(type(obj).__module__.partition(".")[0])

    whole = io.BytesIO()
    Looking(whole).dump(dict(analysis.__dask_graph__()))
    assert "xappa" in kinds
    assert "torch" not in kinds
    files = sum(file.stat().st_size for file in tiny_model.iterdir())
    assert len(whole.getvalue()) < 60_000 < files
    on(client, analysis)
    loads = client.run(lambda: __import__("xappa.model.opening", fromlist=["_"])._open_directory.cache_info().misses)
    assert sorted(loads.values()) == [1, 1]


def test_a_worker_that_is_killed_in_the_middle(client, analyse, expected, tmp_path) -> None:
    before = set(client.run(os.getpid).values())
    same(on(client, analyse(Faulty(steps=STEPS, folder=str(tmp_path), fault="kill"))), expected)
    killed = struck(tmp_path)
    assert killed in before
    client.wait_for_workers(2, timeout=60)
    assert killed not in client.run(os.getpid).values()


def test_a_worker_that_is_killed_while_a_store_is_written(client, analyse, expected, tmp_path, capsys) -> None:
    client.wait_for_workers(2, timeout=60)
    faulty = analyse(Faulty(steps=STEPS, folder=str(tmp_path), fault="kill"))
    with client.as_current():
        xappa.to_zarr(faulty, tmp_path / "a.zarr", progress=True)
    struck(tmp_path)
    same(xr.open_zarr(tmp_path / "a.zarr").compute(scheduler="synchronous"), expected)
    shown = capsys.readouterr().err
    assert "writing a.zarr: 100%" in shown
    assert re.search(r"tasks in hand: .*sampling \d/\d", shown)
    client.wait_for_workers(2, timeout=60)


def test_regions_of_one_batch_on_two_workers_are_sampled_once(client, analyse, tmp_path) -> None:
    def count(folder: str | None) -> None:
        import uuid

        from xappa.sampling import sampling_tasks

        own = getattr(sampling_tasks, "_own_sample", sampling_tasks._sample)
        sampling_tasks._own_sample, sampling_tasks._sample = own, own
        sampling_tasks._CACHE.clear()

        def counted(*args):
            Path(folder, uuid.uuid4().hex).touch()
            time.sleep(1)  # the other worker could begin as well
            return own(*args)

        if folder is not None:
            sampling_tasks._sample = counted

    (tmp_path / "calls").mkdir()
    client.wait_for_workers(2, timeout=60)
    client.run(count, str(tmp_path / "calls"))
    try:
        with client.as_current():
            xappa.to_zarr(analyse(seed=5), tmp_path / "a.zarr", chunks={"time": 1}, progress=False)
    finally:
        client.run(count, None)
    assert len(list((tmp_path / "calls").iterdir())) == 2, "two batches"


def test_a_task_that_raises_once(client, analyse, expected, tmp_path) -> None:
    same(on(client, analyse(Faulty(steps=STEPS, folder=str(tmp_path), fault="raise"))), expected)
    struck(tmp_path)


def test_a_slow_worker_and_one_that_is_restarted(client, analyse, expected, tmp_path) -> None:
    client.wait_for_workers(2, timeout=60)
    future = client.compute(analyse(Faulty(steps=STEPS, folder=str(tmp_path), fault="wait")))
    slow = struck(tmp_path)
    other = next(worker for worker, pid in client.run(os.getpid).items() if pid != slow)
    client.restart_workers([other], timeout=60)
    assert not future.done(), "the slow worker holds what is missing"
    (tmp_path / "go").touch()
    same(future.result(timeout=120), expected)


def test_a_seed_is_drawn_once(client, analyse) -> None:
    analysis = analyse(seed=None)
    first = on(client, analysis)
    same(on(client, analysis), first)
    same(on_the_spot(analyse(seed=first.attrs["xappa_seed"])), first)


def test_a_client_that_is_closed_in_the_middle(client, analyse, expected, tmp_path) -> None:
    own = distributed.Client(client.scheduler.address, set_as_default=False)
    future = own.compute(analyse(Faulty(steps=STEPS, folder=str(tmp_path), fault="wait")))
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            future.result()
        except BaseException as error:  # noqa: BLE001 (CancelledError is none of Exception)
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    struck(tmp_path)
    own.close()
    waiting.join(timeout=60)
    assert not waiting.is_alive(), "who waits is told"
    assert len(errors) == 1
    (tmp_path / "go").touch()
    same(on(client, analyse()), expected)


def test_a_store_is_finished_after_its_client_was_closed(client, analyse, expected, tmp_path) -> None:
    store = tmp_path / "a.zarr"
    faulty = analyse(Faulty(steps=STEPS, folder=str(tmp_path), fault="wait"))
    own = distributed.Client(client.scheduler.address, set_as_default=False)
    errors: list[BaseException] = []

    def write() -> None:
        try:
            with own.as_current():
                xappa.to_zarr(faulty, store, progress=True)
        except BaseException as error:  # noqa: BLE001 (CancelledError is none of Exception)
            errors.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    struck(tmp_path)
    own.close()
    writing.join(timeout=60)
    assert not writing.is_alive()
    assert isinstance(errors[0], ClusterError), errors
    assert "the same call goes on" in str(errors[0])
    assert not [bar for bar in tqdm._instances if not bar.disable], "no bar is left hanging"
    (tmp_path / "go").touch()
    with client.as_current():
        xappa.to_zarr(faulty, store, progress=False)
    same(xr.open_zarr(store).compute(scheduler="synchronous"), expected)
    xappa.to_zarr(analyse(), tmp_path / "b.zarr", progress=False)
    for name in expected:
        files = [path.relative_to(store) for path in (store / str(name) / "c").rglob("*") if path.is_file()]
        assert files
        for file in files:
            assert (tmp_path / "b.zarr" / file).read_bytes() == (store / file).read_bytes()


def test_workers_with_other_weights(client, analyse, tiny_model, tmp_path) -> None:
    other = shutil.copytree(tiny_model, tmp_path / "model")
    analysis = analyse(model=other)
    record = json.loads((other / "model.json").read_text())
    record["schedule"]["sigma_max"] *= 2
    (other / "model.json").write_text(json.dumps(record))
    with pytest.raises(IntegrityError, match=r"has digest .* planned with"):
        on(client, analysis)


def test_workers_without_the_package_or_with_another_version(client, analyse) -> None:
    def pretend(version: str | None) -> None:
        sys.modules["xappa-own"] = sys.modules.get("xappa-own", sys.modules["xappa"])
        if version is None:
            sys.modules["xappa"] = None  # type: ignore[assignment]
        else:
            sys.modules["xappa"] = sys.modules["xappa-own"]
            sys.modules["xappa"].__version__ = version

    client.wait_for_workers(2, timeout=60)
    client.run(__import__, "xappa")
    one, two = client.scheduler_info()["workers"]
    own = xappa.__version__
    with client.as_current():
        analysis = analyse(seed=2)
        try:
            client.run(pretend, "0.0.1", workers=[one])
            client.run(pretend, None, workers=[two])
            with pytest.raises(ClusterError, match="2 of 2 workers") as caught:
                analyse()
            assert f"{one}: xappa 0.0.1" in str(caught.value)
            assert f"{two}: xappa cannot be imported" in str(caught.value)
            with pytest.raises(ClusterError, match="2 of 2 workers"):
                xappa.to_zarr(analysis, "nowhere.zarr")
        finally:
            client.run(pretend, own)
        analyse()


def test_a_plan_of_another_version_is_refused(analyse, monkeypatch) -> None:
    content = cloudpickle.dumps(analyse())
    pickle.loads(content)
    monkeypatch.setattr(xappa, "__version__", "999")
    with pytest.raises(ClusterError, match=r"planned with xappa .*unpickled with xappa 999"):
        pickle.loads(content)


def test_two_processes_do_not_hold_one_accelerator_at_once(client) -> None:
    def hold(_: int) -> tuple[float, float]:
        import torch

        from xappa.devices import lock

        with lock(torch.device("mps")):
            begin = time.time()
            time.sleep(0.3)
            return begin, time.time()

    client.wait_for_workers(2, timeout=60)
    workers = list(client.scheduler_info()["workers"])
    futures = [client.submit(hold, k, workers=[worker], pure=False) for k, worker in enumerate(workers * 2)]
    held = sorted(client.gather(futures))
    assert all(before[1] <= after[0] for before, after in zip(held, held[1:], strict=False))
