"""A released model as a hub on this machine has it: its files, which of them are needed, fetching them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import xappa
from tests.hub_server import FakeHub, sha
from xappa.model.fetching import http
from xappa.model.fetching.lock import NAME as LOCK

NAME = "appa-0p25"
FIRST, SECOND = sha("first"), sha("second")
ROOT = Path(__file__).resolve().parents[1]
RUN = "autoencoders/one/0"
DUMP = f"{RUN}/latents/two"
LAP = f"{DUMP}/denoisers/three/4"
WEIGHTS = f"{LAP}/model_last.pth"
AE = b"ae:\n  name: cae_f32c6\npath: !!python/object/apply:pathlib.PosixPath\n- /\n- tmp\n"
VIT = b"backbone:\n  name: vit_tiny\n"
CONFIGS = {f"{RUN}/config.yaml", f"{DUMP}/ae/config.yaml", f"{LAP}/config.yaml"}
QUIET = "ignore:Fetching appa-0p25:UserWarning"


def noise(name: str, size: int) -> bytes:
    return np.random.default_rng(list(name.encode())).bytes(size)


def project() -> dict[str, bytes]:
    """An official project, with all that is not needed beside what is."""
    large = {
        f"{RUN}/model_best.pth": 300_000,
        f"{RUN}/model_last.pth": 300_000,
        f"{DUMP}/ae/model.pth": 300_000,
        f"{DUMP}/stats.pth": 1_800,
        f"{DUMP}/era5.h5": 2_000_000,
        f"{LAP}/model_best.pth": 600_000,
        WEIGHTS: 600_000,
        f"{LAP}/optimizer_last.pth": 600_000,
        "data/era5_1993.zarr/2m_temperature/0.0": 50_000,
        "data/stats_1993.zarr/2m_temperature/0": 24,
        "data/masks_1993.zarr/sea_surface_temperature_mask/0.0": 400,
    }
    small = {
        ".gitattributes": b"*.pth filter=lfs\n",
        "README.md": b"# Weights\n",
        f"{RUN}/config.yaml": AE,
        f"{DUMP}/ae/config.yaml": AE,
        f"{LAP}/config.yaml": VIT,
        f"{LAP}/reanalysis/x/config.yaml": b"experiment: true\n",
        "data/era5_1993.zarr/.zgroup": b"{}",
        "data/era5_1993.zarr/time/.zarray": b"{}",
        "data/era5_1993.zarr/land_sea_mask/.zarray": b"{}",
        "data/stats_1993.zarr/.zgroup": b"{}",
        "data/stats_1993.zarr/statistic/.zarray": b"{}",
        "data/stats_1993.zarr/2m_temperature/.zarray": b"{ }",
        "data/masks_1993.zarr/sea_surface_temperature_mask/.zarray": b"{}",
    }
    return {name: noise(name, size) for name, size in large.items()} | small


NEEDED = {
    "README.md",
    f"{RUN}/config.yaml",
    f"{DUMP}/ae/config.yaml",
    f"{DUMP}/ae/model.pth",
    f"{DUMP}/stats.pth",
    f"{LAP}/config.yaml",
    WEIGHTS,
    *(name for name in project() if "stats_1993.zarr" in name or "masks_1993.zarr" in name),
}


def hub_with_one_commit(monkeypatch, tmp_path):
    """A hub with one commit, an empty cache, and no pauses."""
    hub = FakeHub({FIRST: project()}, {"main": FIRST}).start()
    monkeypatch.setenv("XAPPA_MIRROR", hub.url)
    monkeypatch.setenv("XAPPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(http, "PAUSE", 0.0)
    yield hub
    hub.stop()


def fetch(**options) -> Path:
    return xappa.fetch(NAME, progress=False, **options)


def held(folder: Path) -> set[str]:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in files if name != LOCK and not name.startswith(".xappa")}


def same(folder: Path, contents: dict[str, bytes]) -> bool:
    return all((folder / name).read_bytes() == contents[name] for name in held(folder))


def started(code: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
