"""The fuzzer itself: what is counted as what, that it repeats, and that each target reads its own valid inputs."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.fuzz.__main__ import main
from tests.fuzz.mutators import mutate_bytes, mutate_text, mutate_tree
from tests.fuzz.oracle import absurd_reports
from tests.fuzz.outcomes import OUTCOMES, Outcome, draw
from tests.fuzz.report import counts, failed, faults, table
from tests.fuzz.target import Target, registry
from tests.fuzz.workers import Limits, run
from xappa.errors import ObservationError


def _seeds(folder: Path) -> list[str]:
    return [*OUTCOMES]


def _mutate(seed: str, rng: random.Random, folder: Path) -> str:
    return seed


def _read(kind: str) -> str:
    if kind == "refused":
        raise ObservationError("refused")
    if kind == "raw":
        raise IndexError("raw")
    if kind == "hang":
        time.sleep(60)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "remarked":
        warnings.warn("a remark", stacklevel=2)
    return kind


def _absurd(kind: str) -> list[str]:
    return ["beyond its range"] if kind == "absurd" else []


def _nothing(kind: str) -> bool:
    return False


FAKE = Target("fake", _seeds, _mutate, _read, _absurd, _nothing)


def test_every_outcome_is_counted_as_what_it_is():
    found = run([FAKE], 16, seed=0, limits=Limits(seconds=2.0))
    expected = [draw(FAKE, _seeds(Path()), 0, index, Path()) for index in range(16)]
    assert set(expected) == set(OUTCOMES)
    assert [outcome.kind for outcome in found["fake"]] == expected
    assert [outcome.index for outcome in found["fake"]] == [*range(16)]
    assert failed(found) and "IndexError in tests/test_fuzz.py" in table(found)


def test_faults_are_grouped_and_known_ones_of_libraries_are_none():
    known = [Outcome(0, "crash", "exit -11 in gribapi gribapi.py line 9 in grib_new_from_message"), Outcome(1, "read")]
    assert not failed({"bufr": known}) and counts({"bufr": known}) == {"bufr": {"known": 1, "read": 1}}
    assert failed({"csv": known})  # of another format it would be new
    twice = {"csv": [Outcome(k, "raw", "KeyError in a.py:1 f") for k in range(7)]}
    (group,) = faults(twice)
    assert (group["count"], group["first"]) == (7, [0, 1, 2, 3, 4])


@pytest.mark.parametrize("name", [name for name in registry() if not name.startswith("bufr")])
def test_valid_inputs_are_read_and_mutations_repeat(name, tmp_path):
    target = registry()[name]
    seeds = target.seeds(tmp_path)
    assert len(seeds) > 0
    first, again = (draw(target, seeds, 0, 7, _made(tmp_path / f"case{k}")) for k in range(2))
    assert _contents(first) == _contents(again)


@pytest.mark.filterwarnings("ignore")
def test_valid_tables_have_good_values(tmp_path):
    for name in ("csv", "frame", "dataset"):
        target = registry()[name]
        for k, seed in enumerate(target.seeds(_made(tmp_path / name))):
            source = seed
            if name == "csv":
                source = tmp_path / f"{k}-{seed[0]}"
                source.write_text(seed[1])
            obs = target.read(source)
            assert not target.absurd(obs)
            assert any((obs[flag] == 0).any() for flag in obs.data_vars if str(flag).endswith("_flag"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _contents(damaged: object) -> object:
    if isinstance(damaged, Path):
        files = sorted(damaged.rglob("*")) if damaged.is_dir() else [damaged]
        return [file.read_bytes() for file in files if file.is_file()]
    return str(damaged)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("t2m", 500.0),
        ("t2m", np.inf),
        ("latitude", 91.0),
        ("longitude", np.nan),
        ("time", np.datetime64("1500-01-01", "s")),
    ],
)
def test_the_oracle_sees_absurd_values_that_count_as_good(name, value):
    obs = xr.Dataset(
        {"t2m": ("obs", [280.0, 281.0]), "t2m_flag": ("obs", np.zeros(2, "i1"))},
        {
            "time": ("obs", np.array(["2018-11-02", "2261-12-31"], "datetime64[s]")),
            "latitude": ("obs", [50.0, 51.0]),
            "longitude": ("obs", [5.0, 6.0]),
        },
    ).rename(t2m="2m_temperature", t2m_flag="2m_temperature_flag")
    name = {"t2m": "2m_temperature"}.get(name, name)
    assert absurd_reports(obs) == []
    obs[name][0] = value
    assert len(absurd_reports(obs)) == 1
    obs["2m_temperature_flag"][0] = 1
    assert absurd_reports(obs) == []


def test_mutators_change_most_inputs():
    rng = random.Random(0)
    data, text, tree = bytes(range(200)), "a,b\n1,2.5\n", {"a": [1, 2.0, "x"], "b": {"c": None}}
    assert sum(mutate_bytes(data, rng) != data for _ in range(100)) > 90
    assert sum(mutate_text(text, rng) != text for _ in range(100)) > 80
    assert sum(json.dumps(mutate_tree(tree, rng)) != json.dumps(tree) for _ in range(100)) > 80
    assert tree == {"a": [1, 2.0, "x"], "b": {"c": None}}


def test_one_mutation_can_be_repeated_and_kept(tmp_path, capsys):
    assert main(["--only", "csv:3", "--keep", str(tmp_path / "kept")]) == 0
    assert len([*(tmp_path / "kept").iterdir()]) == 1
    assert capsys.readouterr().out.rstrip().split("\n")[-1].split(":")[0] in OUTCOMES


def test_a_small_run_writes_its_counts(tmp_path, capsys):
    status = main(["--mutations", "20", "--formats", "csv,frame", "--json", str(tmp_path / "found.json")])
    found = json.loads((tmp_path / "found.json").read_text())
    assert status == 0 and found["faults"] == []
    assert {name: sum(by.values()) for name, by in found["counts"].items()} == {"csv": 10, "frame": 10}
    assert "20 mutations" in capsys.readouterr().out


def test_wrong_formats_are_answered_with_the_valid_ones(capsys):
    with pytest.raises(SystemExit):
        main(["--formats", "cvs"])
    assert "expected some of" in capsys.readouterr().err
