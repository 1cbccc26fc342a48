"""The command that checks fixture folders."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from xappa.errors import DatasetError
from xappa.testing import compare, recognise, run
from xappa.testing.__main__ import main


@pytest.fixture
def rope_folder(tmp_path):
    """A fixture folder written here: a rotation by a quarter of a circle."""
    folder = tmp_path / "rope"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    q = torch.tensor([[[[1.0, 2.0]]]])
    turned = torch.tensor([[[[-2.0, 1.0]]]])
    theta = torch.full((1, 1, 1), torch.pi / 2)
    save_file({"q": q, "k": -q, "theta": theta, "q_out": turned, "k_out": -turned}, folder / "io.safetensors")
    return folder


def edit(folder, **changes):
    """Replace tensors of a folder; None removes one."""
    tensors = load_file(folder / "io.safetensors") | changes
    save_file({name: value for name, value in tensors.items() if value is not None}, folder / "io.safetensors")


def test_good_folder(rope_folder, capsys):
    assert main([str(rope_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["rope", "q_out"], ["rope", "k_out"]]
    assert all(line.endswith("ok") for line in lines[:2])
    assert lines[-1].startswith("2 outputs of 1 folders, 0 above tolerance")


def test_corrupted_output_fails(rope_folder, capsys):
    edit(rope_folder, q_out=torch.tensor([[[[-2.0, 1.0001]]]]))
    assert main([str(rope_folder)]) == 1
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith("FAIL")
    assert second.endswith("ok")


def test_nothing_checked_is_a_failure(rope_folder):
    edit(rope_folder, q_out=None, k_out=None)
    assert main([str(rope_folder)]) == 1


def test_check_that_raises_is_a_failing_row(rope_folder, capsys):
    edit(rope_folder, q=torch.zeros(1, 1, 1, 3))
    assert main([str(rope_folder)]) == 1
    assert "RuntimeError" in capsys.readouterr().out


def test_parent_folder_lists_what_is_not_covered(rope_folder, capsys):
    other = rope_folder.parent / "something_else"
    other.mkdir()
    save_file({"x": torch.zeros(1)}, other / "io.safetensors")
    assert main([str(rope_folder.parent)]) == 0
    out = capsys.readouterr().out
    assert "something_else" in out
    assert "not covered" in out


@pytest.mark.parametrize("case", ["absent", "empty", "unknown"])
def test_folder_that_cannot_be_checked(tmp_path, capsys, case):
    folder = tmp_path / "mystery"
    if case != "absent":
        folder.mkdir()
    if case == "unknown":
        save_file({"x": torch.zeros(1)}, folder / "io.safetensors")
    assert main([str(folder)]) == 2
    message = capsys.readouterr().err
    assert "mystery" in message
    assert "expected" in message


def test_run_refuses_unknown_folder(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "io.safetensors")
    with pytest.raises(DatasetError, match="cae, vidit"):
        list(run(tmp_path))


def test_kind_is_known_by_contents_else_by_name(rope_folder):
    moved = rope_folder.rename(rope_folder.parent / "renamed")
    assert recognise(moved) == "rope"
    edit(moved, theta=None)
    assert recognise(moved) is None
    assert recognise(moved.rename(moved.parent / "rope_second")) == "rope"


@pytest.mark.parametrize("name", ["cae_f8_tiny", "vidit_tiny"])
def test_official_folder_under_another_name(shared, tmp_path, capsys, name):
    folder = tmp_path / "copy"
    shutil.copytree(shared(f"fixtures/{name}"), folder)
    assert main([str(folder)]) == 0
    weights = load_file(folder / "weights.safetensors")
    key = next(key for key in weights if key.endswith("ffn.0.weight"))
    weights[key] += 1e-3 * weights[key].norm()
    save_file(weights, folder / "weights.safetensors")
    assert main([str(folder)]) == 1


def test_compare(tmp_path):
    one, nan = torch.tensor([3.0, 4.0]), torch.tensor([3.0, torch.nan])
    assert compare(tmp_path, "x", one, one).error == 0
    assert compare(tmp_path, "x", one + torch.tensor([0.0, 0.5]), one).error == pytest.approx(0.1)
    assert compare(tmp_path, "x", nan, nan).ok
    assert not compare(tmp_path, "x", nan, one).ok
    assert not compare(tmp_path, "x", one[:1], one).ok
    assert not compare(tmp_path, "x", torch.tensor([True]), torch.tensor([False])).ok
    assert compare(tmp_path, "x", one, one.double()).tolerance == 1e-9
    assert compare(tmp_path, "x", one, one, tolerance=0.5).tolerance == 0.5
    assert not compare(tmp_path, "x", one.fill_(torch.inf), torch.ones(2)).ok


def test_import_is_light():
    code = "import sys, xappa.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
