"""Tasks that raise because of the machine are tried once more, under any scheduler."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from xappa.errors import XappaError

LOG = logging.getLogger("xappa")

FAULTS = (OSError, RuntimeError)
"""Exceptions of files and devices. Those that are raised on purpose would be raised again."""

P = ParamSpec("P")
T = TypeVar("T")


def retry_once(task: Callable[P, T]) -> Callable[P, T]:
    """A task that is repeated if it raises one of `FAULTS`, which is logged; the second error is raised.

    Dask can do so as well (``retries=``), but only a cluster, and annotations of arrays do not outlive the fusion of
    their tasks.
    """

    @functools.wraps(task)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return task(*args, **kwargs)
        except XappaError:
            raise
        except FAULTS as error:
            LOG.warning("%s: %s; it is tried once more.", type(error).__name__, error)
            return task(*args, **kwargs)

    return run
