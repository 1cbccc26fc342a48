"""Options that hold for the whole session: `set_options`, `get_options`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from xappa.errors import OptionError, nearest_names


@dataclasses.dataclass(frozen=True)
class Options:
    """The options and their defaults.

    Parameters
    ----------
    progress : bool or None
        Whether progress bars are shown; None shows them where a person is watching (a terminal or a notebook).
    cache_dir : path or None
        Where downloaded models are kept; None takes the environment's ``XAPPA_CACHE``, or else the usual place
        of the operating system.
    latent_cache_bytes : float
        Memory that sampled latents may take before the oldest are dropped, and sampled again if they are needed.
    dress : bool
        Whether members receive noise of the autoencoder's error when they are decoded. Without it an ensemble
        claims to know the small scales that latents cannot hold; spectra and balance are better judged without.
    clip : bool
        Whether quantities that cannot be negative (precipitation, humidity) are clipped at 0 when they are decoded.
    default_model : str
        Name or path of the model that is meant where none is given.
    """

    progress: bool | None = None
    cache_dir: str | os.PathLike[str] | None = None
    latent_cache_bytes: float = 2e9
    dress: bool = True
    clip: bool = True
    default_model: str = "speedy"

    def __post_init__(self) -> None:
        wrong = []
        if not (self.progress is None or isinstance(self.progress, bool)):
            wrong.append(f"progress={self.progress!r}: expected None, True or False")
        if not (self.cache_dir is None or isinstance(self.cache_dir, str | os.PathLike)):
            wrong.append(f"cache_dir={self.cache_dir!r}: expected a path or None")
        for name in ("dress", "clip"):
            if not isinstance(getattr(self, name), bool):
                wrong.append(f"{name}={getattr(self, name)!r}: expected True or False")
        size = self.latent_cache_bytes
        if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 0:
            wrong.append(f"latent_cache_bytes={size!r}: expected a number of bytes, 0 or more")
        if not isinstance(self.default_model, str) or not self.default_model:
            wrong.append(f"default_model={self.default_model!r}: expected a name; xappa.models() lists those known")
        if wrong:
            raise OptionError("Options that are not valid: " + "; ".join(wrong))


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
        Any of the fields of `Options`: ``progress``, ``cache_dir``, ``latent_cache_bytes``, ``dress``,
        ``default_model``.

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
            + nearest_names(unknown[0], known)
        )
    _current = dataclasses.replace(_current, **options)  # type: ignore[arg-type]


def cache_folder() -> Path:
    """Return the folder of downloaded models: the option, else ``XAPPA_CACHE``, else the operating system's place."""
    chosen = _current.cache_dir or os.environ.get("XAPPA_CACHE")
    if chosen is None or chosen == "":
        import pooch

        chosen = pooch.os_cache("xappa")
    return Path(chosen).expanduser()
