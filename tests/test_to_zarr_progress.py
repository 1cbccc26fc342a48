"""What `xappa.to_zarr` shows while it writes: the bar, and tasks in hand of a distributed client."""

from __future__ import annotations

import re
import sys
import threading
import time

import pytest
from tqdm import tqdm

import xappa
from tests.stores import analysis
from xappa.progress import is_interactive
from xappa.sampling import sampling_tasks
from xappa.streaming.store.regions import Writer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


class TestTasksInHand:
    """The second line, with a distributed client."""

    @pytest.fixture
    def client(self):
        distributed = pytest.importorskip(
            "distributed", reason="distributed is not installed: pip install 'xappa[distributed]'"
        )
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client

    @pytest.fixture
    def listening(self, client, monkeypatch) -> list:
        """What was drawn; sampling waits until something was."""
        from xappa.streaming.store import cluster_progress

        drawn, begun = [], threading.Event()
        draw, sampled = cluster_progress.draw, sampling_tasks._sample

        def drawing(bar, counts) -> None:
            draw(bar, counts)
            drawn.append(counts)
            if any(of for _, of in counts.values()):
                begun.set()

        monkeypatch.setattr(cluster_progress, "draw", drawing)
        monkeypatch.setattr(sampling_tasks, "_sample", lambda *args: begun.wait(60) and sampled(*args))
        sampling_tasks._CACHE.clear()
        return drawn

    def test_it_is_shown_and_leaves_nothing_behind(self, client, listening, tiny_model, tmp_path, capsys) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        threads = {thread.name for thread in threading.enumerate()}
        xappa.to_zarr(found, tmp_path / "a.zarr", chunks={"time": 1}, progress=True)
        shown = capsys.readouterr().err
        assert re.search(r"writing a.zarr: 100%.* 12/12 \[", shown)
        assert re.search(r"writing a.zarr: +[1-9]\d?%.*<\d\d:\d\d", shown), "the time left"
        assert re.search(r"tasks in hand: .*/\d+ \[00:0\d, sampling 0/\d, decoding 0/\d\]", shown)
        self._require_nothing_left(client, listening)
        done = sum(done for done, _ in listening[-1].values())
        assert 0 < done <= sum(of for _, of in listening[-1].values())
        more = {thread.name for thread in threading.enumerate()} - threads
        assert not [name for name in more if "progress" in name.lower() or "tqdm" in name.lower()]

    def test_it_counts_from_where_it_begins(self, client, listening, tiny_model, tmp_path) -> None:
        client.gather(client.map(lambda x: x + 1, range(50), key="xappa-sample-before"))
        xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr", progress=True)
        assert listening[-1].get("xappa-sample-before", (0, 0)) == (0, 0)

    def test_a_scheduler_that_is_gone_ends_it(self, capsys) -> None:
        from xappa.streaming.store.cluster_progress import show_cluster_progress

        class Gone:
            def run_on_scheduler(self, function):
                raise OSError("gone")

        with show_cluster_progress(Gone(), True):
            pass
        assert not [thread for thread in threading.enumerate() if thread.name == "xappa-progress"]

    def test_it_goes_when_a_task_fails(self, client, listening, tiny_model, tmp_path, monkeypatch) -> None:
        def fail(*args):
            raise ValueError("a region that cannot be written")

        monkeypatch.setattr(Writer, "__call__", fail)
        with pytest.raises(ValueError, match="cannot be written"):
            xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr", progress=True)
        self._require_nothing_left(client, listening)

    def _require_nothing_left(self, client, listening) -> None:
        assert listening
        assert not [thread for thread in threading.enumerate() if thread.name == "xappa-progress"]
        assert not [bar for bar in tqdm._instances if not bar.disable]
        end = time.monotonic() + 30
        while plugins := [name for name in client.cluster.scheduler.plugins if "progress" in name]:
            assert time.monotonic() < end, plugins
            time.sleep(0.05)

    def test_it_is_not_shown_unasked(self, client, tiny_model, tmp_path, capsys, monkeypatch) -> None:
        from xappa.streaming.store import cluster_progress

        monkeypatch.setattr(cluster_progress, "count", lambda client: pytest.fail("it asks"))
        xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr", progress=False)
        assert capsys.readouterr().err == ""

    def test_workers_show_no_bars_of_their_own(self, client, monkeypatch) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert is_interactive()
        assert not client.submit(is_interactive).result()


def test_the_bar_shows_the_time_left(tiny_model, tmp_path, capsys) -> None:
    found = analysis(tiny_model, last="2001-03-13T18")
    xappa.to_zarr(found, tmp_path / "a.zarr", chunks={"time": 1}, progress=True)
    shown = capsys.readouterr().err
    assert "writing a.zarr" in shown
    assert "12/12" in shown
    xappa.to_zarr(analysis(tiny_model, seed=1, last="2001-03-13T18"), tmp_path / "b.zarr", progress=False)
    assert capsys.readouterr().err == ""
