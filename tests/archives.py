"""The same atmosphere as different archives write it: small Datasets for the tests of labels and latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xappa.grids.axes import infer_pressure_units
from xappa.model.state import StateSpec
from xappa.vocabulary import VARIABLES

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
SURFACE = (
    "2m_temperature",
    "10m_u_component_of_wind",
    "10m_v_component_of_wind",
    "mean_sea_level_pressure",
    "sea_surface_temperature",
    "total_precipitation",
)
UPPER_AIR = ("temperature", "u_component_of_wind", "v_component_of_wind", "geopotential", "specific_humidity")
SHORT = dict(
    zip((*SURFACE, *UPPER_AIR), ("t2m", "u10", "v10", "msl", "sst", "tp", "t", "u", "v", "z", "q"), strict=True)
)
GRIB_UNITS = {"m s-1": "m s**-1", "m2 s-2": "m**2 s**-2", "kg kg-1": "kg kg**-1"}
TYPICAL = {
    "2m_temperature": (285.0, 8.0),
    "10m_u_component_of_wind": (1.0, 5.0),
    "10m_v_component_of_wind": (0.0, 5.0),
    "mean_sea_level_pressure": (101300.0, 800.0),
    "sea_surface_temperature": (290.0, 5.0),
    "total_precipitation": (0.001, 0.0),
    "total_precipitation_6hr": (0.006, 0.0),
    "temperature": (250.0, 10.0),
    "u_component_of_wind": (10.0, 8.0),
    "v_component_of_wind": (0.0, 8.0),
    "geopotential": (0.0, 300.0),
    "specific_humidity": (0.004, 0.0),
}


def official(latitude: Sequence[float], longitude: Sequence[float], levels: Sequence[int] = LEVELS) -> StateSpec:
    """A state as of the official models: 71 channels on 13 levels, hourly, windows of 24."""
    channels = [(name, None) for name in SURFACE] + [(name, level) for name in UPPER_AIR for level in levels]
    masked = ("sea_surface_temperature",)
    return StateSpec(tuple(channels), tuple(map(float, latitude)), tuple(map(float, longitude)), 1, 24, masked)


FULL = official(np.linspace(90, -90, 721), np.arange(0, 360, 0.25))
SMALL = official(np.linspace(90, -90, 7), np.arange(0, 360, 45.0))


def weatherbench(spec: StateSpec, times: int = 2, seed: int = 0, start: str = "2021-03-21") -> xr.Dataset:
    """Fields on the grid of `spec` as WeatherBench2 and ARCO-ERA5 write them; SST is missing in the west."""
    rng = np.random.default_rng(seed)
    height, width = spec.shape[1:]
    time = np.datetime64(start, "ns") + np.arange(times) * spec.step
    levels = list(spec.levels)
    data = {}
    for name in spec.variables:
        middle, deviation = TYPICAL[name]
        upper = bool(spec.levels_of(name))
        values = middle + deviation * rng.standard_normal((times, len(levels) if upper else 1, height, width))
        if name == "geopotential":
            values += 9.80665 * 7000 * np.log(1013 / np.array(levels))[:, None, None]
        if not deviation:
            values *= rng.random(values.shape)
        dims = ("time", "level", "latitude", "longitude") if upper else ("time", "latitude", "longitude")
        data[name] = (dims, (values if upper else values[:, 0]).astype("f4"), VARIABLES[name].attrs)
    coords = {"time": time, "level": levels, "latitude": list(spec.latitude), "longitude": list(spec.longitude)}
    ds = xr.Dataset(data, coords)
    return ds.assign(sea_surface_temperature=ds["sea_surface_temperature"].where(ds.longitude > 100))


def bare(ds: xr.Dataset) -> xr.Dataset:
    """Without any attributes, as the Zarr stores of WeatherBench2 are."""
    return ds.drop_attrs()


def cds(ds: xr.Dataset) -> xr.Dataset:
    """NetCDF as the Climate Data Store writes it since 2024."""
    ds = _grib(ds).rename(time="valid_time", level="pressure_level").sortby("pressure_level", ascending=False)
    ds = ds.assign_coords(number=0, expver=("valid_time", ["0001"] * ds.sizes["valid_time"]))
    ds["pressure_level"] = ds["pressure_level"].astype(float).assign_attrs(units="hPa", standard_name="air_pressure")
    ds["valid_time"].attrs = {"long_name": "time", "standard_name": "time"}
    ds["tp"].attrs |= {"GRIB_stepType": "accum", "standard_name": "unknown"}
    return ds


def cds_before_2024(ds: xr.Dataset) -> xr.Dataset:
    """NetCDF of then: ERA5 and its preliminary version along ``expver``, each missing where the other is."""
    ds = _grib(ds).sortby("level")
    ds["level"] = ds["level"].astype("i4").assign_attrs(units="millibars", long_name="pressure_level")
    final = ds.time < ds.time[1]
    return xr.concat([ds.where(final), ds.where(~final)], dim=xr.DataArray([1, 5], dims="expver", name="expver"))


def cfgrib(ds: xr.Dataset) -> xr.Dataset:
    """GRIB as cfgrib reads analyses: time, step, valid time, and pressures in hPa from below."""
    ds = _grib(ds).rename(level="isobaricInhPa").sortby("isobaricInhPa", ascending=False)
    ds = ds.assign_coords(number=0, step=np.timedelta64(0, "ns"), surface=0.0, valid_time=ds.time.variable.copy())
    ds["time"].attrs = {"standard_name": "forecast_reference_time"}
    ds["step"].attrs = {"standard_name": "forecast_period"}
    ds["valid_time"].attrs = {"standard_name": "time"}
    ds["isobaricInhPa"].attrs = {"units": "hPa", "standard_name": "air_pressure", "positive": "down"}
    return ds


def cmip(ds: xr.Dataset) -> xr.Dataset:
    """CF standard names, own names, other units: heights, pascals, Celsius, fluxes; longitudes from -180."""
    names = {name: f"var{k}" for k, name in enumerate(ds.data_vars)}
    out = ds.rename(names | {"time": "when", "latitude": "phi", "longitude": "lam", "level": "p"})
    out = out.assign_coords(p=out["p"] * 100.0, lam=(out["lam"] + 180) % 360 - 180).sortby("lam").sortby("phi")
    out["p"].attrs = {"units": "Pa", "standard_name": "air_pressure"}
    out["when"].attrs, out["phi"].attrs = {"standard_name": "time"}, {"units": "degrees_north"}
    out["lam"].attrs = {"units": "degrees_east"}
    height, rain = names["geopotential"], names["total_precipitation"]
    out[height] = (out[height] / 9.80665).assign_attrs(standard_name="geopotential_height", units="m")
    flux = {
        "standard_name": "precipitation_flux",
        "units": "kg m-2 s-1",
        "cell_methods": "time: mean (interval: 1 hour)",
    }
    out[rain] = (out[rain] * 1000 / 3600).assign_attrs(flux)
    for name in ("sea_surface_temperature", "2m_temperature"):
        out[names[name]] = (out[names[name]].astype("f8") - 273.15).assign_attrs(out[names[name]].attrs, units="degC")
    for name, said in SAID.items():
        # A coordinate `height` would belong to them all: what each variable's own height is, its long name has to say.
        out[names[name]].attrs["long_name"] = said
    return out.transpose("lam", "phi", "p", "when")


SAID = {
    "2m_temperature": "2 metre temperature",
    "10m_u_component_of_wind": "10 metre U wind component",
    "10m_v_component_of_wind": "10 metre V wind component",
}


def _grib(ds: xr.Dataset) -> xr.Dataset:
    ds = ds.rename({name: SHORT[str(name)] for name in ds.data_vars})
    for field in ds.data_vars.values():
        units = field.attrs["units"]
        field.attrs = {"units": GRIB_UNITS.get(units, units)}
    assert infer_pressure_units(ds["level"]) == "hPa"
    return ds


ARCHIVES = {
    "WeatherBench2": weatherbench,
    "WeatherBench2 without attributes": lambda spec: bare(weatherbench(spec)),
    "WeatherBench2, longitude first": lambda spec: weatherbench(spec).transpose("time", "longitude", "latitude", ...),
    "CDS": lambda spec: cds(weatherbench(spec)),
    "CDS before 2024": lambda spec: cds_before_2024(weatherbench(spec)),
    "cfgrib": lambda spec: cfgrib(weatherbench(spec)),
    "CF standard names": lambda spec: cmip(weatherbench(spec)),
}
