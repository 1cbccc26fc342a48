"""Session options: set, restored, refused."""

from __future__ import annotations

import re
from pathlib import Path

import pooch
import pytest

import xappa
from xappa import samplers
from xappa.errors import OptionError
from xappa.options import LatentCache, Options, get_cache_folder
from xappa.tasks.planning import list_member_numbers


@pytest.fixture(autouse=True)
def defaults():
    with xappa.set_options(**vars(Options())):
        yield


def test_a_call_lasts_and_a_block_ends():
    xappa.set_options(default_model="other")
    assert xappa.get_options().default_model == "other"
    with xappa.set_options(default_model="another", progress=False):
        assert xappa.get_options() == Options(default_model="another", progress=False)
    assert xappa.get_options() == Options(default_model="other")


def test_a_block_restores_only_what_it_set():
    with xappa.set_options(progress=False):
        xappa.set_options(latent_cache={"memory": 5})
    assert xappa.get_options() == Options(latent_cache=LatentCache(memory=5, disk=20e9))


def test_a_block_that_fails_restores():
    with pytest.raises(RuntimeError), xappa.set_options(progress=True):
        raise RuntimeError
    assert xappa.get_options().progress is None


def test_unknown_options_are_answered_with_the_valid_ones():
    with pytest.raises(OptionError) as caught:
        xappa.set_options(progres=False, default_model="other")
    text = str(caught.value)
    assert "'progres'" in text
    assert "did you mean 'progress'" in text
    assert all(f"'{name}'" in text for name in vars(Options()))
    assert xappa.get_options() == Options()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("progress", "yes"),
        ("cache_dir", 3),
        ("latent_cache", {"memory": -1}),
        ("latent_cache", {"disk": float("nan")}),
        ("latent_cache", {"memory": "2 GB"}),
        ("latent_cache", {"memoyr": 1}),
        ("latent_cache", {"folder": 3}),
        ("latent_cache", 2e9),
        ("default_model", None),
        ("default_model", ""),
        ("dress", 1),
        ("reader_timeout", 0),
        ("reader_timeout", None),
        ("reader_timeout", float("nan")),
        ("reader_memory", -1.0),
        ("reader_memory", "2 GB"),
        ("isolate_readers", "yes"),
    ],
)
def test_values_that_are_not_valid(name, value):
    with pytest.raises(OptionError, match=name):
        xappa.set_options(**{name: value})
    assert xappa.get_options() == Options()


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(OptionError, match=r"progress='yes'.*cache_dir=3"):
        xappa.set_options(progress="yes", cache_dir=3)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("XAPPA_CACHE", raising=False)
    assert get_cache_folder() == Path(pooch.os_cache("xappa"))
    monkeypatch.setenv("XAPPA_CACHE", str(tmp_path / "environment"))
    assert get_cache_folder() == tmp_path / "environment"
    with xappa.set_options(cache_dir=tmp_path / "option"):
        assert get_cache_folder() == tmp_path / "option"


@pytest.mark.parametrize("device", ["tpu9", "cuda:99", 1.5])
def test_a_device_that_is_not_there(device):
    with pytest.raises(OptionError, match=re.escape(f"device={device!r}")):
        xappa.load("speedy", device=device)


@pytest.mark.parametrize("members", [10**6, range(10**6), iter(range(10**6))], ids=["number", "range", "iterator"])
def test_more_members_than_a_call_can_hold_are_refused(members: object) -> None:
    with pytest.raises(OptionError, match="more than 100000"):
        list_member_numbers(members)  # type: ignore[arg-type]


def test_more_steps_than_noise_levels_are_refused() -> None:
    with pytest.raises(OptionError, match="steps=1000000000, expected at least 1 and at most"):
        samplers.DPM(steps=10**9)
