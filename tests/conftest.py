"""Shared fixtures: where real data lie, and a seeded generator."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

import xappa

if TYPE_CHECKING:
    from tests.official import ResultRow

# Timings are never asserted, and a busy machine is no counterexample.
settings.register_profile("xappa", deadline=None)
settings.load_profile("xappa")


def pytest_configure(config: pytest.Config) -> None:
    """Let processes take files in the order in which they are collected: pytest-xdist would begin with many tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no process is left with one of them when the others are done."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


def pytest_collection_finish() -> None:
    """Spare what is there by now from all later searches for cycles, of which every sampling makes one."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a file or folder of the test data; the test is skipped, with the reason, where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("XAPPA_TEST_DATA", default))

    def find(path: str) -> Path:
        if not (root / path).exists():
            pytest.skip(f"{path} is not in the test data (set XAPPA_TEST_DATA to the folder that holds it)")
        return root / path

    return find


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Latents of earlier sessions play no part, and none are left behind; processes that tests start inherit this."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAPPA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def nothing_on_disk() -> Iterator[None]:
    """Latents are kept in memory alone, so that tests can count what is sampled."""
    from xappa.sampling import sampling_tasks

    sampling_tasks._CACHE.clear()
    with xappa.set_options(latent_cache={"disk": 0}):
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded generator of the test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def check_recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[ResultRow]]:
    """What comes of a folder of outputs of the official code; several files ask, and whichever is first computes it."""
    from filelock import FileLock

    from tests.official import run

    base = tmp_path_factory.getbasetemp()
    # Processes of pytest-xdist each have a folder of their own in that of the session.
    kept = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "recorded"
    kept.mkdir(exist_ok=True)

    def check(folder: Path) -> list[ResultRow]:
        file = kept / hashlib.sha256(str(folder).encode()).hexdigest()
        with FileLock(f"{file}.lock"):
            if not file.exists():
                file.write_bytes(pickle.dumps(list(run(folder))))
            return pickle.loads(file.read_bytes())

    return check


@pytest.fixture(scope="session")
def tiny_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working folder of a model trained on the tiny nature run; the model lies in ``model``."""
    import torch

    from tests import tiny
    from xappa.training import commands
    from xappa.training.config import read_config

    folder = tiny.write_nature_run(tmp_path_factory.mktemp("work"))
    (folder / "recipe.toml").write_text(tiny.RECIPE)
    recipe = read_config(folder / "recipe.toml")
    commands.train_autoencoder(recipe, folder, torch.device("cpu"))
    commands.train_denoiser(recipe, folder, torch.device("cpu"))
    commands.package(recipe, folder, folder / "model")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_work: Path) -> Path:
    """Model directory of the tiny model."""
    return tiny_work / "model"


@pytest.fixture(scope="session")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Store of an analysis of the tiny model that was written without interruption; tests only read it."""
    from tests.stores import analysis

    return xappa.to_zarr(analysis(tiny_model), tmp_path_factory.mktemp("store") / "a.zarr", chunks={"time": 4})
