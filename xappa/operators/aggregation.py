"""Periods set by the operator, not the reports: sums, means and extremes of the states of a period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xappa.errors import OptionError, is_number
from xappa.operators.base import Operator
from xappa.operators.chain import PeriodOperator
from xappa.operators.interpolate import Interpolate
from xappa.operators.periods import Period


@dataclass(frozen=True, repr=False)
class Aggregation(PeriodOperator):
    """Period over which reports are taken, instead of their own.

    Parameters
    ----------
    hours : float
        Length of the period, which ends at the report's time: a multiple of the model's step.
    """

    default: ClassVar[Operator] = Interpolate()

    hours: float

    def __post_init__(self) -> None:
        if not is_number(self.hours) or self.hours <= 0:
            raise OptionError(
                f"{type(self).__name__}: found hours={self.hours!r}; expected a number of hours above 0, such as "
                f"{type(self).__name__}(12)"
            )


class Accumulate(Aggregation):
    """Sum over the states of a period that ends at the report's time, for amounts such as precipitation."""

    @property
    def period(self) -> Period:
        """The period that reports are taken over."""
        return Period(self.hours, "sum")

    def describe(self) -> str:
        """Description of the operator."""
        return f"sum over the {self.hours:g} hours before"


class Maximum(Aggregation):
    """Largest of the states of a period that ends at the report's time; see `extremes`."""

    @property
    def period(self) -> Period:
        """The period that reports are taken over."""
        return Period(self.hours, "maximum")

    def describe(self) -> str:
        """Description of the operator."""
        return f"maximum over the {self.hours:g} hours before"


class Minimum(Aggregation):
    """Smallest of the states of a period that ends at the report's time; see `extremes`."""

    @property
    def period(self) -> Period:
        """The period that reports are taken over."""
        return Period(self.hours, "minimum")

    def describe(self) -> str:
        """Description of the operator."""
        return f"minimum over the {self.hours:g} hours before"


class Average(Aggregation):
    """Mean over the states of a period that ends at the report's time."""

    @property
    def period(self) -> Period:
        """The period that reports are taken over."""
        return Period(self.hours, "mean")

    def describe(self) -> str:
        """Description of the operator."""
        return f"mean over the {self.hours:g} hours before"
