"""Progress bars, where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from xappa.options import get_options


def is_interactive() -> bool:
    """Whether output goes to a terminal or a notebook, and is not that of a worker, whose client shows what it does."""
    return (sys.stderr.isatty() or "ipykernel" in sys.modules) and not _on_worker()


def _on_worker() -> bool:
    if "distributed" not in sys.modules:
        return False
    from distributed import get_worker

    try:
        get_worker()
    except ValueError:
        return False
    return True


def is_bar_shown(show: bool | None = None) -> bool:
    """Whether a bar is shown; None takes the option ``progress``, then looks."""
    show = get_options().progress if show is None else show
    return is_interactive() if show is None else show


@contextmanager
def show_bar(total: int, text: str, show: bool | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar that is advanced by ``advance(done, total)``; `show` None takes the option ``progress``, then looks."""
    with tqdm(total=total, desc=text, disable=not is_bar_shown(show), unit="evaluation", leave=False) as made:

        def advance(done: int, total: int) -> None:
            made.total = total
            made.update(done - made.n)

        yield advance


@contextmanager
def show_counter(total: int, text: str, show: bool | None = None, initial: int = 0) -> Iterator[Callable[[int], None]]:
    """A bar that is advanced by ``advance(count)`` and shows the time left, by the mean speed so far.

    Regions come in bursts, after their latents were sampled, so that the speed of the last few says little.
    """
    with tqdm(
        total=total, desc=text, disable=not is_bar_shown(show), unit="region", initial=initial, smoothing=0.0,
        dynamic_ncols=True,
    ) as made:  # fmt: skip

        def advance(count: int) -> None:
            made.update(count)

        yield advance


@contextmanager
def show_reading(total: int, text: str, show: bool | None = None) -> Iterator[Callable[[int], None]]:
    """A bar over the bytes of a file, advanced by ``advance(count)``; it appears after two seconds."""
    with tqdm(
        total=total, desc=text, disable=not is_bar_shown(show), unit="B", unit_scale=True, delay=2.0, leave=False,
        dynamic_ncols=True,
    ) as made:  # fmt: skip

        def advance(count: int) -> None:
            made.update(count)

        yield advance
