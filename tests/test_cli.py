"""The command line: what each command calls, what it prints, how it fails."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import xappa
from xappa.cli import TRAIN_STEPS, main
from xappa.errors import ObservationError


@pytest.fixture
def calls(monkeypatch):
    """Puts functions that record their calls in place of those that a command calls."""
    seen = []

    def stand_in(module, *names, result="a table"):
        home = ModuleType(module)
        for name in names:
            setattr(home, name, lambda *args, _name=name, **kwargs: seen.append((_name, args, kwargs)) or result)
        monkeypatch.setitem(sys.modules, module, home)
        parent, _, child = module.rpartition(".")
        monkeypatch.setattr(import_module(parent), child, home, raising=False)

    stand_in.seen = seen
    return stand_in


def test_demo(calls, capsys):
    calls("xappa.demo", "run_demo")
    assert main(["demo", "--out", "there", "--members", "4"]) == 0
    assert calls.seen == [("run_demo", (Path("there"),), {"members": 4, "seed": 0, "overwrite": False})]
    assert capsys.readouterr().out == "a table\n"


def test_assimilate(calls, capsys):
    calls("xappa.tasks.analyse_reports", "assimilate_reports")
    words = "assimilate a.bufr b.csv --times 2018-11-02T06 2018-11-02T12 --members 3 --withhold 0.15 --model speedy"
    more = "--operator nearest --stations s.txt t.txt --variables t2m --superobs none --steps 8"
    assert main([*words.split(), "--seed", "7", "--error", "synop", "--out", "analysis.zarr", *more.split()]) == 0
    options = {
        "operator": "nearest",
        "stations": [Path("s.txt"), Path("t.txt")],
        "variables": ["t2m"],
        "superobs": "none",
        "steps": 8,
        "members": 3,
        "withhold_fraction": 0.15,
        "model": "speedy",
        "error": "synop",
        "seed": 7,
        "out": Path("analysis.zarr"),
        "overwrite": False,
    }
    expected = ([Path("a.bufr"), Path("b.csv")], "2018-11-02T06", "2018-11-02T12")
    assert calls.seen == [("assimilate_reports", expected, options)]
    assert capsys.readouterr().out == "a table\n"


@pytest.mark.parametrize(("command", "what"), [("demo", "run_demo"), ("assimilate a.csv --times 2018-11-02", None)])
def test_a_store_is_replaced_where_the_command_says_so(calls, command, what):
    home, name = ("xappa.demo", what) if what else ("xappa.tasks.analyse_reports", "assimilate_reports")
    calls(home, name)
    assert main([*command.split(), "--overwrite"]) == 0
    assert calls.seen[0][2]["overwrite"] is True


def test_one_time_is_first_and_last(calls):
    calls("xappa.tasks.analyse_reports", "assimilate_reports")
    assert main(["assimilate", "a.bufr", "--times", "2018-11-02T12"]) == 0
    ((_, args, options),) = calls.seen
    assert args[1:] == ("2018-11-02T12", "2018-11-02T12")
    unset = ("operator", "stations", "variables", "steps", "model", "error", "out")
    rest = {"superobs": "auto", "members": 8, "withhold_fraction": 0.0, "seed": 0, "overwrite": False}
    assert options == dict.fromkeys(unset) | rest


def test_three_times_are_refused(capsys):
    assert main(["assimilate", "a.bufr", "--times", "1", "2", "3"]) == 2
    assert "found 3: 1 2 3" in capsys.readouterr().err


STEPS = ("simulate", "init_from", "train_autoencoder", "train_denoiser", "finetune", "package")
"""Functions of the steps of ``xappa train``."""


@pytest.mark.parametrize(
    ("words", "name", "options"),
    [
        ("simulate --runs a b --restart r", "simulate", [("a", "b"), Path("r")]),
        ("init-from --model mine", "init_from", ["mine"]),
        ("autoencoder --device cpu", "train_autoencoder", ["cpu"]),
        ("denoiser --device cpu", "train_denoiser", ["cpu"]),
        ("finetune-decoder --device cpu", "finetune", ["cpu"]),
        ("package --out model --scores s.txt", "package", [Path("model"), Path("s.txt")]),
    ],
)
def test_train(calls, capsys, words, name, options):
    calls("xappa.training.commands", *STEPS)
    assert main(["train", *words.split(), "--work", "here"]) == 0
    assert capsys.readouterr().err == ""
    ((called, (recipe, *args), _),) = calls.seen
    assert called == name
    assert [str(a) for a in args] == [str(a) for a in (Path("here"), *options)]
    assert recipe.name == ("speedy.toml" if name == "simulate" else "speedy")


@pytest.mark.filterwarnings("default:'xappa train:FutureWarning")
@pytest.mark.parametrize(
    ("old", "new", "options", "name"),
    [
        ("adopt", "init-from", ["--model", "mine"], "init_from"),
        ("rehearse", "finetune-decoder", ["--device", "cpu"], "finetune"),
    ],
)
def test_old_names_of_steps_do_the_same_and_say_the_new_one(calls, capsys, old, new, options, name):
    calls("xappa.training.commands", *STEPS)
    assert main(["train", new, *options]) == main(["train", old, *options]) == 0
    assert calls.seen[0] == calls.seen[1] and calls.seen[0][0] == name
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"xappa train: warning: 'xappa train {old}' is now 'xappa train {new}'")


def test_old_names_of_steps_are_not_listed(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    listed = capsys.readouterr().out
    assert all(step in listed for step in TRAIN_STEPS)
    assert not re.search(r"\b(adopt|rehearse)\b", listed)


def test_train_reads_the_recipe_it_is_given(calls, tmp_path):
    calls("xappa.training.commands", "package")
    (tmp_path / "mine.toml").write_text("name = 'mine'")
    assert main(["train", "package", "--config", str(tmp_path / "mine.toml"), "--out", "model"]) == 0
    assert calls.seen[0][1][0].name == "mine"


def test_a_file_that_is_not_there(calls, capsys):
    calls("xappa.training.commands", "package")
    assert main(["train", "package", "--config", "nowhere.toml", "--out", "model"]) == 2
    assert "nowhere.toml" in capsys.readouterr().err


def test_models(capsys):
    assert main(["models"]) == 0
    assert "speedy" in capsys.readouterr().out.split()


def failing(*args, **kwargs):
    raise ObservationError("No observation within the times; found none, expected some.")


def test_errors_are_one_message_without_a_traceback(calls, capsys):
    calls("xappa.demo", "run_demo")
    sys.modules["xappa.demo"].run_demo = failing
    assert main(["demo"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "xappa demo: No observation within the times; found none, expected some.\n"


def test_debug_shows_the_traceback(calls):
    calls("xappa.demo", "run_demo")
    sys.modules["xappa.demo"].run_demo = failing
    with pytest.raises(ObservationError):
        main(["demo", "--debug"])


def test_interruption(calls, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    calls("xappa.demo", "run_demo")
    sys.modules["xappa.demo"].run_demo = interrupted
    assert main(["demo"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys):
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert all(command in listed for command in ("demo", "assimilate", "models", "train"))


def test_the_version_needs_no_torch():
    code = (
        "import atexit, sys; from xappa.cli import TRAIN_STEPS, main;"
        "atexit.register(lambda: print('torch' in sys.modules)); main(['--version'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == [f"xappa {xappa.__version__}", "False"]
