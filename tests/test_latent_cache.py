"""Latents that are kept: in memory, then on disk, each with a limit."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import xappa
from xappa.array_files import FileCache, pack_arrays, unpack_arrays
from xappa.sampling.latent_cache import LatentCache
from xappa.sampling.sampled import SamplingResult


@dataclass(frozen=True, eq=False)
class Value:
    data: np.ndarray

    @property
    def nbytes(self) -> int:
        return self.data.nbytes

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {"data": self.data}


def restored(arrays) -> Value:
    return Value(arrays["data"])


def value(number: float, size: int = 1000) -> Value:
    return Value(np.full(size, number, "f4"))


@pytest.fixture
def folder(tmp_path: Path):
    with xappa.set_options(latent_cache={"memory": 10_000, "disk": 30_000, "folder": tmp_path / "latents"}):
        yield tmp_path / "latents"


class Counting:
    def __init__(self) -> None:
        self.made: list[str] = []
        self.cache: LatentCache[Value] = LatentCache()

    def get(self, key: str, number: float = 0.0) -> Value:
        def make() -> Value:
            self.made.append(key)
            return value(number)

        return self.cache.get(key, make, restored)


def test_what_was_used_longest_ago_goes_to_disk_and_comes_back(folder) -> None:
    found = Counting()
    for key in "ab":
        found.get(key, ord(key))
    assert not folder.exists(), "nothing is written while memory lasts"
    found.get("a")
    found.get("c")  # 12,000 bytes: b goes
    assert len(list(folder.glob("*.npz"))) == 1
    assert found.made == ["a", "b", "c"]
    np.testing.assert_array_equal(found.get("b").data, value(ord("b")).data)
    assert found.made == ["a", "b", "c"]


def test_the_disk_has_a_limit(folder) -> None:
    found = Counting()
    for number in range(20):
        found.get(f"{number}")
        time.sleep(0.002)
    files = list(folder.glob("*"))
    assert sum(file.stat().st_size for file in files) <= 30_000
    assert 5 <= len(files) <= 7
    found.get("0")
    assert found.made[-1] == "0", "the oldest was removed, and is made again"
    found.get("19")
    assert found.made[-1] == "0"


def test_a_number_of_values_in_memory(folder) -> None:
    found = Counting()
    for key in "abc":
        found.cache.get(key, lambda key=key: value(ord(key)), restored, most=2)
    assert [key in found.cache for key in "abc"] == [False, True, True]
    assert len(list(folder.glob("*.npz"))) == 1


def test_what_is_sent_to_disk_leaves_memory(folder) -> None:
    found = Counting()
    found.get("a", 3.0)
    found.cache.spill("a")
    found.cache.spill("never made")
    assert "a" not in found.cache
    np.testing.assert_array_equal(found.get("a").data, value(3.0).data)
    assert found.made == ["a"]


def test_another_session_finds_what_is_on_disk(folder) -> None:
    with xappa.set_options(latent_cache={"memory": 0, "disk": 30_000, "folder": folder}):
        Counting().get("a", 3.0)
        again = Counting()
        np.testing.assert_array_equal(again.get("a").data, value(3.0).data)
        assert again.made == []


@pytest.mark.parametrize("damage", [b"", b"PK", b"other"])
def test_damaged_files_are_made_again(folder, damage) -> None:
    with xappa.set_options(latent_cache={"memory": 0, "disk": 30_000, "folder": folder}):
        found = Counting()
        found.get("a", 3.0)
        (file,) = folder.glob("*.npz")
        file.write_bytes(file.read_bytes()[:-400] + damage)
        np.testing.assert_array_equal(found.get("a", 3.0).data, value(3.0).data)
        assert found.made == ["a", "a"]


def test_one_flipped_bit_is_noticed(folder) -> None:
    shelf = FileCache(folder)
    shelf.write("a", {"data": np.arange(100.0)})
    file = shelf.get_path("a")
    content = bytearray(file.read_bytes())
    content[300] ^= 1
    file.write_bytes(content)
    assert shelf.read("a") is None


def test_no_disk_and_no_permission(folder, tmp_path, caplog) -> None:
    with xappa.set_options(latent_cache={"memory": 0, "disk": 0, "folder": folder}):
        found = Counting()
        found.get("a")
        found.get("a")
        assert found.made == ["a", "a"]
        assert not folder.exists()
    (tmp_path / "file").write_text("")
    assert not FileCache(tmp_path / "file" / "below").write("a", {"data": np.zeros(3)})
    assert "cannot be kept" in caplog.text


def test_what_is_asked_for_twice_at_once_is_made_once(folder) -> None:
    cache: LatentCache[Value] = LatentCache()
    made = []

    def make() -> Value:
        made.append(1)
        time.sleep(0.1)
        return value(1.0)

    threads = [threading.Thread(target=cache.get, args=("a", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


def test_an_error_is_not_kept(folder) -> None:
    cache: LatentCache[Value] = LatentCache()

    def fail() -> Value:
        raise RuntimeError("once")

    with pytest.raises(RuntimeError, match="once"):
        cache.get("a", fail)
    assert cache.get("a", lambda: value(1.0)).data[0] == 1


def test_sampled_latents_survive_storing() -> None:
    learned = {"sigma": np.arange(3.0), "seconds": np.array(1.5), "variables": np.array(["2m_temperature"])}
    one = SamplingResult((3, 5), np.random.default_rng(0).standard_normal((2, 4, 3, 2, 1)).astype("f4"), learned)
    content = pack_arrays(one.to_arrays())
    assert content == pack_arrays(one.to_arrays()), "the same bytes each time"
    two = SamplingResult.from_arrays(unpack_arrays(content))
    assert two.members == (3, 5)
    np.testing.assert_array_equal(one.latents, two.latents)
    assert set(two.diagnostics) == set(learned)
    assert all(np.array_equal(two.diagnostics[k], v) for k, v in learned.items())
