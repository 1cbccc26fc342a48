"""Whether the options of a method are of the kinds that its dataclass says."""

from __future__ import annotations

from typing import Any

from xappa.argument_types import find_option_type_errors
from xappa.errors import OptionError


def require_numbers(options: Any) -> None:
    """Refuse text and the like for options annotated as numbers; the others are left to their own checks.

    Parameters
    ----------
    options : dataclass
        Its annotations are text such as ``"float | None"``.

    Raises
    ------
    OptionError
        Naming all that are wrong.
    """
    if wrong := find_option_type_errors(options):
        raise OptionError(f"{type(options).__name__}: {'; '.join(wrong)}")
