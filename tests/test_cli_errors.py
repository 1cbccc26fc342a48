"""Every argument of every command with what is wrong for it: one line on stderr, exit code 2, and nothing is left."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import tiny
from tests.official_project import Project
from xappa import cli
from xappa.cli_errors import one_line

WRONG: dict[str, list[str]] = {
    "reports": ["{missing}", "{folder}", "{noise}", "{empty}", "{pipe}"],
    "table": ["{missing}", "{folder}", "{noise}", "{empty}"],
    "recipe": ["{missing}", "{folder}", "{noise}", "{empty}", "{text}"],
    "file": ["{missing}", "{folder}"],
    "model": ["nonsense", "", "{missing}", "{folder}", "{noise}", "{noise}.pth"],
    "model folder": ["{missing}", "{folder}", "{noise}", "{broken}"],
    "run": ["{missing}", "{folder}", "{noise}", "{noise}.pth", "{broken}"],
    "store of statistics": ["{missing}", "{folder}", "{noise}"],
    "output": ["{noise}/out", "{noise}", "{folder}/\0", "/dev/null/out"],
    "work": ["{missing}", "{folder}", "{noise}", "{work}"],
    "time": ["noon", "", "2001-13-01", "1e9", "0001-01-01"],
    "count": ["0", "-1", "x", "1.5", "nan", ""],
    "seed": ["-1", "x", "1.5", "99999999999999999999999"],
    "share": ["-0.1", "1", "1.5", "nan", "inf", "x", ""],
    "operator": ["nonsense", "", "{missing}.py:f", "{text}.py:f", "{noise}.py:f", "{folder}", "{text}.py"],
    "names": ["nonsense", ""],
    "degrees": ["0", "-1", "nan", "inf", "x", "", "200"],
    "errors": ["nonsense", ""],
    "dtype": ["float8", ""],
    "checkpoint": ["first", ""],
    "device": ["nonsense", "", "cuda:99", "cpu:x"],
}
"""What is tried, by what an argument is for."""

PURPOSE = {
    "assimilate source": "reports", "assimilate --times": "time", "assimilate --members": "count",
    "assimilate --withhold": "share", "assimilate --operator": "operator", "assimilate --stations": "table",
    "assimilate --variables": "names", "assimilate --superobs": "degrees", "assimilate --steps": "count",
    "assimilate --model": "model", "assimilate --seed": "seed", "assimilate --error": "errors",
    "assimilate --out": "output", "demo --out": "output", "demo --members": "count", "demo --seed": "seed",
    "models hash folder": "model folder", "convert source": "run", "convert out": "output",
    "convert --dtype": "dtype", "convert --checkpoint": "checkpoint", "convert --statistics": "store of statistics",
    "train simulate --config": "recipe", "train simulate --work": "output", "train simulate --runs": "names",
    "train simulate --restart": "file", "train adopt --config": "recipe", "train adopt --work": "output",
    "train adopt --model": "model", "train package --config": "recipe", "train package --work": "work",
    "train package --out": "output", "train package --scores": "file",
} | {
    f"train {step} {option}": purpose
    for step in ("autoencoder", "denoiser", "rehearse")
    for option, purpose in (("--config", "recipe"), ("--work", "work"), ("--device", "device"))
}  # fmt: skip
"""What each argument is for."""

GOOD = {
    "demo": {"--out": "{scratch}/demo"},
    "assimilate": {"source": "{reports}", "--times": "2001-03-13T00", "--model": "{model}", "--members": "2"},
    "models": {},
    "models hash": {"folder": "{model}"},
    "convert": {"source": "{project}", "out": "{scratch}/converted"},
    "train simulate": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train adopt": {"--config": "{recipe}", "--work": "{scratch}/work", "--model": "{model}"},
    "train autoencoder": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train denoiser": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train rehearse": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train package": {"--config": "{recipe}", "--work": "{scratch}/work", "--out": "{scratch}/model"},
}
"""Arguments that would be right."""


def commands(parser: argparse.ArgumentParser | None = None, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each command with its arguments; options by their long name."""
    parser = parser or cli.parser()
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if name and not (below and below[0].required):
        own = [a for a in parser._actions if a.nargs != 0 and a not in below]
        yield name, [a.option_strings[-1] if a.option_strings else a.dest for a in own]
    for action in below:
        for word, inner in action.choices.items():
            yield from commands(inner, f"{name} {word}".strip())


COMMANDS = dict(commands())
CASES = [
    pytest.param(command, argument, value, id=f"{command} {argument}={value!r}")
    for command, arguments in COMMANDS.items()
    for argument in arguments
    for value in WRONG[PURPOSE[f"{command} {argument}"]]
]


def words(command: str, arguments: dict[str, str], places: dict[str, str]) -> list[str]:
    """The command line."""
    filled = {key: value.format(**places) for key, value in arguments.items()}
    options = [f"{key}={value}" for key, value in filled.items() if key.startswith("--")]
    return [*command.split(), *options, "--", *(value for key, value in filled.items() if not key.startswith("--"))]


@pytest.fixture(scope="module")
def fixed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Things that are right, and that are wrong, by name."""
    root = tmp_path_factory.mktemp("cli")
    Project().write(root / "project")
    shutil.copytree(tiny_model, root / "model")
    (root / "recipe.toml").write_text(tiny.RECIPE)
    table = {"time": "2001-03-13T00", "lat": [10.0, 20.0], "lon": 5.0, "2m_temperature": [287.0, 288.0]}
    pd.DataFrame(table).to_csv(root / "reports.csv", index=False)
    noise = np.random.default_rng(0).bytes(300)
    for name in ("noise", "noise.pth", "noise.py"):
        (root / name).write_bytes(noise)
    for name in ("text", "text.py"):
        (root / name).write_text("this is = no program, and = no recipe\n")
    (root / "empty").touch()
    os.mkfifo(root / "pipe")
    for folder in ("folder", "broken", "work"):
        (root / folder).mkdir()
    (root / "broken" / "model.json").write_bytes(noise)
    (root / "broken" / "config.yaml").write_bytes(noise)
    (root / "work" / "data").mkdir()
    (root / "work" / "data" / "record.json").write_bytes(noise)
    right = {"recipe": "recipe.toml", "reports": "reports.csv", "model": "model", "project": "project"}
    wrong = ("noise", "text", "empty", "pipe", "folder", "broken", "work", "missing")
    return {name: str(root / file) for name, file in (right | dict(zip(wrong, wrong, strict=True))).items()}


@pytest.fixture
def places(fixed: dict[str, str], tmp_path: Path) -> dict[str, str]:
    return fixed | {"scratch": str(tmp_path)}


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """What waits for anything is a fault; nothing of this file takes a tenth of that."""

    def strike(*_: object) -> None:
        raise TimeoutError("the command waits")

    before = signal.signal(signal.SIGALRM, strike)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        code = cli.main(argv)
    except SystemExit as stopped:
        code = stopped.code
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(("command", "argument", "value"), CASES)
def test_a_wrong_value_is_one_line_and_exit_code_2(command, argument, value, places, tmp_path, capsys):
    code, out, err = run(words(command, GOOD[command] | {argument: value}, places), capsys)
    *warned, line = err.splitlines()
    assert (code, out) == (2, "")
    assert line.startswith(f"xappa {command.split()[0]}") and len(line) > 40
    assert all(": warning: " in other for other in warned)
