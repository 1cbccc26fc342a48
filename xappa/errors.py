"""Exceptions. Each says what was found, what was expected and what to do."""

from __future__ import annotations

import difflib
import math
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeGuard, TypeVar

import numpy as np

T = TypeVar("T")


class XappaError(ValueError):
    """Base of every error raised on purpose."""


class DatasetError(XappaError):
    """A Dataset that cannot be used: axes, times, variables or units are not as needed."""


class ObservationError(XappaError):
    """Observations that cannot be read at all (bad single reports are counted, never raised)."""


class NoReportsError(ObservationError):
    """Observations of which none can be used: none lies inside the times, or all of them are rejected."""


class ReaderError(ObservationError):
    """A process that reads a file of reports failed, or was ended by a signal."""


class ReaderTimeout(ReaderError):
    """A process that reads a file of reports made no progress, or took too long; the message tells how far it came."""


class ReaderMemoryError(ReaderError, MemoryError):
    """A process that reads a file of reports reached its limit of memory."""


class UnitsError(XappaError):
    """Units that are unknown, or that cannot be converted."""


class ModelError(XappaError):
    """A model that is unknown or incomplete."""


class DownloadError(ModelError):
    """Files of a model that could not be downloaded: no network, no such address, no room on the disk."""


class IntegrityError(ModelError):
    """A file whose contents are not those that the registry names."""


class OperatorError(XappaError):
    """An observation operator that cannot be applied, or a function that cannot be differentiated."""


class OptionError(XappaError):
    """An option with a value that is not valid."""


class ExtensionError(XappaError):
    """A custom sampler, guidance, operator or reader, or one of an installed package, that cannot be used."""


class SamplingError(XappaError):
    """Numbers that are not finite, made while sampling; the message names the noise level, the member and a cause."""


class FitWarning(UserWarning):
    """An analysis fits its observations worse or better than their errors allow, or these are not as was stated."""


class AssumptionWarning(UserWarning):
    """Something that observations do not say, and that reading had to assume."""


class UnitsWarning(AssumptionWarning):
    """Units that observations do not give, so that those of the vocabulary were assumed."""


class GapWarning(UserWarning):
    """Times, members or places that are missing on one side of a comparison, so that scores are of the others."""


class RejectionWarning(UserWarning):
    """All values of a quantity are rejected for one reason, so that a column or its units are probably wrong."""


class MissingErrorWarning(RejectionWarning):
    """Reports are left out because their error standard deviations are unknown."""


class CheckWarning(UserWarning):
    """Reports that could not be compared with the background that was given."""


class ExtensionWarning(UserWarning):
    """An entry point of an installed package that is left out; the message names the package and the reason."""


class DeviceMemoryError(XappaError, MemoryError):
    """Not even one member, or one state, fits on the device."""


class StoreError(DatasetError, OSError):
    """A store that cannot be written, belongs to another run, or is being written by another process."""


class ClusterError(XappaError):
    """Workers of a cluster that cannot compute what was planned: without this package, or with another version."""


class MissingDependency(XappaError, ImportError):
    """An optional package is needed; the message names the command that installs it."""


@contextmanager
def translate_read_errors(
    path: object,
    what: str,
    error: type[XappaError],
    remedy: str,
    passes: type[Exception] | tuple[type[Exception], ...] = (),
) -> Iterator[None]:
    """Turn what a library raises about a file into an error with the file and the remedy.

    Parameters
    ----------
    path : path or str
        What is read.
    what : str
        What it should be, such as ``"NetCDF"``.
    error : type
        Kind of error to raise instead.
    remedy : str
        What to do, as a sentence.
    passes : type or tuple of types, optional
        Errors that the caller takes care of.

    Raises
    ------
    XappaError
        Of the kind `error`, for anything but errors of this package, a lack of memory, and interruptions.
    """
    try:
        yield
    except Exception as raised:
        if isinstance(raised, (XappaError, MemoryError, passes)):  # noqa: UP038  (a tuple may hold tuples)
            raise
        said = " ".join(str(raised).split())[:400]
        raise error(f"{path} cannot be read as {what}: {type(raised).__name__}: {said}. {remedy}") from raised


@contextmanager
def translate_write_errors(path: object) -> Iterator[None]:
    """Turn what the system says of a place that cannot be written into an error with a remedy.

    Raises
    ------
    StoreError
        For any `OSError` but those of this package.
    """
    try:
        yield
    except OSError as raised:
        if isinstance(raised, XappaError):
            raise
        raise StoreError(f"{path} cannot be written ({raised}); choose another place.") from raised


def suggest_names(name: str, known: Iterable[str], most: int = 3) -> str:
    """Text that offers the known names nearest to `name`: ``"; did you mean 'a' or 'b'?"``, or nothing."""
    close = difflib.get_close_matches(str(name), list(known), n=most, cutoff=0.4)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def choose(kind: str, name: str, registry: Mapping[str, T]) -> T:
    """Entry `name` of a registry; a wrong name is answered with the valid ones.

    Raises
    ------
    OptionError
        If `registry` has no such key.
    """
    if not isinstance(name, str):
        raise OptionError(f"{kind}={name!r}: expected one of {', '.join(map(repr, registry))}")
    if name not in registry:
        raise OptionError(
            f"Unknown {kind} {name!r}; expected one of {', '.join(map(repr, registry))}{suggest_names(name, registry)}"
        )
    return registry[name]


def find_unknown(names: Iterable[Any], known: Iterable[str]) -> list[Any]:
    """Names that are none of those that are known; they may be anything."""
    valid = set(known)
    return [name for name in names if not isinstance(name, str) or name not in valid]


def is_number(value: Any) -> TypeGuard[float]:
    """Whether an option is one finite number, which numpy takes its lengths of time for too."""
    if isinstance(value, bool | np.timedelta64) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def is_whole_number(value: Any) -> TypeGuard[int]:
    """Whether an option is a whole number, which numpy takes its lengths of time for too."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64)


_BETWEEN = (
    "xappa",
    "torch",
    "dask",
    "distributed",
    "xarray",
    "concurrent",
    "threading",
    "contextlib",
    "functools",
    "queue",
)
"""Packages whose frames may lie between a warning and the line of the user that led to it."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the user's own line: the innermost one that is neither of this package nor of those that call it."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    if frame is not None:
        warnings.warn(message, category, stacklevel=level)
        return
    # In a thread of Dask there is no such line: it is that which waits for the thread.
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    where = ("xappa", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
    registry = {} if frame is None else frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, *where, registry=registry)
