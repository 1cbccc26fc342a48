"""Stores, grids, weights, recipes and options that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import xappa
from tests import tiny
from tests.bad_inputs import BadInput, Places, Table, refused
from xappa.errors import DatasetError, ModelError, OptionError, StoreError, UnitsError
from xappa.grids.regrid.files import write_weights
from xappa.training.config import read_config

Act = Callable[[Places], Any]
REPORTS = pd.DataFrame({"time": "2018-11-02T06", "lat": [10.0, 20.0], "lon": 5.0, "2m_temperature": [287.0, 288.0]})


def fields(rows: int = 6, columns: int = 8) -> xr.Dataset:
    step = 180 / rows
    coords = {
        "time": pd.date_range("2018-11-02", periods=2, freq="6h"),
        "latitude": 90 - step / 2 - step * np.arange(rows),
        "longitude": 360 / columns * np.arange(columns),
    }
    values = 280.0 + np.zeros((2, rows, columns))
    return xr.Dataset({"2m_temperature": (tuple(coords), values, {"units": "K"})}, coords)


def write(change: Callable[[xr.Dataset], Any] = lambda ds: ds, **options: Any) -> Act:
    return lambda places: xappa.to_zarr(change(fields()), places.scratch / "a.zarr", **{"progress": False, **options})


def again(damage: Callable[[Any], Any], change: Callable[[xr.Dataset], Any] = lambda ds: ds, **options: Any) -> Act:
    """Write a store, damage it, and write into it again."""

    def act(places: Places) -> None:
        store = xappa.to_zarr(fields(), places.scratch / "a.zarr", progress=False)
        damage(store)
        xappa.to_zarr(change(fields()), store, progress=False, **options)

    return act


def under_a_file(places: Places) -> None:
    (places.scratch / "file").write_text("")
    xappa.to_zarr(fields(), places.scratch / "file" / "a.zarr", progress=False)


def a_folder_of_other_things(places: Places) -> None:
    (places.scratch / "a.zarr").mkdir()
    (places.scratch / "a.zarr" / "letter.txt").write_text("dear reader")
    xappa.to_zarr(fields(), places.scratch / "a.zarr", progress=False)


def to(store: Any) -> Act:
    return lambda places: xappa.to_zarr(fields(), store)


def kept(store: Any) -> None:
    pass


STORES = [
    *refused(
        StoreError,
        {
            "`store=None`": to(None),
            "`store=5`": to(5),
            "an empty name of a store": to(""),
            "a store that is bytes": to(b"x"),
            "a place that cannot be written": under_a_file,
            "a folder that holds other things": a_folder_of_other_things,
            "a store of another result": again(kept, lambda ds: ds + 1),
            "a store of a result with other times": again(kept, lambda ds: ds.isel(time=[0])),
        },
    ),
    *refused(
        DatasetError,
        {
            "a result that is an array": write(lambda ds: ds["2m_temperature"]),
            "a Dataset that is a number": lambda p: xappa.encode(5),
            "a Dataset that is a list": lambda p: xappa.verify([1], fields()),
            "a result that is numbers": write(lambda ds: ds["2m_temperature"].values),
            "a result without times": write(lambda ds: ds.isel(time=slice(0, 0))),
            "attributes that cannot be stored": write(lambda ds: ds.assign_attrs(a={1})),
        },
    ),
    *refused(
        OptionError,
        {
            "`chunks=4`": write(chunks=4),
            "`chunks=` of a dimension that is not there": write(chunks={"depth": 1}),
            "`chunks=` of size 0": write(chunks={"time": 0}),
            "`encoding=` with an unknown key": write(encoding={"2m_temperature": {"foo": 1}}),
            "`encoding=` with a dtype that is none": write(encoding={"2m_temperature": {"dtype": "nope"}}),
            "`encoding=` that is text": write(encoding="int16"),
            "`encoding=` of a variable that is not there": write(encoding={"t": {"dtype": "f4"}}),
            "`overwrite=\"no\"`": write(overwrite="no"),
            "`progress=1`": write(progress=1),
            "`append_dim=` that is no dimension": again(kept, lambda ds: ds.isel(time=[1]), append_dim="depth"),
            "`append_dim=5`": write(append_dim=5),
        },
    ),
]  # fmt: skip


def weights(change: Callable[[xr.Dataset], xr.Dataset], **options: Any) -> Act:
    """A file of weights that is changed, and applied."""

    def act(places: Places) -> None:
        file = places.scratch / "weights.nc"
        write_weights(xappa.regrid_weights(fields(), fields(3, 4)), file)
        with xr.open_dataset(file, decode_cf=False) as opened:
            ds = opened.load()
        changed = change(ds)
        file.unlink()
        changed.to_netcdf(file)
        xappa.regrid(fields(), **{"weights": file, **options})

    return act


def noise(places: Places) -> None:
    (places.scratch / "weights.nc").write_bytes(b"\x93" * 500)
    xappa.regrid(fields(), weights=places.scratch / "weights.nc")


def regrid(**options: Any) -> Act:
    return lambda places: xappa.regrid(fields(), **options)


WEIGHTS = [
    *refused(
        DatasetError,
        {
            "weights that are not there": lambda p: xappa.regrid(fields(), weights=p.scratch / "nowhere.nc"),
            "weights that are a folder": lambda p: xappa.regrid(fields(), weights=p.scratch),
            "weights that are noise": noise,
            "weights without a column of sources": weights(lambda ds: ds.drop_vars("col")),
            "weights that are not finite": weights(lambda ds: ds.assign(S=ds.S * np.nan)),
            "weights beyond any interpolation": weights(lambda ds: ds.assign(S=ds.S * -1e300)),
            "addresses below 1": weights(lambda ds: ds.assign(row=ds.row * 0 - 5)),
            "addresses beyond the grid": weights(lambda ds: ds.assign(col=ds.col + 1000)),
            "addresses that are no whole numbers": weights(lambda ds: ds.assign(row=ds.row + 0.5)),
            "addresses that are text": weights(lambda ds: ds.assign(row=("n_s", ["a"] * ds.sizes["n_s"]))),
            "as many weights as addresses, but one": weights(
                lambda ds: ds.assign(S=("more", np.ones(ds.sizes["n_s"] - 1)))
            ),
            "weights of another source": weights(lambda ds: ds.assign(src_grid_dims=ds.src_grid_dims + 1)),
            "an endless target": weights(lambda ds: ds.assign(dst_grid_dims=ds.dst_grid_dims * 0 + 2**30)),
            "a target of negative size": weights(lambda ds: ds.assign(dst_grid_dims=-ds.dst_grid_dims)),
            "weights of other points": weights(lambda ds: ds.assign(yc_a=ds.yc_a + 5)),
            "weights whose points are missing": weights(lambda ds: ds.assign(yc_a=ds.yc_a * np.nan)),
            "weights of another number of points": weights(lambda ds: ds.assign(yc_a=("more", np.zeros(3)))),
        },
    ),
    *refused(
        OptionError,
        {
            "`weights=5`": regrid(weights=5),
            "`weights=` that is a list": regrid(weights=["weights.nc"]),
            "neither target nor weights": regrid(),
            "weights and a backend": regrid(weights="weights.nc", backend="xesmf"),
            "a target of 0 degrees": regrid(target=0),
            "a target of negative degrees": regrid(target=-1.0),
            "a target that is not finite": regrid(target=np.nan),
            "a target that is a truth value": regrid(target=True),
            "a target that is a list": regrid(target=[1.0]),
            "an unknown method": regrid(target=60.0, method="cubic"),
            "an unknown backend": regrid(target=60.0, backend="gdal"),
            "`min_valid=2`": regrid(target=60.0, min_valid=2.0),
            "`min_valid=` that is text": regrid(target=60.0, min_valid="half"),
        },
    ),
    BadInput("a target that is no model", regrid(target="speedi"), ModelError),
]


def recipe(old: str, new: str) -> Act:
    """The recipe of a tiny model with one line changed."""

    def act(places: Places) -> None:
        assert old in tiny.RECIPE
        (places.scratch / "recipe.toml").write_text(tiny.RECIPE.replace(old, new, 1), encoding="utf-8")
        read_config(places.scratch / "recipe.toml")

    return act


RECIPES = refused(
    OptionError,
    {
        "a recipe that is not there": lambda p: read_config(p.scratch / "nowhere.toml"),
        "a recipe that is a folder": lambda p: read_config(p.scratch),
        "a recipe that is no TOML": recipe("seed = 3", "seed = "),
        "an unknown key": recipe("seed = 3", "sed = 3"),
        "a key of another type": recipe("seed = 3", 'seed = "3"'),
        "a number that is a truth value": recipe("seed = 3", "seed = true"),
        "a negative seed": recipe("seed = 3", "seed = -3"),
        "a section that is not known": recipe("[prior]", "[prior]\n[denoiser.size]"),
        "a run without an end": recipe('end = "2000-05-10"\n', ""),
        "a day that does not exist": recipe('start = "2000-01-01"', 'start = "2000-02-30"'),
        "a day that is a number": recipe('[["2000-01-01", "2000-05-10"]', '[["2000", "2000-05-10"]'),
        "a period of one day alone": recipe('["2000-01-01", "2000-05-10"]', '["2000-01-01"]'),
        "a level in Pa": recipe("[500, 850]", "[50000, 85000]"),
        "a batch of nothing": recipe("batch = 4", "batch = 0"),
        "a negative number of steps": recipe("steps = 20", "steps = -20"),
        "an endless window": recipe("window = 4", "window = 999999999999"),
        "a factor that is not finite": recipe('["total_precipitation_6hr", 0.3]', '["total_precipitation_6hr", nan]'),
        "emphasis on a variable that the state lacks": recipe('["2m_temperature", 2.0]', '["humidity", 2.0]'),
    },
)


def options(**values: Any) -> Act:
    return lambda places: xappa.set_options(**values)


def asked(**values: Any) -> Act:
    """An analysis with an option that is wrong."""

    def act(places: Places) -> None:
        ds = xappa.template("2018-11-02T00", "2018-11-02T06")
        xappa.assimilate(ds, REPORTS, **{"seed": 0, **values})

    return act


OPTIONS = refused(
    OptionError,
    {
        "an option of `set_options` that is not known": options(progres=True),
        "`set_options(progress=\"no\")`": options(progress="no"),
        "`set_options(cache_dir=5)`": options(cache_dir=5),
        "`set_options(latent_cache=5)`": options(latent_cache=5),
        "`set_options` with a negative cache": options(latent_cache={"disk": -1}),
        "`set_options` with an unknown cache": options(latent_cache={"tape": 1}),
        "`set_options(dress=1)`": options(dress=1),
        "`set_options(clip=None)`": options(clip=None),
        "`set_options(default_model=\"\")`": options(default_model=""),
        "`set_options(precision=\"float8\")`": options(precision="float8"),
        "`members=0`": asked(members=0),
        "`members=-1`": asked(members=-1),
        "`members=True`": asked(members=True),
        "`members=` that is text": asked(members="8"),
        "`members=` a number twice": asked(members=[1, 1]),
        "`seed=-1`": asked(seed=-1),
        "`seed=` that is text": asked(seed="a"),
        "`seed=` beyond 63 bits": asked(seed=2**63),
        "an unknown effort": asked(effort="extreme"),
        "an effort that is a number": asked(effort=5),
        "an unknown guidance": asked(guidance="magic"),
        "a guidance that is a number": asked(guidance=5),
        "an unknown sampler": asked(sampler="magic"),
        "a sampler that is a list": asked(sampler=["dpm"]),
        "`steps=0`": asked(steps=0),
        "`steps=nan`": asked(steps=float("nan")),
        "an unknown stitching": asked(stitching="magic"),
        "unknown segments": asked(segments="magic"),
        "segments that are a number": asked(segments=5),
        "an unknown quality": asked(quality="magic"),
        "a quality that is a number": asked(quality=5),
        "an unknown grid": asked(grid="hexagonal"),
        "an unknown device": asked(device="gpu"),
        "a memory that is text": asked(memory="much"),
        "a memory below 0": asked(memory=-1.0),
        "chunks that are text": asked(chunks="big"),
        "an operator that is a number": asked(operator=5),
        "an unknown operator": asked(operator="magic"),
        "an unknown table of errors": asked(error="magic"),
        "errors that are a list": asked(error=[1.0]),
        "an error that is text": asked(error={"2m_temperature": "small"}),
        "a background that is a number": asked(background=5),
        "an unknown background": asked(background="magic"),
        "stations that are a number": lambda p: xappa.read_observations(REPORTS, stations=5),
        "no stations": lambda p: xappa.read_observations(REPORTS, stations=[]),
        "`fetch` with a path that is a number": lambda p: xappa.fetch("speedy", path=5),
        "an unknown orbit": lambda p: xappa.platforms.swaths(fields(), orbit="moon"),
        "an orbit that is a list": lambda p: xappa.platforms.swaths(fields(), orbit=["x"]),
        "a density that is text": lambda p: xappa.platforms.stations(fields(), density="dense"),
        "`by=` that is a number": lambda p: xappa.verify(fields(), fields(), by=5),
        "`by=` that is not known": lambda p: xappa.verify(fields(), fields(), by="colour"),
        "an unknown metric": lambda p: xappa.verify(fields(), fields(), metrics=["joy"]),
        "a superob of 0 degrees": lambda p: xappa.superob(REPORTS, 0.0),
        "levels of superobs that are text": lambda p: xappa.superob(REPORTS, 1.0, levels="850"),
    },
)  # fmt: skip
UNITS = refused(
    UnitsError,
    {
        "units of fields to verify that are others": lambda p: xappa.verify(
            fields().assign({"2m_temperature": fields()["2m_temperature"].assign_attrs(units="Pa")}), fields()
        ),
    },
)
TABLES: list[Table] = [
    ("Stores", STORES),
    ("Regridding and its weights", WEIGHTS),
    ("Recipes of training", RECIPES),
    ("Options", [*OPTIONS, *UNITS]),
]
