"""Tasks that are never merged with those that need them."""

from __future__ import annotations

from xappa._compat.dask import Task


class SharedTask(Task):
    """A task with one key in all graphs, however few of its readers a graph has.

    Dask merges a task into its reader where there is one alone. Of two regions that are written at the same time, and
    are graphs of their own, each would then sample its members anew, on its own worker.
    """

    __slots__ = ()

    @property
    def block_fusion(self) -> bool:
        """Whether it stays by itself: always."""
        return True
