"""From the simulator's sigma levels and Gaussian grid to pressure levels on a regular grid, with CF names."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from xappa.training.config import SimulationConfig

R_DRY, GRAVITY, LAPSE = 287.04, 9.81, 0.0065  # J kg-1 K-1, m s-2, K m-1: the simulator's own constants
FREEZING = 271.38  # K, of sea water: the prescribed field is colder under ice

ATTRS = {
    "temperature": ("K", "air_temperature"),
    "u_component_of_wind": ("m s-1", "eastward_wind"),
    "v_component_of_wind": ("m s-1", "northward_wind"),
    "geopotential": ("m2 s-2", "geopotential"),
    "specific_humidity": ("kg kg-1", "specific_humidity"),
    "2m_temperature": ("K", "air_temperature"),
    "10m_u_component_of_wind": ("m s-1", "eastward_wind"),
    "10m_v_component_of_wind": ("m s-1", "northward_wind"),
    "mean_sea_level_pressure": ("Pa", "air_pressure_at_mean_sea_level"),
    "sea_surface_temperature": ("K", "sea_surface_temperature"),
    "total_precipitation_6hr": ("m", "lwe_thickness_of_precipitation_amount"),
    "geopotential_at_surface": ("m2 s-2", "surface_geopotential"),
    "land_sea_mask": ("1", "land_area_fraction"),
}


def round_bits(values: np.ndarray, keep: int) -> np.ndarray:
    """Round float32 to `keep` bits of mantissa, so that files compress (round half up, NaN kept)."""
    bits = np.ascontiguousarray(values, "f4").view("u4")
    drop = 23 - keep
    rounded = ((bits + np.uint32(1 << (drop - 1))) & np.uint32((0xFFFFFFFF << drop) & 0xFFFFFFFF)).view("f4")
    return np.where(np.isnan(values), values, rounded).astype("f4")


def reduce_to_sea_level(ps: np.ndarray, t_low: np.ndarray, p_low: np.ndarray, phis: np.ndarray) -> np.ndarray:
    """Mean sea level pressure, Pa, by the reduction of the IFS.

    References
    ----------
    Trenberth, Berry & Buja (1993), Vertical interpolation and truncation of model-coordinate data,
    NCAR/TN-396+STR, section on sea level pressure.
    """
    t_surface = t_low * (1 + LAPSE * R_DRY / GRAVITY * (ps / p_low - 1))
    t_sea = t_surface + LAPSE * phis / GRAVITY
    warm = t_sea > 290.5
    hot = warm & (t_surface > 290.5)
    safe = np.where(np.abs(phis) < 1, 1, phis)
    lapse = np.where(warm & ~hot, (290.5 - t_surface) * GRAVITY / safe, LAPSE)
    lapse = np.where(hot, 0.0, lapse)
    t_surface = np.where(hot, 0.5 * (290.5 + t_surface), t_surface)
    t_surface = np.where(t_surface < 255, 0.5 * (255 + t_surface), t_surface)
    x = lapse * phis / (GRAVITY * t_surface)
    return ps * np.exp(phis / (R_DRY * t_surface) * (1 - x / 2 + x * x / 3))


class PressureLevels:
    """Converts raw output, a chunk at a time.

    Parameters
    ----------
    latitude, longitude : array (lat,), (lon,)
        Gaussian grid of the simulator, degrees, ascending.
    surface_geopotential : array (lon, lat)
        m2 s-2, on that grid.
    land : array (lon, lat)
        Fraction of land.
    sst : DataArray (lon, lat, time)
        Prescribed sea-surface temperature, linear in time.
    config : SimulationConfig
        Pressure levels and precision.
    """

    def __init__(
        self,
        latitude: np.ndarray,
        longitude: np.ndarray,
        surface_geopotential: np.ndarray,
        land: np.ndarray,
        sst: xr.DataArray,
        config: SimulationConfig,
    ) -> None:
        self.pressures = np.array(config.levels, "f4")
        self.keepbits = config.keepbits
        self.latitude = latitude
        self.longitude = np.round(longitude, 4)
        n = len(self.latitude)
        self.new_latitude = -90 + (np.arange(n) + 0.5) * 180 / n
        self.surface_geopotential = surface_geopotential
        self.land = land
        self.sst = sst
        # Rows beyond the poles (longitude turned by half a circle) let one operator serve every latitude.
        self._beyond = 3
        b = self._beyond
        extended = np.concatenate([-180 - self.latitude[:b][::-1], self.latitude, 180 - self.latitude[-b:][::-1]])
        eye = np.eye(len(extended))
        self._cubic = CubicSpline(extended, eye, axis=0)(self.new_latitude).astype("f4")
        self._linear = np.stack([np.interp(self.new_latitude, extended, row) for row in eye], 1).astype("f4")

    def regrid(self, field: np.ndarray, sign: float = 1.0, linear: bool = False) -> np.ndarray:
        """(…, lon, Gaussian lat) to (…, lat, lon); `sign` -1 for wind components, which turn over at a pole."""
        b, half = self._beyond, field.shape[-2] // 2
        turned = np.roll(field, half, axis=-2) * np.float32(sign)
        extended = np.concatenate([turned[..., :b][..., ::-1], field, turned[..., -b:][..., ::-1]], -1)
        matrix = self._linear if linear else self._cubic
        return np.swapaxes(extended.astype("f4") @ matrix.T, -1, -2)

    def interpolate(
        self, field: np.ndarray, log_p: np.ndarray, kind: str, temperature: np.ndarray | None = None
    ) -> np.ndarray:
        """(time, sigma, lon, lat) to (time, pressure, lon, lat), linear in the logarithm of pressure.

        `kind`: "constant" below the lowest level; "temperature" and "geopotential" go on with the standard lapse
        rate there, and geopotential curves between levels as hydrostatic balance asks.
        """
        out = np.empty((field.shape[0], len(self.pressures), *field.shape[2:]), "f4")
        alpha = R_DRY * LAPSE / GRAVITY
        for j, level in enumerate(np.log(self.pressures * 100).astype("f4")):
            k = np.clip((log_p < level).sum(1) - 1, 0, log_p.shape[1] - 2)[:, None]
            take = lambda a, i: np.take_along_axis(a, i, 1)[:, 0]  # noqa: E731
            x0, x1 = take(log_p, k), take(log_p, k + 1)
            f0, f1 = take(field, k), take(field, k + 1)
            weight = (level - x0) / (x1 - x0)
            if kind == "constant":
                weight = np.minimum(weight, 1)
            value = f0 + (f1 - f0) * weight
            if temperature is not None:
                t0, t1 = take(temperature, k), take(temperature, k + 1)
                value = value + np.float32(0.5 * R_DRY) * (t1 - t0) / (x1 - x0) * (level - x0) * (x1 - level)
            below = level - log_p[:, -1]
            if kind == "temperature":
                value = np.where(below > 0, field[:, -1] * np.exp(alpha * below), value)
            elif kind == "geopotential":
                assert temperature is not None
                thickness = R_DRY * temperature[:, -1] * np.expm1(alpha * below) / alpha
                value = np.where(below > 0, field[:, -1] - thickness, value)
            out[:, j] = value
        return out

    def make_static(self) -> xr.Dataset:
        """Surface geopotential and land fraction on the regular grid."""
        fields = {
            "geopotential_at_surface": self.regrid(self.surface_geopotential),
            "land_sea_mask": np.clip(self.regrid(self.land, linear=True), 0, 1),
        }
        return self._build_dataset(fields, None)

    def prescribed_sst(self, times: np.ndarray) -> np.ndarray:
        """Sea-surface temperature at `times`, NaN where half of the cell or more is land: (time, lat, lon)."""
        # Both in one unit: interpolation takes the bare integers of datetimes, whatever they count.
        sst = self.sst.assign_coords(time=self.sst.time.values.astype("datetime64[ns]"))
        values = sst.interp(time=times.astype("datetime64[ns]")).transpose("time", "lon", "lat").values
        land = np.clip(self.regrid(self.land, linear=True), 0, 1)
        return np.where(land < 0.5, np.maximum(self.regrid(values, linear=True), FREEZING), np.nan)

    def __call__(self, raw: xr.Dataset) -> xr.Dataset:
        """Raw output of one chunk, to the record's variables (time, [level,] latitude, longitude)."""
        raw = raw.sortby("level")
        sigma = raw.level.values.astype("f4")
        times = raw.time.values.astype("datetime64[s]").astype("i8")
        times = ((times + 30) // 60 * 60).astype(
            "datetime64[s]"
        )  # the clock is exact to a second; the record to a minute
        ps = raw.normalized_surface_pressure.values.astype("f4") * np.float32(1e5)
        p = sigma[None, :, None, None] * ps[:, None]
        log_p = np.log(p)
        t, phi = raw.temperature.values, raw.geopotential.values
        q = np.clip(raw.specific_humidity.values, 0, None)
        precipitation = np.diff(raw["accumulated.precipitation"].values.astype("f8"), axis=0, prepend=0.0) / 1000
        at = self.interpolate
        fields = {
            "2m_temperature": self.regrid(raw["surface_flux.t0"].values),
            "10m_u_component_of_wind": self.regrid(raw["surface_flux.u0"].values, -1),
            "10m_v_component_of_wind": self.regrid(raw["surface_flux.v0"].values, -1),
            "mean_sea_level_pressure": self.regrid(
                reduce_to_sea_level(ps, t[:, -1], p[:, -1], self.surface_geopotential[None])
            ),
            "sea_surface_temperature": self.prescribed_sst(times.astype("datetime64[ns]")),
            "total_precipitation_6hr": np.clip(self.regrid(precipitation, linear=True), 0, None),
            "temperature": self.regrid(at(t, log_p, "temperature")),
            "u_component_of_wind": self.regrid(at(raw.u_wind.values, log_p, "constant"), -1),
            "v_component_of_wind": self.regrid(at(raw.v_wind.values, log_p, "constant"), -1),
            "geopotential": self.regrid(at(phi, log_p, "geopotential", t)),
            "specific_humidity": np.clip(self.regrid(at(q, log_p, "constant")), 0, None),
        }
        precise = {"geopotential", "mean_sea_level_pressure"}
        warm = {"temperature", "2m_temperature", "sea_surface_temperature"}
        keep = {n: self.keepbits + (6 if n in precise else 4 if n in warm else 0) for n in fields}
        return self._build_dataset({n: round_bits(v, keep[n]) for n, v in fields.items()}, times)

    def _build_dataset(self, fields: dict[str, np.ndarray], times: np.ndarray | None) -> xr.Dataset:
        coords: dict[str, Any] = {
            "latitude": ("latitude", self.new_latitude, {"units": "degrees_north", "standard_name": "latitude"}),
            "longitude": ("longitude", self.longitude, {"units": "degrees_east", "standard_name": "longitude"}),
        }
        if times is not None:
            coords["time"] = ("time", times.astype("datetime64[ns]"), {"standard_name": "time"})
            coords["level"] = (
                "level",
                self.pressures.astype("i4"),
                {"units": "hPa", "standard_name": "air_pressure", "positive": "down"},
            )
        data = {}
        for name, values in fields.items():
            units, standard = ATTRS[name]
            dims = {2: (), 3: ("time",), 4: ("time", "level")}[values.ndim] + ("latitude", "longitude")
            data[name] = (dims, values.astype("f4"), {"units": units, "standard_name": standard})
        attrs = {"Conventions": "CF-1.11", "source": "jcm 3.0.0, SPEEDY physics, T31, 8 levels"}
        return xr.Dataset(data, coords, attrs)
