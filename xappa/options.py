"""Options that hold for the whole session: `set_options`, `get_options`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from xappa.errors import OptionError, suggest_names


@dataclasses.dataclass(frozen=True)
class LatentCache:
    """Cache of sampled latents for the next computation.

    Parameters
    ----------
    memory : float, default 2e9
        Bytes in memory. Beyond, those used longest ago go to disk.
    disk : float, default 20e9
        Bytes on disk, where they outlast the session. Beyond, those used longest ago are removed; 0 keeps none.
    folder : path, optional
        Default: ``latents`` in the folder of downloaded models.
    """

    memory: float = 2e9
    disk: float = 20e9
    folder: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={size!r}: expected a number of bytes, 0 or more"
            for name, size in (("memory", self.memory), ("disk", self.disk))
            if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 0
        ]
        if not (self.folder is None or isinstance(self.folder, str | os.PathLike)):
            wrong.append(f"folder={self.folder!r}: expected a path or None")
        if wrong:
            raise OptionError("; ".join(wrong))

    def place(self) -> Path:
        """The folder."""
        return get_cache_folder() / "latents" if self.folder is None else Path(self.folder).expanduser()


@dataclasses.dataclass(frozen=True)
class Options:
    """The options and their defaults.

    Parameters
    ----------
    progress : bool or None
        Whether progress bars are shown; None shows them where a person is watching (a terminal or a notebook).
    cache_dir : path or None
        Folder of downloaded models; None takes the environment's ``XAPPA_CACHE``, or else the usual place
        of the operating system.
    latent_cache : LatentCache or mapping
        Memory and disk that sampled latents may take before those used longest ago are dropped, and sampled again if
        they are needed: ``{"memory": 4e9, "disk": 100e9, "folder": "/scratch/latents"}``, or some of these.
    dress : bool
        Whether members receive noise of the autoencoder's error when they are decoded. Without it an ensemble
        claims to know the small scales that latents cannot hold; spectra and balance are better judged without. Against
        reports, `verify` adds that error's variance to members that were not dressed.
    clip : bool
        Whether quantities that cannot be negative (precipitation, humidity) are clipped at 0 when they are decoded.
    default_model : str
        Name or path of the model that is meant where none is given.
    precision : {"float32", "bfloat16", "float16"}
        In which networks take matrix products and convolutions, where `xappa.load` is not told. 16 bits are for
        accelerators: a few times faster, with errors of about 1 % (bfloat16) or 0.1 % (float16).
    reader_timeout : float
        Seconds after which a process that decodes reports is ended if it shows no progress. In all it may take twice
        that, and as much again for each megabyte of its part of the file. ``float("inf")`` waits for ever.
    reader_memory : float or None
        Bytes that such a process may take, and that a file may claim in its header beyond what it can hold; None is
        half of the machine's memory, ``float("inf")`` no limit. macOS and Windows do not enforce it for processes.
    isolate_readers : bool
        Whether NetCDF, HDF5, Zarr and Parquet of reports are read in a process of its own too, whose crash becomes an
        error. Values are in memory then, not lazy.
    """

    progress: bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    latent_cache: LatentCache = dataclasses.field(default_factory=LatentCache)
    dress: bool = False
    clip: bool = True
    default_model: str = "speedy"
    precision: str = "float32"
    reader_timeout: float = 120.0
    reader_memory: float | None = None
    isolate_readers: bool = False

    def __post_init__(self) -> None:
        wrong = []
        if not (self.progress is None or isinstance(self.progress, bool)):
            wrong.append(f"progress={self.progress!r}: expected None, True or False")
        if not (self.cache_dir is None or isinstance(self.cache_dir, str | os.PathLike)):
            wrong.append(f"cache_dir={self.cache_dir!r}: expected a path or None")
        for name in ("dress", "clip", "isolate_readers"):
            if not isinstance(getattr(self, name), bool):
                wrong.append(f"{name}={getattr(self, name)!r}: expected True or False")
        try:
            object.__setattr__(self, "latent_cache", _parse_latent_cache(self.latent_cache))
        except OptionError as error:
            wrong.append(f"latent_cache: {error}")
        if not isinstance(self.default_model, str) or not self.default_model:
            wrong.append(f"default_model={self.default_model!r}: expected a name; xappa.models() lists those known")
        if self.precision not in ("float32", "bfloat16", "float16"):
            wrong.append(f"precision={self.precision!r}: expected 'float32', 'bfloat16' or 'float16'")
        if not _is_above_zero(self.reader_timeout):
            wrong.append(f"reader_timeout={self.reader_timeout!r}: expected seconds above 0")
        if not (self.reader_memory is None or _is_above_zero(self.reader_memory)):
            wrong.append(f"reader_memory={self.reader_memory!r}: expected bytes above 0, or None")
        if wrong:
            raise OptionError("Options that are not valid: " + "; ".join(wrong))


def _is_above_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _parse_latent_cache(value: object) -> LatentCache:
    if isinstance(value, LatentCache):
        return value
    known = [field.name for field in dataclasses.fields(LatentCache)]
    if not isinstance(value, Mapping) or not set(value) <= set(known):
        raise OptionError(f"{value!r}: expected a mapping with some of {', '.join(map(repr, known))}")
    return LatentCache(**value)


_current = Options()


def get_options() -> Options:
    """Return the options in force.

    Examples
    --------
    >>> import xappa
    >>> xappa.get_options().default_model
    'speedy'
    """
    return _current


class set_options:  # noqa: N801  (used like a function)
    """Set options, for good or inside a ``with`` block.

    Parameters
    ----------
    **options
        Any of the fields of `Options`: ``progress``, ``cache_dir``, ``latent_cache``, ``dress``, ``clip``,
        ``default_model``, ``precision``, ``reader_timeout``, ``reader_memory``, ``isolate_readers``.

    Raises
    ------
    xappa.errors.OptionError
        If there is no such option (the valid ones are listed) or a value is not valid. Nothing is changed then.

    Examples
    --------
    >>> import xappa
    >>> with xappa.set_options(progress=False):
    ...     xappa.get_options().progress
    False
    >>> xappa.get_options().progress is None
    True
    """

    def __init__(self, **options: object) -> None:
        before = _current
        _change(options)
        self._before = {name: getattr(before, name) for name in options}

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _change(self._before)


def _change(options: Mapping[str, object]) -> None:
    global _current
    known = [field.name for field in dataclasses.fields(Options)]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise OptionError(
            f"Unknown option {', '.join(map(repr, unknown))}; expected one of {', '.join(map(repr, known))}"
            + suggest_names(unknown[0], known)
        )
    _current = dataclasses.replace(_current, **options)  # type: ignore[arg-type]


def get_cache_folder() -> Path:
    """Return the folder of downloaded models: the option, else ``XAPPA_CACHE``, else the operating system's place."""
    chosen = _current.cache_dir or os.environ.get("XAPPA_CACHE")
    if chosen is None or chosen == "":
        import pooch

        chosen = pooch.os_cache("xappa")
    return Path(chosen).expanduser()
