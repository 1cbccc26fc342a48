"""Every argument of every command with what is wrong for it: one line on stderr, exit code 2, and nothing is left."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny
from tests.official_project import Project
from xappa import cli
from xappa.cli_errors import join_lines, print_warnings_as_lines
from xappa.errors import ModelError, warn
from xappa.training import commands

WRONG: dict[str, list[str]] = {
    "reports": ["{missing}", "{folder}", "{noise}", "{empty}", "{pipe}"],
    "table": ["{missing}", "{folder}", "{noise}", "{empty}"],
    "recipe": ["{missing}", "{folder}", "{noise}", "{empty}", "{text}"],
    "file": ["{missing}", "{folder}"],
    "model": ["nonsense", "", "{missing}", "{folder}", "{noise}", "{noise}.pth"],
    "model folder": ["{missing}", "{folder}", "{noise}", "{broken}"],
    "run": ["{missing}", "{folder}", "{noise}", "{noise}.pth", "{broken}"],
    "store of statistics": ["{missing}", "{folder}", "{noise}"],
    "output": ["{noise}/out", "{noise}", "/dev/null/out"],
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
    "train simulate --restart": "file", "train init-from --config": "recipe",
    "train init-from --work": "output", "train init-from --model": "model",
    "train package --config": "recipe", "train package --work": "work",
    "train package --out": "output", "train package --scores": "file",
} | {
    f"train {step} {option}": purpose
    for step in ("autoencoder", "denoiser", "finetune-decoder")
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
    "train init-from": {"--config": "{recipe}", "--work": "{scratch}/work", "--model": "{model}"},
    "train autoencoder": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train denoiser": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train finetune-decoder": {"--config": "{recipe}", "--work": "{scratch}/work"},
    "train package": {"--config": "{recipe}", "--work": "{scratch}/work", "--out": "{scratch}/model"},
}
"""Arguments that would be right."""


def all_commands(parser: argparse.ArgumentParser | None = None, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each command with its arguments; options by their long name."""
    parser = parser or cli.build_parser()
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if name and not (below and below[0].required):
        own = [a for a in parser._actions if a.nargs != 0 and a not in below]
        yield name, [a.option_strings[-1] if a.option_strings else a.dest for a in own]
    for action in below:
        for word, inner in action.choices.items():
            if word not in cli.OLD_STEPS:
                yield from all_commands(inner, f"{name} {word}".strip())


COMMANDS = dict(all_commands())
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
    positional = [value for key, value in filled.items() if not key.startswith("--")]
    return [*command.split(), *options, *(["--", *positional] if positional else [])]


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
def places(fixed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    def installed(folder: Path) -> Path:
        raise AssertionError("nothing is installed before all arguments are looked at")

    monkeypatch.setattr(commands, "_simulator_environment", installed)
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


def test_every_argument_is_tried():
    arguments = {f"{command} {argument}" for command, own in COMMANDS.items() for argument in own}
    assert arguments == set(PURPOSE) and set(COMMANDS) == set(GOOD)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_an_argument_that_is_not_known_is_one_line(command, capsys):
    code, out, err = run([*command.split(), "--nonsense"], capsys)
    (line,) = err.splitlines()
    assert (code, out) == (2, "") and line.startswith("xappa") and "--help lists what is expected" in line


@pytest.mark.parametrize("argv", [["assimilate", "nowhere", "--times", "2018-11-02"], ["demo", "--members", "x"], []])
def test_a_process_says_it_in_one_line(argv):
    done = subprocess.run([sys.executable, "-m", "xappa", *argv], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1


def test_a_reader_that_had_enough_is_no_error():
    command = f"set -o pipefail; {sys.executable} -u -m xappa models | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ModelError("two lines:\n  a\n  b"), 2, "xappa demo: two lines: a; b\n"),
        (ModelError("a\tbell\x07 and\x1b[31m"), 2, "xappa demo: a bell\\x07 and\\x1b[31m\n"),
        (PermissionError(13, "Permission denied", "x"), 2, "xappa demo: [Errno 13] Permission denied: 'x'\n"),
        (MemoryError(), 2, "xappa demo: not enough memory; ask for fewer members, or a shorter time\n"),
        (KeyboardInterrupt(), 130, "xappa demo: interrupted\n"),
    ],
)
def test_exit_codes(error, code, said, monkeypatch, capsys):
    failing(monkeypatch, error)
    assert run(["demo"], capsys) == (code, "", said)
    with pytest.raises(type(error)):
        cli.main(["demo", "--debug"])


def test_a_fault_of_the_program_is_told_as_one(monkeypatch, capsys):
    failing(monkeypatch, KeyError("k"))
    code, out, err = run(["demo"], capsys)
    assert code == 1 and len(err.splitlines()) == 1
    assert "internal error: KeyError: 'k'" in err and "test_cli_errors.py:" in err and "--debug" in err


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run_demo(*args: object, **options: object) -> str:
        raise error

    monkeypatch.setattr("xappa.demo.run_demo", run_demo)


def test_a_warning_is_one_line(monkeypatch, capsys):
    def run_demo(*args: object, **options: object) -> str:
        warn("one\nline")
        return "done"

    monkeypatch.setattr("xappa.demo.run_demo", run_demo)
    assert run(["demo"], capsys) == (0, "done\n", "xappa demo: warning: one; line\n")


@given(st.text())
def test_any_text_becomes_one_printable_line(text):
    assert join_lines(text).isprintable() and join_lines(join_lines(text)) == join_lines(text)


def test_deprecations_are_not_for_users_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with print_warnings_as_lines("assimilate"):
        warnings.simplefilter("always")
        warnings.warn("crc32c is deprecated", DeprecationWarning, stacklevel=1)
        warnings.warn("an old name", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == "xappa assimilate: warning: an old name\n"
