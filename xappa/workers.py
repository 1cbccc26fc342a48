"""Workers of a cluster: all of them must have this package, in this version."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask

from xappa.errors import ClusterError, XappaError

SHOWN = 5  # workers that an error lists
CANCELLED = (asyncio.CancelledError, concurrent.futures.CancelledError)


class VersionGuard:
    """What one version of the package plans, no other version computes: its numbers could differ, or its fields."""

    def __getstate__(self) -> dict[str, Any]:
        from xappa import __version__

        return {**self.__dict__, "_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from xappa import __version__

        planned = state.pop("_version", "unknown")
        if planned != __version__:
            raise ClusterError(
                f"This was planned with xappa {planned}, and is unpickled with xappa {__version__}. Install the same "
                "version on the scheduler, on all workers and where you plan, or plan again with this one."
            )
        self.__dict__.update(state)


def find_client() -> Any:
    """The dask.distributed client that computes Dask collections now; None where none does."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client

    client = getattr(dask.base.get_scheduler(), "__self__", None)
    return client if isinstance(client, Client) and not client.asynchronous else None


@contextmanager
def explain_lost_cluster(client: Any) -> Iterator[None]:
    """Say what to do if a client is closed, or loses its cluster, while it waits.

    Raises
    ------
    ClusterError
        Then.
    """
    try:
        yield
    except XappaError:
        raise
    except (Exception, *CANCELLED) as error:
        if not isinstance(error, CANCELLED) and client.status != "closed":
            raise
        raise ClusterError(
            "The client was closed, or lost its cluster, before the work was done. What is finished is kept: the same "
            "call goes on there, with a new client or without one."
        ) from error


def require_workers() -> None:
    """Make sure that the workers of the current client, if there is one, can compute what is planned here.

    Raises
    ------
    ClusterError
        If workers lack the package, or have another version; all of them are counted, some are named.
    """
    from xappa import __version__

    client = find_client()
    if client is None:
        return
    found = client.run(_make_probe())
    wrong = {worker: version for worker, version in found.items() if version != __version__}
    if not wrong:
        return
    lines = [
        f"  {worker}: {'xappa cannot be imported' if version is None else f'xappa {version}'}"
        for worker, version in list(wrong.items())[:SHOWN]
    ]
    more = [f"  and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
    raise ClusterError(
        f"{len(wrong)} of {len(found)} workers cannot compute this, which is planned with xappa {__version__}:\n"
        + "\n".join([*lines, *more])
        + "\nStart the workers in the environment of this process, or install the same version there."
    )


def _make_probe() -> Callable[[], str | None]:
    """A function that tells the version; a local one, which travels by value to where there is no package."""

    def probe() -> str | None:
        import importlib

        try:
            return importlib.import_module("xappa").__version__
        except ImportError:
            return None

    return probe
