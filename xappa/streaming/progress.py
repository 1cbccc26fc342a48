"""Progress bars, where a person is watching."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from xappa.options import get_options


def watched() -> bool:
    """Whether output goes to a terminal or a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


@contextmanager
def bar(total: int, text: str, show: bool | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar that is advanced by ``advance(done, total)``; `show` None takes the option ``progress``, then looks."""
    show = get_options().progress if show is None else show
    show = watched() if show is None else show
    with tqdm(total=total, desc=text, disable=not show, unit="evaluation", leave=False) as shown:

        def advance(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield advance
