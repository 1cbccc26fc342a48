"""The command that checks fixture folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import xappa
from tests.official import compare, recognise, run
from tests.official.command import main
from xappa.errors import DatasetError
from xappa.platforms import ORBITS, Orbit, satellite_steps


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


def test_all_official_folders(shared, check_recorded, monkeypatch, capsys):
    """Every recorded output of the official code is recomputed within its tolerance; no folder is left out."""
    monkeypatch.setattr("tests.official.command.run", check_recorded)
    assert main([str(shared("fixtures"))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("0 above tolerance; 0 not covered")
    folders = {line.split()[0] for line in lines[:-1]}
    assert {path.parent.name for path in shared("fixtures").glob("*/io.safetensors")} | {"run_dir"} <= folders
    counts = {name: sum(line.startswith(f"{name} ") for line in lines) for name in folders}
    inputs = {
        "create_masks": {"split_seed"},
        "era5_dataset": set(),
        "graphdit_tiny": {"t", "x", "date"},
        "latent_dataset": set(),
        "satellite": set(),
        "stations": {"lat", "lon"},
    }
    for name, given in inputs.items():
        recorded = set(load_file(shared("fixtures") / name / "io.safetensors")) - given
        assert counts[name] == len(recorded), name


def copied(shared, tmp_path, name):
    """A copy of an official folder, with links to what lies beside it."""
    for path in shared("fixtures").iterdir():
        if path.name == name:
            shutil.copytree(path, tmp_path / name)
        else:
            (tmp_path / path.name).symlink_to(path)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("graphdit_tiny", "y"),
        ("graphdit_tiny", "self_edges"),
        ("graphdit_tiny", "ico2_latlon"),
        ("satellite", "orbit_iss_delay5"),
        ("create_masks", "st_assim"),
        ("stations", "flat"),
        ("create_masks", "sat_cov_len_1"),
        ("create_masks", "st5k_valid"),
        ("era5_dataset", "state"),
        ("era5_dataset", "context_raw"),
        ("era5_dataset", "unstandardized"),
        ("latent_dataset", "blanket"),
        ("latent_dataset", "std"),
        ("latent_dataset", "length"),
    ],
)
def test_corrupted_official_output_fails(shared, tmp_path, name, output):
    folder = copied(shared, tmp_path, name)
    value = load_file(folder / "io.safetensors")[output]
    # Sets may differ by a thousandth: more than that is changed.
    edit(folder, **{output: value * 1.01 if value.is_floating_point() else value + 1000})
    rows = {row.output: row for row in run(folder)}
    assert not rows.pop(output).ok
    related = {"st5k_valid": {"st5k_assim"}, "std": {"blanket"}}.get(output, set())
    assert all(row.ok for key, row in rows.items() if key not in related)


@pytest.mark.parametrize("file", ["model_best.pth", "latents/tiny/stats.pth", "latents/tiny/ae/model.pth"])
def test_changed_run_directory_fails(shared, tmp_path, file):
    folder = copied(shared, tmp_path, "run_dir")
    path = folder / "autoencoders" / "tiny" / "0" / file
    tensors = torch.load(path, weights_only=True)
    torch.save({key: 1.01 * value for key, value in tensors.items()}, path)
    rows = list(run(folder))
    missing = not any("cae_f32_tiny" in row.output for row in rows)
    used = file != "model_best.pth"  # the copy beside the latents is what is read
    assert (missing or not all(row.ok for row in rows)) == used


def test_missing_key_fails(shared, tmp_path):
    text = shared("fixtures/state_dict_keys_vit_large.txt").read_text()
    (tmp_path / "state_dict_keys_vit_large.txt").write_text(text.replace("blocks.3.theta\t", "blocks.3.thetas\t"))
    assert main([str(tmp_path)]) == 1


def test_other_orbits_grids_and_stations(tmp_path):
    """Names, sizes and numbers come from the folder."""
    step, track = 3.0, ORBITS["metop"].compute_track(4 + np.arange(90) / 30)
    latitude, longitude = 90 - step * np.arange(61), step * np.arange(120)
    mine = Orbit(500, 60, 10)
    seen = satellite_steps(mine, latitude, longitude, range(2), step_hours=3, per_hour=20, radius=7)
    orbit = {"orbital_altitude": 500, "inclination": 60, "initial_phase": 10, "obs_freq": 20, "fov": 7}
    tensors = {
        "orbit_metop_delay4_f30": torch.from_numpy(np.stack(track, -1).reshape(3, 30, 2)).float(),
        "sat_mine_dt3_0": torch.from_numpy(seen[0]),
        "sat_mine_dt3_1": torch.from_numpy(seen[1]),
    }
    save_file(tensors, tmp_path / "io.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"mine": orbit, "shape": [61, 120]}))
    rows = list(run(tmp_path))
    assert {row.output for row in rows} == set(tensors) and all(row.ok for row in rows)
    (tmp_path / "config.json").write_text(json.dumps({"mine": orbit | {"fov": 6}, "shape": [61, 120]}))
    assert all(row.ok == row.output.startswith("orbit") for row in run(tmp_path))


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


def command(root, where, *folders):
    """What ``python -m xappa.testing`` of the package at `root` does in another folder."""
    call = [sys.executable, "-m", "xappa.testing", *map(str, folders)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    return subprocess.run(call, cwd=where, env=environment, capture_output=True, text=True, check=False)


ROOT = Path(xappa.__file__).resolve().parents[1]


def test_command_of_a_checkout_runs_in_any_folder(rope_folder, tmp_path):
    """Even in one that has a package of tests of its own."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    done = command(ROOT, tmp_path, "rope")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("2 outputs of 1 folders, 0 above tolerance")
    assert command(ROOT, tmp_path, "absent").returncode == 2


def test_command_of_an_installed_package_says_where_the_checks_are(rope_folder, tmp_path):
    installed = tmp_path / "site-packages"
    shutil.copytree(ROOT / "xappa", installed / "xappa", ignore=shutil.ignore_patterns("data", "__pycache__"))
    done = command(installed, tmp_path, "rope")
    assert (done.returncode, done.stdout) == (2, "")
    assert "tests/official" in done.stderr and len(done.stderr.splitlines()) == 1


def test_import_is_light():
    code = "import sys, xappa.testing; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
