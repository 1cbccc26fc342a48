"""Heights of stations against a model's surface: what is done to what is read there."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import warn
from xappa.observations.formulas import DRY_GAS, STANDARD_GRAVITY
from xappa.standard_atmosphere import LAPSE_RATE, SEA_LEVEL_TEMPERATURE, compute_standard_height

TEMPERATURES = ("2m_temperature", "maximum_2m_temperature", "minimum_2m_temperature")
"""Quantities that are brought to the station's height."""
UNKNOWN_TEMPERATURE = 15.0  # K; deviation of the standard atmosphere's temperature from that of a station


class HeightCorrection:
    """Heights of stations and of the surface below them, and the tally of what could be corrected.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.
    surface : array of float, (N,), or None
        Height of the model's surface at the reports, m.
    lapse_rate : float or None
        Decrease of temperature with height, K/m; None: temperatures are not corrected.
    """

    def __init__(self, obs: xr.Dataset, surface: Array | None, lapse_rate: float | None) -> None:
        unknown = np.full(obs.sizes["obs"], np.nan)
        self.altitude = np.asarray(obs["altitude"].values, float) if "altitude" in obs.coords else unknown
        reported = "2m_temperature" in obs and obs["2m_temperature"].dims == ("obs",)
        self.temperature = np.asarray(obs["2m_temperature"].values, float) if reported else unknown
        self.surface, self.lapse_rate, self.uncorrected = surface, lapse_rate, 0

    def compute_correction(self, rows: Array) -> Array:
        """Correction of the model's 2 m temperature at reports `rows`, K."""
        if self.lapse_rate is None:
            return np.zeros(len(rows))
        if self.surface is None:
            if np.isfinite(self.altitude[rows]).any():
                warn(
                    "The height of the model's surface is not known: 2 m temperatures are not brought to the stations' "
                    "heights. Put a variable with standard_name='surface_altitude' into the Dataset to have them so."
                )
            return np.zeros(len(rows))
        added = -self.lapse_rate * (self.altitude[rows] - self.surface[rows])
        self.uncorrected = int(np.isnan(added).sum())
        return np.nan_to_num(added)

    def compute_reduction(self, rows: Array) -> tuple[Array, Array]:
        """Factor from mean-sea-level pressure to that at stations, and its relative error (both (n,)).

        The column below a station has its reported 2 m temperature and half the standard lapse rate's growth; where no
        temperature is reported, that of the standard atmosphere, which is some 15 K wrong.

        References
        ----------
        WMO-No. 8, Guide to Instruments and Methods of Observation, volume I, chapter on atmospheric pressure
        (reduction of low-level stations to mean sea level).
        """
        height, reported = self.altitude[rows], self.temperature[rows]
        believed = (reported > 180) & (reported < 335)
        temperature = np.where(believed, reported, SEA_LEVEL_TEMPERATURE - LAPSE_RATE * height)
        column = temperature + LAPSE_RATE * height / 2
        exponent = STANDARD_GRAVITY * height / (DRY_GAS * column)
        return np.exp(-exponent), np.where(believed, 0.0, np.abs(exponent) / column * UNKNOWN_TEMPERATURE)

    def is_below(self, pressure: Array) -> Array:
        """Whether reports at `pressure` (hPa) lie below the model's surface; False where that is not known."""
        if self.surface is None:
            return np.zeros(len(pressure), bool)
        # `altitude` may be the station's or the report's own: either way a report lies no lower.
        return np.fmax(self.altitude, compute_standard_height(pressure)) < self.surface

    def make_attrs(self) -> dict[str, str | int]:
        """Attributes of the observations that describe the correction."""
        if self.lapse_rate is None:
            return {"height_correction": "off"}
        if self.surface is None:
            return {"height_correction": "off: height of the model's surface unknown"}
        return {
            "height_correction": f"{self.lapse_rate:g} K m-1",
            "height_correction_unknown_altitude": self.uncorrected,
        }
