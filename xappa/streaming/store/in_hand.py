"""What a cluster does at the moment: Dask's progress of the tasks in hand, as a line below that of the regions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from distributed import Future
from distributed.diagnostics.progressbar import MultiProgressBar
from tqdm.auto import tqdm

NAMED = {"xappa-sample": "sampling", "xappa-decode": "decoding"}
"""Kinds of tasks, by what their keys begin with, that are counted by themselves."""
INTERVAL = "500ms"
"""Between two messages of the scheduler."""
PATIENCE = 5.0
"""Seconds that the end waits for the line to be gone."""


class InHand:
    """Futures that are waited for; their tasks are counted by the scheduler and shown by `tqdm`.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._futures: dict[Any, Future] = {}
        self._lock, self._gone = threading.Lock(), threading.Event()
        self._bar: Any = tqdm(
            total=1, desc="tasks in hand", unit="task", position=1, leave=False, dynamic_ncols=True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )  # fmt: skip
        self._loop = client.loop.asyncio_loop
        self._watching: asyncio.Task | None = None
        self._loop.call_soon_threadsafe(self._begin)

    def add(self, *futures: Future) -> None:
        """Wait for more."""
        with self._lock:
            self._futures |= {future.key: future for future in futures}

    def remove(self, future: Future) -> None:
        """One is done."""
        with self._lock:
            self._futures.pop(future.key, None)

    def close(self) -> None:
        """Remove the line, and what it listens to."""
        with suppress(RuntimeError):  # the client's loop has ended, and the watching with it
            self._loop.call_soon_threadsafe(self._end)
        if self._loop.is_running():
            self._gone.wait(PATIENCE)
        with self._lock:
            bar, self._bar = self._bar, None
            self._futures.clear()
        bar.close()

    def _begin(self) -> None:
        self._watching = asyncio.ensure_future(self._watch())
        self._watching.add_done_callback(lambda _: self._gone.set())

    def _end(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _watch(self) -> None:
        """Listen to the scheduler, for as long as there is anything to wait for."""
        try:
            while True:
                with self._lock:
                    futures = [future for future in self._futures.values() if not future.done()]
                # Dask's bar waits for ever for what the scheduler does not know (yet, or any more).
                if futures and await self._known(futures):
                    await self._listen(futures)
                await asyncio.sleep(0.1)
        except OSError:
            pass  # the scheduler is gone, which the futures tell

    async def _known(self, futures: list[Future]) -> bool:
        found = await self.client.scheduler.get_task_status(keys=[future.key for future in futures])
        return all(found.values())

    async def _listen(self, futures: list[Future]) -> None:
        progress = _Progress(futures, self)
        try:
            await progress.listen()
        finally:
            with suppress(AttributeError):  # before it was connected
                progress.comm.abort()

    def draw(self, done: Mapping[str, int], all_: Mapping[str, int]) -> None:
        """Show how many tasks of each kind are done."""
        named = []
        for start, name in NAMED.items():
            if kinds := [kind for kind in all_ if kind.startswith(start)]:
                named.append(f"{name} {sum(done[kind] for kind in kinds)}/{sum(all_[kind] for kind in kinds)}")
        with self._lock:
            if self._bar is None:
                return
            if self._bar.total != sum(all_.values()):
                self._bar.reset(sum(all_.values()))
            self._bar.n = sum(done.values())
            self._bar.set_postfix_str(", ".join(named), refresh=False)
            self._bar.refresh()


class _Progress(MultiProgressBar):
    """Dask's bar, drawn with the others."""

    def __init__(self, futures: list[Future], shown: InHand) -> None:
        super().__init__(futures, shown.client.scheduler.address, interval=INTERVAL, complete=True)
        self.shown = shown

    def _draw_bar(self, *, remaining: Mapping[str, int], all: Mapping[str, int], **rest: Any) -> None:  # noqa: A002
        self.shown.draw({kind: count - remaining.get(kind, 0) for kind, count in all.items()}, all)


class Unseen:
    """The same, where nothing is shown."""

    def add(self, *futures: Future) -> None:
        """Nothing."""

    def remove(self, future: Future) -> None:
        """Nothing."""


@contextmanager
def in_hand(client: Any, show: bool) -> Iterator[InHand | Unseen]:
    """The tasks in hand of a client, in a line below that of the regions, where they are shown.

    Parameters
    ----------
    client : distributed.Client
    show : bool
    """
    if not show:
        yield Unseen()
        return
    shown = InHand(client)
    try:
        yield shown
    finally:
        shown.close()
