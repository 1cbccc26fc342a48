"""Progress of a cluster: a `tqdm` line below that of the regions, from the scheduler's counts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tqdm.auto import tqdm

NAMED = {"xappa-sample": "sampling", "xappa-decode": "decoding"}
"""Kinds of tasks, by what their keys begin with, that are counted by themselves."""
INTERVAL = 0.5
"""Seconds between two questions to the scheduler."""
PATIENCE = 5.0
"""Seconds that the end waits for a question that is under way."""

Counts = dict[str, tuple[int, int]]
"""Tasks that are done, and all that were asked for, by kind, since the scheduler began."""


@contextmanager
def show_cluster_progress(client: Any, show: bool) -> Iterator[None]:
    """Show how many tasks a cluster has done of those that it was asked for since this began, whoever asked.

    Parameters
    ----------
    client : distributed.Client
    show : bool
    """
    if not show:
        yield
        return
    ended = threading.Event()
    with tqdm(
        total=1, desc="tasks in hand", unit="task", position=1, leave=False, dynamic_ncols=True,
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
    ) as bar:  # fmt: skip
        watching = threading.Thread(target=_watch, args=(client, bar, ended), name="xappa-progress", daemon=True)
        watching.start()
        try:
            yield
        finally:
            ended.set()
            watching.join(PATIENCE)


def _watch(client: Any, bar: Any, ended: threading.Event) -> None:
    with suppress(OSError, RuntimeError):  # the scheduler, or the client, is gone, which the futures tell
        before = count(client)
        while not ended.wait(INTERVAL):
            now = count(client)
            started = {kind: before.get(kind, (0, 0)) for kind in now}
            draw(bar, {k: (done - started[k][0], of - started[k][1]) for k, (done, of) in now.items()})


def count(client: Any) -> Counts:
    """Counts of the scheduler, for its dashboard."""

    # Within the function, it is sent as code: the scheduler needs no xappa.
    def counted(dask_scheduler: Any) -> Counts:
        kinds = dask_scheduler.task_prefixes.items()
        return {kind: (p.state_counts["memory"], p.state_counts["waiting"]) for kind, p in kinds}

    return client.run_on_scheduler(counted)


def draw(bar: Any, counts: Counts) -> None:
    """Show how many tasks of each kind are done."""
    named = []
    for start, name in NAMED.items():
        if kinds := [counted for kind, counted in counts.items() if kind.startswith(start)]:
            named.append(f"{name} {sum(done for done, _ in kinds)}/{sum(of for _, of in kinds)}")
    bar.total = sum(of for _, of in counts.values()) or 1
    bar.n = sum(done for done, _ in counts.values())
    bar.set_postfix_str(", ".join(named))
