"""Wind components from speed and direction; what was reported stays beside what was derived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.observations.flags import with_reasons
from xappa.observations.schema import get_quantity_attrs, set_error

_OTHER = {"10m_": ("",), "": ("10m_",)}


@dataclass(frozen=True)
class WindNames:
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


def _name_wind(speed: str, direction: str, component: str) -> WindNames:
    return WindNames(
        f"{speed}wind_speed",
        f"{direction}wind_from_direction",
        f"{direction}wind_to_direction",
        f"{component}u_component_of_wind",
        f"{component}v_component_of_wind",
    )


def list_winds(obs: xr.Dataset) -> tuple[WindNames, ...]:
    """The winds that `obs` can have: at 10 m, and (10 m too, where there are no levels) the one without a height."""
    if "level" in obs.coords:
        return _name_wind("10m_", "10m_", "10m_"), _name_wind("", "", "")
    return tuple(
        _name_wind(speed, direction, "10m_") for speed in ("10m_", "") for direction in (speed, *_OTHER[speed])
    )


def derive_wind(obs: xr.Dataset) -> xr.Dataset:
    """Components where a wind is reported as speed and direction, and not as components.

    With the speed s and the direction d that the wind blows *from*, u = -s sin d and v = -s cos d; for a direction that
    it blows *to* (CF ``wind_to_direction``) the signs are opposite. Calm wind needs no direction. Errors are those of
    `set_component_error`.

    Parameters
    ----------
    obs : Dataset
        Observations in the schema.

    Returns
    -------
    Dataset
        The same with the components, marked by the attribute ``derived_from``. Speed and direction are kept.
        `quality.check` flags them as unused, so that no report counts twice.

    References
    ----------
    WMO-No. 306, Manual on Codes, volume I.1, code table 0877 (direction *from* which the wind blows; 00 is calm).
    """
    for wind in list_winds(obs):
        directions = [name for name in (wind.from_direction, wind.to_direction) if name in obs]
        if wind.speed in obs and directions:
            obs = _derive_components(obs, wind, directions)
    return obs


def _derive_components(obs: xr.Dataset, wind: WindNames, directions: list[str]) -> xr.Dataset:
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
        attrs = get_quantity_attrs(name) | (present[name].attrs if name in present else {})
        filled.attrs = attrs | {"derived_from": " ".join([wind.speed, *directions])}
        obs = obs.assign({name: filled.reset_coords(drop=True)})
        obs = set_component_error(obs, wind, name, values.notnull())
        obs = with_reasons(obs, name, [wind.speed, *directions], values.notnull().reset_coords(drop=True))
    return obs


def set_component_error(obs: xr.Dataset, wind: WindNames, name: str, rows: xr.DataArray) -> xr.Dataset:
    r"""Errors of one derived component at `rows` that have none, from those of speed and direction.

    By the derivative, :math:`\sigma_u^2 = (\sigma_s \sin d)^2 + (s \sigma_d \cos d)^2` and the same for v with sine
    and cosine exchanged; that u and v share these errors is left out. Where the direction's error is not known, both
    components have the error of the speed, which is exact along the wind and assumes as much across it.
    """
    if f"{wind.speed}_error" not in obs:
        return obs
    error = obs[f"{wind.speed}_error"]
    for direction in (wind.from_direction, wind.to_direction):
        if f"{direction}_error" in obs:
            angle = np.deg2rad(obs[direction])
            along, across = (np.sin(angle), np.cos(angle)) if name == wind.u else (np.cos(angle), np.sin(angle))
            turned = obs[wind.speed] * np.deg2rad(obs[f"{direction}_error"])
            error = (((error * along) ** 2 + (turned * across) ** 2) ** 0.5).fillna(error)
    own, error = obs.get(f"{name}_error"), error.where(rows).reset_coords(drop=True)
    return set_error(obs, name, error if own is None else own.where(own > 0).fillna(error))
