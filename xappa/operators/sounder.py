r"""Temperature channels of sounders as weighted means of the temperatures of the levels.

A linear stand-in for radiative transfer: no emissivity, no clouds, no dependence on the viewing angle, no water vapour
and ozone channels. The brightness temperature of channel c is

.. math::
   T_c = \sum_k w_{ck} T_k, \qquad
   w_{ck} \propto \exp \left( -\frac{(\ln p_k / p_c)^2}{2 s_c^2} \right) \Delta \ln p_k,

with weights that add up to 1. It is good for trying networks of sounders in twin experiments. It has not been held
against radiative transfer: for real radiances expect errors of several kelvin, and give reports errors to match.

References
----------
After Smith et al. (1979), The TIROS-N operational vertical sounder, Bull. Amer. Meteor. Soc. 60: rounded pressures near
which the weighting functions of HIRS peak, as they are commonly repeated; they were not compared with the paper's own
table. They are nominal: the peak depends on the instrument, the angle and the column. The width, 0.5 in the logarithm
of pressure, is a choice: a layer of half the peak's weight that is somewhat thicker than a scale height.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import find_option_type_errors
from xappa.errors import OperatorError, OptionError, choose
from xappa.operators.base import OPERATORS
from xappa.operators.columns import Columns, compute_mean_weights

HIRS: dict[int, tuple[float, float]] = {
    1: (30.0, 0.5),
    2: (60.0, 0.5),
    3: (100.0, 0.5),
    4: (400.0, 0.5),
    5: (600.0, 0.5),
    6: (800.0, 0.5),
    7: (900.0, 0.5),
    13: (1000.0, 0.5),
    14: (950.0, 0.5),
    15: (700.0, 0.5),
    16: (400.0, 0.5),
}
"""Channel -> pressure of the weighting function's peak (hPa), and its width in the logarithm of pressure."""

TABLES: dict[str, Mapping[int, tuple[float, float]]] = {"hirs": HIRS}


@OPERATORS.register("sounder")
@dataclass(frozen=True, repr=False)
class Sounder(Columns):
    """Brightness temperatures (K) of the channels of a sounder; reports tell theirs in the coordinate ``channel``.

    Parameters
    ----------
    table : str or mapping, default "hirs"
        Name of a table of weighting functions, or channel -> (pressure of the peak in hPa, width in ln p).

    Examples
    --------
    >>> print(Sounder({6: (800.0, 0.5)}))
    brightness temperature of 1 channel (weighted mean of temperature over levels)
    """

    table: str | Mapping[int, tuple[float, float]] = "hirs"

    def __post_init__(self) -> None:
        if misfit := find_option_type_errors(self):
            raise OptionError(f"Sounder: {'; '.join(misfit)}")
        wrong = [f"{n}: {v}" for n, v in self.curves.items() if len(v) != 2 or not min(v) > 0]
        if wrong:
            raise OptionError(f"Sounder: found {'; '.join(wrong)}; expected channel: (pressure in hPa, width in ln p)")

    @property
    def curves(self) -> Mapping[int, tuple[float, float]]:
        """Peak and width by channel."""
        return choose("table of weighting functions", self.table, TABLES) if isinstance(self.table, str) else self.table

    @property
    def output(self) -> xr.DataArray:
        """Name and attributes of the result."""
        attrs = {"units": "K", "standard_name": "toa_brightness_temperature"}
        numbers = list(self.curves)
        return xr.DataArray(np.zeros(len(numbers)), {"channel": numbers}, name="brightness_temperature", attrs=attrs)

    @property
    def variable(self) -> str:
        """What is weighted."""
        return "temperature"

    def weights(self, levels: Array, surface_pressure: Array) -> Array:
        """See `Columns.weights`.

        Raises
        ------
        OperatorError
            If a channel peaks far above the highest level.
        """
        high = [str(number) for number, (peak, _) in self.curves.items() if peak < levels[0] / 2]
        if high:
            raise OperatorError(
                f"{self!r}: channel{'s' * (len(high) > 1)} {', '.join(high)} peak above the state's highest level, "
                f"{levels[0]:g} hPa; expected channels that peak below {levels[0] / 2:g} hPa: give a table of those"
            )
        return compute_mean_weights(list(self.curves.values()), levels)[:, :, None]

    def describe(self) -> str:
        """What the operator does, in words."""
        number = len(self.curves)
        return (
            f"brightness temperature of {number} channel{'s' * (number > 1)} (weighted mean of temperature over levels)"
        )
