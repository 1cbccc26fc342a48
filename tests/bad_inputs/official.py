"""Official runs, their statistics, lock files and dumps of latents that are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml

import xappa
from tests.bad_inputs import Places, Table, changed, refused
from xappa.errors import ModelError
from xappa.model.appa.configuration import read_configuration
from xappa.model.appa.latent_dump import LatentWindows
from xappa.model.fetching.lock import NAME, read_lock
from xappa.model.latent_normalisation import ChannelLatents

RUN = Path("autoencoders/alpha/0")
AE, LAP = RUN / "latents/one/ae/config.yaml", RUN / "latents/one/denoisers/beta/3"
DENOISER = LAP / "config.yaml"
WEIGHTS, LATENTS = LAP / "model_last.pth", RUN / "latents/one/stats.pth"
Act = Callable[[Places], Any]


def load(project: Path, **options: Any) -> None:
    xappa.load(project, device="cpu", **options)


def entry(file: Path, *path: str, to: Any) -> Act:
    """A configuration with one entry changed."""

    def act(places: Places) -> None:
        project = places.project()
        values = json.loads(json.dumps(read_configuration(project / file).values))
        (project / file).write_text(yaml.safe_dump(changed(values, *path, to=to)))
        load(project)

    return act


def content(file: Path, text: str | bytes | None) -> Act:
    """A file with other contents, or without it."""

    def act(places: Places) -> None:
        project = places.project()
        (project / file).unlink()
        if text is not None:
            (project / file).write_bytes(text.encode() if isinstance(text, str) else text)
        load(project)

    return act


def tensors(file: Path, change: Callable[[dict[str, Any]], Any]) -> Act:
    """A checkpoint that holds something else."""

    def act(places: Places) -> None:
        project = places.project()
        torch.save(change(torch.load(project / file, weights_only=True)), project / file)
        load(project)

    return act


def cut(places: Places) -> None:
    project = places.project()
    (project / WEIGHTS).write_bytes((project / WEIGHTS).read_bytes()[:2000])
    load(project)


def first(values: dict[str, Any]) -> str:
    """Name of the largest tensor."""
    return max(values, key=lambda name: values[name].numel())


CONFIGURATIONS = refused(
    ModelError,
    {
        "an empty configuration": content(AE, ""),
        "a configuration that is no YAML": content(AE, "ae: [1, 2"),
        "a configuration in another encoding": content(AE, b"ae: \xff\xfe"),
        "a configuration that is a list": content(AE, "- 1\n- 2\n"),
        "a configuration with Python objects": content(DENOISER, "a: !!python/object/apply:pathlib.Path [x]\n"),
        "a configuration nested without end": content(AE, "[" * 100_000),
        "no configuration of the denoiser": content(DENOISER, None),
        "a section that is text": entry(AE, "ae", to="cae"),
        "a shape that is a number": entry(AE, "ae", "shape", to=5),
        "a shape that is text": entry(AE, "ae", "shape", to="13x24"),
        "a shape of three numbers": entry(AE, "ae", "shape", to=[1, 5, 8]),
        "a shape of truth values": entry(AE, "ae", "shape", to=[True, True]),
        "a shape of nothing": entry(AE, "ae", "shape", to=[0, 8]),
        "an endless shape": entry(AE, "ae", "shape", to=[5, 1 << 23]),
        "a negative number of channels": entry(AE, "ae", "in_channels", to=-71),
        "another number of channels": entry(AE, "ae", "in_channels", to=70),
        "a patch of no size": entry(AE, "ae", "patch_size", to=[0, 1]),
        "a patch that is null": entry(AE, "ae", "patch_size", to=None),
        "blocks that are a number": entry(AE, "ae", "hid_blocks", to=1),
        "a tower of blocks": entry(AE, "ae", "hid_blocks", to=[1, 1, 10**6]),
        "a factor of no size": entry(AE, "ae", "resize", to=0),
        "a factor that is text": entry(AE, "ae", "resize", to="four"),
        "an unknown saturation": entry(AE, "ae", "saturation", to="hard"),
        "a saturation that is a list": entry(AE, "ae", "saturation", to=["tanh"]),
        "a noise level that is text": entry(AE, "ae", "noise_level", to="low"),
        "a noise level that is not finite": entry(AE, "ae", "noise_level", to=float("nan")),
        "a noise level that is a truth value": entry(AE, "ae", "noise_level", to=True),
        "convolutions of another size": entry(AE, "ae", "kernel_size", to=5),
        "a shape of latents that does not fit": entry(AE, "ae", "latent_shape", to=[1, 2, 3]),
        "a shape of latents that is a number": entry(AE, "ae", "latent_shape", to=4),
        "a graph autoencoder": entry(AE, "ae", "name", to="ico_f4"),
        "no attention heads": entry(DENOISER, "backbone", "attention_heads", to=0),
        "attention heads that do not divide": entry(DENOISER, "backbone", "attention_heads", to=3),
        "a width that is text": entry(DENOISER, "backbone", "hid_channels", to="16"),
        "a width that is a list": entry(DENOISER, "backbone", "hid_channels", to=[16]),
        "an odd number of features": entry(DENOISER, "backbone", "mod_features", to=7),
        "a window of no times": entry(DENOISER, "backbone", "blanket_size", to=0),
        "a patch of the denoiser that is a number": entry(DENOISER, "backbone", "patch_size", to=2),
        "a patch of the denoiser that does not divide": entry(DENOISER, "backbone", "patch_size", to=[3, 1, 1]),
        "a window of attention of two numbers": entry(DENOISER, "backbone", "window_size", to=[1, 1]),
        "an entry `rope` that is text": entry(DENOISER, "backbone", "rope", to="yes"),
        "a step that is text": entry(DENOISER, "train", "blanket_dt", to="hourly"),
        "a step that is no whole hour": entry(DENOISER, "train", "blanket_dt", to=0.5),
        "a step that is no part of a day": entry(DENOISER, "train", "blanket_dt", to=7),
        "a step that is infinite": entry(DENOISER, "train", "blanket_dt", to=float("inf")),
        "an unknown noise schedule": entry(DENOISER, "train", "noise_schedule", to="stairs"),
        "noise levels in the wrong order": entry(DENOISER, "train", "sigma_min", to=1e9),
        "a noise level of training that is null": entry(DENOISER, "train", "sigma_max", to=None),
        "no section of the training": entry(DENOISER, "train", to=None),
    },
)
CHECKPOINTS = refused(
    ModelError,
    {
        "a checkpoint that is empty": content(WEIGHTS, b""),
        "a checkpoint that is noise": content(WEIGHTS, b"\x93" * 500),
        "a checkpoint that is cut": cut,
        "a checkpoint that is a list": tensors(WEIGHTS, lambda t: [*t.values()]),
        "a checkpoint that is one tensor": tensors(WEIGHTS, lambda t: t[first(t)]),
        "a checkpoint with numbers among tensors": tensors(WEIGHTS, lambda t: t | {"epoch": 5}),
        "a checkpoint with other Python objects": tensors(WEIGHTS, lambda t: t | {"path": Path("x")}),
        "a tensor that is missing": tensors(WEIGHTS, lambda t: {k: v for k, v in t.items() if k != first(t)}),
        "a tensor too many": tensors(WEIGHTS, lambda t: t | {"more": torch.zeros(3)}),
        "a tensor of another shape": tensors(WEIGHTS, lambda t: t | {first(t): t[first(t)][:-1]}),
        "a tensor of whole numbers": tensors(WEIGHTS, lambda t: t | {first(t): t[first(t)].to(torch.int64)}),
        "a tensor of complex numbers": tensors(WEIGHTS, lambda t: t | {first(t): t[first(t)].to(torch.complex64)}),
        "a tensor that is sparse": tensors(WEIGHTS, lambda t: t | {first(t): t[first(t)].to_sparse()}),
        "a tensor that is not finite": tensors(WEIGHTS, lambda t: t | {first(t): t[first(t)] * torch.nan}),
        "statistics of latents without a mean": tensors(LATENTS, lambda t: {"std": t["std"]}),
        "statistics of latents of another size": tensors(LATENTS, lambda t: t | {"mean": t["mean"][:-1]}),
        "deviations of latents that are 0": tensors(LATENTS, lambda t: t | {"std": 0 * t["std"]}),
        "means of latents that are not finite": tensors(LATENTS, lambda t: t | {"mean": t["mean"] * torch.nan}),
        "no statistics of latents": content(LATENTS, None),
        "`checkpoint=` that is not there": lambda p: load(p.project(), checkpoint="first"),
    },
)


def store(change: Callable[[xr.Dataset], xr.Dataset]) -> Act:
    """Other statistics."""

    def act(places: Places) -> None:
        project = places.project()
        old = project / "data/stats_any.zarr"
        ds = change(xr.open_zarr(old, consolidated=False).load())
        shutil.rmtree(old)
        ds.drop_encoding().to_zarr(old, consolidated=False, zarr_format=2)
        load(project)

    return act


def in_store(file: str, text: bytes | None, of: str = "stats_any.zarr") -> Act:
    return content(Path("data") / of / file, text)


def masks(change: Callable[[xr.Dataset], xr.Dataset]) -> Act:
    """Another mask of the sea."""

    def act(places: Places) -> None:
        project = places.project()
        old = project / "data/masks_any.zarr"
        ds = change(xr.open_zarr(old, consolidated=False).load())
        shutil.rmtree(old)
        ds.drop_encoding().to_zarr(old, consolidated=False)
        load(project)

    return act


def without_store(places: Places) -> None:
    project = places.project()
    shutil.rmtree(project / "data/stats_any.zarr")
    load(project)


def twice(places: Places) -> None:
    project = places.project()
    shutil.copytree(project / "data/stats_any.zarr", project / "data/other.zarr")
    load(project)


T = "2m_temperature"
STATISTICS = refused(
    ModelError,
    {
        "no store of statistics": without_store,
        "two stores of statistics": twice,
        "`statistics=` that is not there": lambda p: load(p.project(), statistics=p.scratch / "nowhere.zarr"),
        "statistics without a variable": store(lambda ds: ds.drop_vars(T)),
        "statistics without deviations": store(lambda ds: ds.isel(statistic=[0])),
        "statistics without a level": store(lambda ds: ds.sel(level=[lev for lev in ds.level.values if lev != 500])),
        "statistics whose levels are text": store(lambda ds: ds.assign_coords(level=[f"p{k}" for k in range(37)])),
        "a deviation that is 0": store(lambda ds: ds.assign({T: 0 * ds[T]})),
        "a mean that is not finite": store(lambda ds: ds.assign({T: ds[T] * np.nan})),
        "a variable along other dimensions": store(lambda ds: ds.assign({T: ("x", np.ones(3))})),
        "a variable that is text": store(lambda ds: ds.assign({T: ("statistic", ["a", "b"])})),
        "metadata that are no JSON": in_store(f"{T}/.zarray", b"{"),
        "metadata nested without end": in_store(f"{T}/.zarray", b"[" * 100_000),
        "a codec that may run code": in_store(f"{T}/.zarray", json.dumps({"filters": [{"id": "pickle"}]}).encode()),
        "a chunk that is cut": in_store(f"{T}/0", b"\x02"),
        "masks on another grid": masks(lambda ds: ds.assign_coords(latitude=ds.latitude / 2)),
        "masks of another size": masks(lambda ds: ds.isel(latitude=slice(0, 3))),
        "masks along other dimensions": masks(lambda ds: ds.rename(latitude="y")),
    },
)
RECORD = {
    "format": 1, "name": "m", "repository": "a/b", "revision": "f" * 40, "asked": "main", "licence": "", "chosen": {},
    "choice": {}, "files": {"denoiser": [{"path": "a.pth", "size": 3, "kind": "sha256", "digest": "0" * 64}]},
}  # fmt: skip


def lock(record: Any) -> Act:
    """A lock file with these contents."""

    def act(places: Places) -> None:
        text = record if isinstance(record, bytes) else json.dumps(record).encode()
        (places.scratch / NAME).write_bytes(text)
        read_lock(places.scratch)

    return act


def a_folder(places: Places) -> None:
    (places.scratch / NAME).mkdir()
    read_lock(places.scratch)


def of_file(key: str, to: Any) -> Act:
    return lock(changed(RECORD, "files", "denoiser", 0, key, to=to))


LOCKS = refused(
    ModelError,
    {
        "a lock file that is empty": lock(b""),
        "a lock file that is no text": lock(b"\xff\xfe{"),
        "a lock file nested without end": lock(b"[" * 100_000),
        "a lock file that is a folder": a_folder,
        "a lock file that is a list": lock([]),
        "a lock file of a later format": lock(RECORD | {"format": 2}),
        "an entry that is missing": lock({k: v for k, v in RECORD.items() if k != "revision"}),
        "an entry too many": lock(RECORD | {"more": 1}),
        "a revision that is a number": lock(RECORD | {"revision": 5}),
        "a choice that is a list": lock(RECORD | {"choice": ["last"]}),
        "a choice that is a number": lock(RECORD | {"choice": {"weights": 5}}),
        "files that are a list": lock(RECORD | {"files": []}),
        "files that are numbers": lock(RECORD | {"files": {"denoiser": [5]}}),
        "a path out of the folder": of_file("path", "../a.pth"),
        "a path that is a number": of_file("path", 5),
        "a negative size": of_file("size", -1),
        "a size that is a truth value": of_file("size", True),
        "a size that is text": of_file("size", "3"),
        "an unknown kind of hash": of_file("kind", "md5"),
        "a kind of hash that is a list": of_file("kind", ["sha256"]),
        "a hash that is cut": of_file("digest", "0" * 10),
        "a hash that is null": of_file("digest", None),
    },
)


def dump(change: Callable[[xr.Dataset], xr.Dataset], read: int | None = 0) -> Act:
    """A dump of latents that is changed, and read."""

    def act(places: Places) -> None:
        dates = np.array([[2018, 11, 2, hour] for hour in range(6)], "i4")
        latents = np.ones((6, 4, 2), "f4")
        ds = xr.Dataset({"latents": (("n", "token", "channel"), latents), "dates": (("n", "part"), dates)})
        change(ds).to_netcdf(places.scratch / "dump.h5", engine="netcdf4")
        windows(places.scratch / "dump.h5")[read]

    return act


def windows(file: Path, **options: Any) -> LatentWindows:
    return LatentWindows(file, ChannelLatents(np.zeros(2, "f4"), np.ones(2, "f4"), 0.0), 3, **options)


def noise(places: Places) -> None:
    (places.scratch / "dump.h5").write_bytes(b"\x93" * 500)
    windows(places.scratch / "dump.h5")


def dated(*date: int) -> Act:
    return dump(lambda ds: ds.assign(dates=ds.dates * 0 + xr.DataArray(np.array(date, "i4"), dims="part")))


DUMPS = refused(
    ModelError,
    {
        "a dump that is not there": lambda p: windows(p.scratch / "nowhere.h5"),
        "a dump that is noise": noise,
        "a dump without latents": dump(lambda ds: ds.drop_vars("latents")),
        "a dump without dates": dump(lambda ds: ds.drop_vars("dates")),
        "a dump of nothing": dump(lambda ds: ds.isel(n=slice(0, 0))),
        "dates of three numbers": dump(lambda ds: ds.isel(part=slice(0, 3))),
        "dates that are text": dump(lambda ds: ds.assign(dates=("n", ["a"] * 6))),
        "a month that does not exist": dated(2018, 13, 1, 0),
        "a day that does not exist": dated(2018, 2, 30, 0),
        "an hour that does not exist": dated(2018, 2, 1, 24),
        "latents that are not finite": dump(lambda ds: ds.assign(latents=ds.latents * np.nan)),
        "latents along two dimensions": dump(lambda ds: ds.isel(token=0)),
        "latents of another number of channels": dump(lambda ds: ds.isel(channel=[0, 0, 0])),
    },
)
TABLES: list[Table] = [
    ("Configurations of official runs", CONFIGURATIONS),
    ("Checkpoints of official runs", CHECKPOINTS),
    ("Statistics of official runs", STATISTICS),
    ("Lock files of fetched weights", LOCKS),
    ("Dumps of latents", DUMPS),
]
