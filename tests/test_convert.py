"""Our own model directories: any model written as one, and read back without a copy in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import xappa
from tests.official_project import Project
from xappa.cli import main
from xappa.diffusion.composition import TrajectoryDenoiser
from xappa.diffusion.guidance import MMPS
from xappa.diffusion.noise import Noise
from xappa.diffusion.samplers import DDIM
from xappa.errors import IntegrityError, ModelError, OptionError
from xappa.model.convert import convert, save_model
from xappa.model.dates import to_date_tensor
from xappa.model.tensor_files import write_tensors
from xappa.sampling.sampling_tasks import decode, sample
from xappa.sampling.spec import SamplingSpec

REPORTS = pd.DataFrame(
    {
        "time": pd.to_datetime(["2021-03-13T00", "2021-03-13T01", "2021-03-13T02", "2021-03-13T02"]),
        "lat": [12.0, 50.0, -40.0, 12.0],
        "lon": [-3.0, 100.0, 200.0, 30.0],
        "elev": [400.0, 10.0, 10.0, 10.0],
        "variable": "2m_temperature",
        "observation": [288.0, 274.0, 281.0, 400.0],
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("convert") / "project"
    Project().write(root)
    return root


@pytest.fixture(scope="module")
def converted(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(run, tmp_path_factory.mktemp("own") / "model")


def analysis(model: Path):
    ds = xappa.template("2021-03-13T00", "2021-03-13T03", model=model)
    return ds.appa.assimilate(REPORTS, error={"2m_temperature": 0.5}, model=model, members=2, steps=4, seed=0)


# From an official run to a labelled analysis


@pytest.fixture(scope="module")
def official_analysis(run: Path):
    with pytest.warns(UserWarning, match="height of the model's surface is not known"):
        lazy = analysis(run)
    return lazy, lazy.compute()


def test_an_official_run_assimilates(official_analysis) -> None:
    lazy, ds = official_analysis
    assert ds["2m_temperature"].dims == ("member", "time", "latitude", "longitude")
    assert ds["temperature"].sizes == {"member": 2, "time": 4, "level": 13, "latitude": 13, "longitude": 24}
    assert ds["2m_temperature"].attrs["units"] == "K"
    assert ds["total_precipitation"].attrs["units"] == "m"
    assert 180 < float(ds["2m_temperature"].mean()) < 350
    assert 90000 < float(ds["mean_sea_level_pressure"].mean()) < 110000
    sst = ds["sea_surface_temperature"]
    assert sst.sel(longitude=slice(0, 170), latitude=slice(90, -80)).isnull().all()
    assert sst.sel(longitude=slice(180, 360)).notnull().all()
    assert ds["2m_temperature"].notnull().all()
    assert float(ds["total_precipitation"].min()) >= 0
    assert ds.attrs["xappa_height_correction"].startswith("off")
    assert ds.attrs["xappa_guidance"].startswith("MMPS")
    counts = xappa.diagnostics(lazy)["reports"].sel(variable="2m_temperature").compute()
    assert int(counts.sel(status="good")) == 3
    assert int(counts.sel(status="out_of_range")) == 1


@pytest.mark.filterwarnings("ignore:The height of the model's surface")
def test_observations_draw_the_members_to_them(run: Path) -> None:
    ds = xappa.template("2021-03-13T00", "2021-03-13T03", model=run)
    point = REPORTS.iloc[[2]].assign(lat=-45.0, lon=195.0, observation=300.0)  # a grid point
    near = ds.appa.assimilate(
        point, error={"2m_temperature": 0.1}, model=run, members=2, steps=12, seed=0, guidance="mmps"
    )
    value = near["2m_temperature"].sel(latitude=-45, longitude=195, time="2021-03-13T02").values
    np.testing.assert_allclose(value, 300, atol=1.0)


def test_the_prior_is_sampled_over_several_windows(run: Path) -> None:
    """Without observations; the members are those of the sampler on the composed windows."""
    model = xappa.load(run, device="cpu")
    times = np.datetime64("2021-03-13T00", "s") + np.arange(6) * model.spec.step
    plan = SamplingSpec(
        model=str(run),
        digest=model.digest,
        device="cpu",
        times=times,
        observations=None,
        guidance=MMPS(),
        sampler=DDIM(steps=4),
        stitching="symmetrical",
        seed=3,
    )
    sampled = sample(plan, (0, 1), "prior of an official run")
    windows = [lambda x, s, n=n: model.denoiser(x, s, to_date_tensor(times[n : n + 4])) for n in (0, 2)]
    hours = times.astype("datetime64[h]").astype("i8")
    noise = Noise(3, (0, 1), tuple(hours.tolist()), model.latent_shape)
    with torch.no_grad():
        start = model.schedule(torch.ones(1)).item() * noise.start()
        expected = DDIM(steps=4)(TrajectoryDenoiser(windows, 4, 2), start, noise, model.schedule)
    np.testing.assert_array_equal(sampled.latents, expected.numpy())
    fields = decode(plan, sampled.latents, (0, 1), 0)
    assert fields.shape == (2, 6, *model.spec.shape)
    assert np.isfinite(fields[:, :, model.spec.index("2m_temperature")]).all()


def test_guidance_that_needs_a_static_prior_is_refused_at_the_call(run: Path) -> None:
    ds = xappa.template("2021-03-13T00", "2021-03-13T03", model=run)
    for guidance in ("jacobian-free", xappa.guidance.JacobianFree()):
        with pytest.raises(OptionError, match="this model has none: use 'mmps'"):
            ds.appa.assimilate(REPORTS, error={"2m_temperature": 0.5}, model=run, guidance=guidance)


# Written and read


def test_tensor_files_are_safetensors_with_large_tensors_aligned(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "odd": torch.randn(3, 5, generator=generator),
        "even": torch.randn(4, 16, generator=generator),
        "turned": torch.randn(16, 8, generator=generator).T,
        "half": torch.randn(5, generator=generator).half(),
        "scalar": torch.tensor(1e-5),
        "edges": torch.arange(6).reshape(3, 2),
    }
    write_tensors(tensors, tmp_path / "t.safetensors")
    found = load_file(tmp_path / "t.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[k], v) and found[k].dtype == v.dtype for k, v in tensors.items())
    assert found["even"].data_ptr() % 64 == found["turned"].data_ptr() % 64 == 0


def test_converted_models_give_identical_results(converted: Path, official_analysis) -> None:
    _, expected = official_analysis
    with pytest.warns(UserWarning, match="height of the model's surface"):
        found = analysis(converted).compute()
    for name in expected:
        np.testing.assert_array_equal(found[name].values, expected[name].values)


def test_the_record_says_everything(run: Path, converted: Path) -> None:
    record = json.loads((converted / "model.json").read_text())
    assert record["units"]["mean_sea_level_pressure"] == "Pa"
    assert record["state"]["channels"][16] == ["temperature", 850]
    assert record["state"]["step_hours"] == 1
    assert record["state"]["window"] == 4
    assert record["normalisation"] == record["latents"] == "channel"
    assert record["schedule"]["kind"] == "rectified"
    source = record["about"]["origin"]["files"]["denoiser_weights"]
    assert source["path"] == "autoencoders/alpha/0/latents/one/denoisers/beta/3/model_last.pth"
    assert str(run) not in json.dumps(record)
    assert {f.name for f in converted.iterdir()} == {*record["files"], "model.json"}


def test_it_is_read_again_whatever_its_kind(tiny_model: Path, tmp_path: Path) -> None:
    """Our own kind of model too: climatology, tangent, Gaussian prior with a network."""
    convert(tiny_model, tmp_path / "again")
    one, two = xappa.load(tiny_model, device="cpu"), xappa.load(tmp_path / "again", device="cpu")
    times = np.datetime64("2001-03-13T00", "s") + np.arange(4) * np.timedelta64(6, "h")
    x = torch.randn(1, 4, *one.spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = one.encode(x, times)
        pairs = [
            (z, two.encode(x, times)),
            (one.decode(z, times), two.decode(z, times)),
            (one.linear_decode(z, times), two.linear_decode(z, times)),
            (one.denoiser.covariance(z, torch.tensor(1.0)), two.denoiser.covariance(z, torch.tensor(1.0))),
        ]
    assert all(torch.equal(a, b) for a, b in pairs)
    np.testing.assert_array_equal(one.climatology(times), two.climatology(times))
    np.testing.assert_array_equal(one.error, two.error)
    assert one.statistics.keys() == two.statistics.keys()


@pytest.mark.parametrize(("dtype", "error"), [("float16", 1e-3), ("bfloat16", 1e-2)])
def test_half_precision_takes_half_the_room(run: Path, converted: Path, tmp_path: Path, dtype, error) -> None:
    half = convert(run, tmp_path / "half", dtype=dtype)
    sizes = [(folder / "autoencoder.safetensors").stat().st_size for folder in (half, converted)]
    assert sizes[0] < 0.65 * sizes[1]  # headers take the rest at this size
    one, two = xappa.load(converted, device="cpu"), xappa.load(half, device="cpu")
    assert {p.dtype for p in two.denoiser.parameters()} == {torch.float32}
    times = np.datetime64("2021-03-13T00", "s") + np.arange(4) * np.timedelta64(1, "h")
    x = torch.randn(1, 4, *one.spec.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        a, b = one.encode(x, times), two.encode(x, times)
    assert 0 < float(torch.linalg.norm(a - b) / torch.linalg.norm(a)) < error


def test_weights_that_overflow_are_refused(run: Path, tmp_path: Path) -> None:
    model = xappa.load(run, device="cpu")
    weights = dict(model.denoiser.named_parameters())["backbone.in_proj.weight"]
    kept = weights[0, 0].item()
    weights[0, 0] = 1e5
    try:
        with pytest.raises(ModelError, match=r"denoiser: backbone.in_proj.weight holds values that torch.float16"):
            save_model(model, tmp_path / "m", dtype="float16")
    finally:
        weights[0, 0] = kept
    assert not (tmp_path / "m" / "model.json").exists()


def test_wrong_targets_are_refused(run: Path, converted: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("keep")
    for source, out, said in (
        (run, tmp_path / "notes", "no model directory"),
        (tmp_path / "absent", tmp_path / "new", "does not exist"),
        (converted, converted, "is what is converted"),
    ):
        with pytest.raises(ModelError, match=said):
            convert(source, out)
    with pytest.raises(OptionError, match="Unknown dtype 'float8'; expected one of"):
        convert(run, tmp_path / "new", dtype="float8")
    with pytest.raises(ModelError, match="checkpoint=best is for official runs"):
        xappa.load(converted, checkpoint="best")


def test_a_directory_is_checked(run: Path, tmp_path: Path) -> None:
    out = convert(run, tmp_path / "m")
    record = json.loads((out / "model.json").read_text())
    record["units"]["2m_temperature"] = "degC"
    (out / "model.json").write_text(json.dumps(record))
    with pytest.raises(ModelError, match="2m_temperature in degC, expected K"):
        xappa.load(out, device="cpu")
    convert(run, out)  # over the old one
    xappa.load(out, device="cpu")
    (out / "denoiser.safetensors").write_bytes(b"something else")
    (out / "model.json").touch()
    with pytest.raises(IntegrityError, match="denoiser.safetensors: expected sha256"):
        xappa.load(out, device="cpu")


def test_the_command(run: Path, tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "m")
    assert main(["convert", str(run), out, "--dtype", "float16", "--checkpoint", "best"]) == 0
    assert "71 channels on 13 x 24 points" in capsys.readouterr().out
    record = json.loads((tmp_path / "m" / "model.json").read_text())
    assert record["about"]["origin"]["files"]["denoiser_weights"]["path"].endswith("model_best.pth")
    assert main(["convert", str(tmp_path / "absent"), out]) == 2
    assert "does not exist" in capsys.readouterr().err


MEASURE = """
import resource, sys, torch, xappa
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
xappa.load(sys.argv[1], device="cpu")  # what loading any model takes: modules
before = peak()
model = xappa.load(sys.argv[2], device="cpu")
loaded = peak()
total = sum(float(p.sum()) for n in (model.autoencoder, model.denoiser) for p in n.parameters())
weights = sum(p.nbytes for n in (model.autoencoder, model.denoiser) for p in n.parameters())
print(before, loaded, peak(), weights, total)
"""


@pytest.mark.parametrize("own", [True, False], ids=["own directory", "official run"])
def test_loading_makes_no_copy(run: Path, tmp_path: Path, own: bool) -> None:
    """Peak resident memory of 110 MB of weights: next to nothing until they are used, then once their size."""
    large = Project(checkpoints=("last",))
    large.backbone.update(hid_channels=768, hid_blocks=2, mod_features=256, ffn_factor=8, attention_heads=8)
    large.write(tmp_path / "large")
    path = convert(tmp_path / "large", tmp_path / "own") if own else tmp_path / "large"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(run), str(path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    before, loaded, used, weights, _ = map(float, done.stdout.split())
    assert weights > 90e6
    assert loaded - before < 0.15 * weights
    assert used - before < 1.15 * weights
