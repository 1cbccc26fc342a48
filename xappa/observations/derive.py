"""Wind components from speed and direction; what was reported stays beside what was derived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.observations.form import quantity_attrs, set_error


@dataclass(frozen=True)
class Wind:
    """Names under which one wind is reported and kept."""

    speed: str
    from_direction: str
    to_direction: str
    u: str
    v: str

    @property
    def components(self) -> tuple[str, str]:
        """Names of the eastward and northward component."""
        return self.u, self.v

    @property
    def polar(self) -> tuple[str, str, str]:
        """Names of speed and directions."""
        return self.speed, self.from_direction, self.to_direction


def _wind(reported: str, component: str) -> Wind:
    return Wind(
        f"{reported}wind_speed",
        f"{reported}wind_from_direction",
        f"{reported}wind_to_direction",
        f"{component}u_component_of_wind",
        f"{component}v_component_of_wind",
    )


def winds_of(obs: xr.Dataset) -> tuple[Wind, ...]:
    """The winds that `obs` can have: at 10 m, and (10 m too, where there are no levels) the one without a height."""
    return _wind("10m_", "10m_"), _wind("", "" if "level" in obs.coords else "10m_")


def derive_wind(obs: xr.Dataset) -> xr.Dataset:
    """Components where a wind is reported as speed and direction, and not as components.

    With the speed s and the direction d that the wind blows *from*, u = -s sin d and v = -s cos d; for a direction that
    it blows *to* (CF ``wind_to_direction``) the signs are opposite. Calm wind needs no direction. The error of either
    component is that of the speed, which is exact along the wind and leaves out what the direction adds across it.

    Parameters
    ----------
    obs : Dataset
        Observations in the one form.

    Returns
    -------
    Dataset
        The same with the components, marked by the attribute ``derived_from``. Speed and direction are kept.
        `quality.check` flags them as unused, so that no report counts twice.

    References
    ----------
    WMO-No. 306, Manual on Codes, volume I.1, code table 0877 (direction *from* which the wind blows; 00 is calm).
    """
    for wind in winds_of(obs):
        directions = [name for name in (wind.from_direction, wind.to_direction) if name in obs]
        if wind.speed in obs and directions:
            obs = _derived(obs, wind, directions)
    return obs


def _derived(obs: xr.Dataset, wind: Wind, directions: list[str]) -> xr.Dataset:
    speed = obs[wind.speed]
    towards = [obs[name] + (180.0 if name == wind.from_direction else 0.0) for name in directions]
    angle = np.deg2rad((towards[0] if len(towards) == 1 else towards[0].fillna(towards[1])) % 360.0)
    calm = speed == 0.0
    derived = {wind.u: speed * np.sin(angle), wind.v: speed * np.cos(angle)}
    present = {name: obs[name] for name in wind.components if name in obs}
    reported = xr.zeros_like(calm)
    for values in present.values():
        reported = reported | values.notnull()
    for name, values in derived.items():
        values = values.where(~calm, 0.0).where(~reported)
        filled = present[name].fillna(values) if name in present else values
        attrs = quantity_attrs(name) | (present[name].attrs if name in present else {})
        filled.attrs = attrs | {"derived_from": " ".join([wind.speed, *directions])}
        obs = obs.assign({name: filled.reset_coords(drop=True)})
        if f"{wind.speed}_error" in obs:
            error = obs[f"{wind.speed}_error"].where(values.notnull())
            known = f"{name}_error"
            obs = set_error(obs, name, obs[known].fillna(error) if known in obs else error)
    return obs
