"""The lock of a device lies where only its user can write, under a name that nobody else can foretell."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import xappa
from xappa.devices import prepare_lock_file


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    with xappa.set_options(cache_dir=tmp_path):
        yield tmp_path


def test_the_folder_is_the_users_own(cache: Path) -> None:
    assert prepare_lock_file("cuda").parent.stat().st_mode & 0o777 == 0o700


def test_the_name_has_a_random_part(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = prepare_lock_file("cuda").name
    assert re.fullmatch(r"cuda-[0-9a-f]{32}\.lock", first)
    with xappa.set_options(cache_dir=tmp_path_factory.mktemp("other")):
        assert prepare_lock_file("cuda").name != first


def test_threads_and_processes_agree(cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(prepare_lock_file, ["cuda"] * 32))
    code = "import sys, xappa; from xappa.devices import prepare_lock_file; xappa.set_options(cache_dir=sys.argv[1]); "
    run = [sys.executable, "-c", f"{code}print(prepare_lock_file('cuda'))", str(cache)]
    found.add(Path(subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()))
    assert len(found) == 1
    assert [path.name for path in next(iter(found)).parent.iterdir()] == ["token"]
