"""Official run directories: found by their layout, read safely, and the model that they make."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import xappa
from tests.official_project import Project
from xappa.errors import ModelError
from xappa.model.appa import find_run, read_autoencoder, read_denoiser, read_run
from xappa.model.appa.channels import LEVELS_13, LEVELS_37, list_channels, make_equiangular_grid
from xappa.model.appa.configuration import read_configuration
from xappa.model.appa.statistics import read_channel_statistics
from xappa.model.dates import to_date_tensor

TIMES = np.datetime64("2021-12-31T22", "s") + np.arange(4) * np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("official") / "project"
    Project().write(root)
    return root


@pytest.fixture
def lap(tmp_path: Path) -> Path:
    """A project of the test's own, to be broken."""
    return Project().write(tmp_path / "project")


def edit(file: Path, section: str, drop: tuple[str, ...] = (), **values) -> None:
    config = dict(read_configuration(file).values)
    config[section] = {k: v for k, v in {**config[section], **values}.items() if k not in drop}
    file.write_text(yaml.safe_dump(config))


def message(path: Path, **options) -> str:
    with pytest.raises(ModelError) as caught:
        xappa.load(path, device="cpu", **options)
    return str(caught.value)


# What a path is


LAP = "autoencoders/alpha/0/latents/one/denoisers/beta/3"
PARTS = [".", *("/".join(LAP.split("/")[:n]) for n in range(1, 9)), f"{LAP}/model_last.pth"]


@pytest.mark.parametrize("part", PARTS)
def test_any_part_of_a_project_leads_to_the_model(project: Path, part: str) -> None:
    files = find_run(project / part)
    assert files == find_run(project)
    assert files.denoiser_weights == project / LAP / "model_last.pth"
    assert files.autoencoder_weights == project / "autoencoders/alpha/0/latents/one/ae/model.pth"
    assert files.statistics == project / "data/stats_any.zarr"
    assert files.masks == project / "data/masks_any.zarr"


def test_a_flat_folder_is_told_by_its_contents(project: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    dump = project / "autoencoders/alpha/0/latents/one"
    shutil.copy(dump / "ae/config.yaml", flat / "a.yaml")
    shutil.copy(dump / "ae/model.pth", flat / "b.pth")
    shutil.copy(dump / "stats.pth", flat / "c.pth")
    shutil.copy(project / LAP / "config.yaml", flat / "d.yml")
    shutil.copy(project / LAP / "model_last.pth", flat / "e_last.pth")
    shutil.copytree(project / "data/stats_any.zarr", flat / "f.zarr")
    shutil.copytree(project / "data/masks_any.zarr", flat / "g.zarr")
    found, expected = xappa.load(flat, device="cpu"), xappa.load(project, device="cpu")
    assert found.digest == expected.digest
    shutil.copy(project / LAP / "model_best.pth", flat / "e_best.pth")
    assert find_run(flat).denoiser_weights.name == "e_last.pth"
    assert find_run(flat, "best").denoiser_weights.name == "e_best.pth"
    shutil.copy(flat / "b.pth", flat / "b2.pth")
    (flat / "c.pth").unlink()
    text = message(flat)
    assert "several files are the autoencoder's weights" in text
    assert "b2.pth" in text
    assert "no statistics of latents" in text


def test_files_in_subfolders_count_as_flat(project: Path, tmp_path: Path) -> None:
    shutil.copytree(project / "autoencoders/alpha/0/latents/one/ae", tmp_path / "flat/ae")
    shutil.copytree(project / LAP, tmp_path / "flat/denoiser")
    shutil.copy(project / "autoencoders/alpha/0/latents/one/stats.pth", tmp_path / "flat")
    shutil.copytree(project / "data", tmp_path / "flat/data")
    assert xappa.load(tmp_path / "flat", device="cpu").digest == xappa.load(project, device="cpu").digest


def test_a_folder_without_a_model_says_what_would_be_one(tmp_path: Path) -> None:
    assert "holds no model" in message(tmp_path)
    (tmp_path / "some.pth").write_bytes(b"nothing")
    assert "some.pth" in message(tmp_path)
    assert "does not exist" in message(tmp_path / "absent.pth")


def test_best_or_last(project: Path) -> None:
    last, best = (xappa.load(project, device="cpu", checkpoint=name) for name in ("last", "best"))
    assert last.digest == xappa.load(project, device="cpu").digest != best.digest
    assert xappa.load(project / LAP / "model_best.pth", device="cpu").digest == best.digest
    assert "found 'best', 'last'" in message(project, checkpoint="worst")
    assert "was asked for" in message(project / LAP / "model_best.pth", checkpoint="last")


def test_the_only_checkpoint_is_taken(tmp_path: Path) -> None:
    Project(checkpoints=("best",)).write(tmp_path / "p")
    (tmp_path / "p" / LAP / "model_best.prev.pth").write_bytes(b"never read")
    assert find_run(tmp_path / "p").denoiser_weights.name == "model_best.pth"


def test_several_denoisers_are_listed(lap: Path) -> None:
    other = lap.parents[1] / "gamma" / "0"
    shutil.copytree(lap, other)
    text = message(lap.parents[7])
    assert "holds 2 denoisers" in text
    assert f"{lap}  (best, last)" in text
    assert str(other) in text
    assert find_run(other).denoiser_config.parent == other


def test_several_statistics_are_listed(lap: Path) -> None:
    data = lap.parents[7] / "data"
    shutil.copytree(data / "stats_any.zarr", data / "stats_old.zarr")
    text = message(lap)
    assert "stats_any.zarr" in text
    assert "stats_old.zarr" in text
    assert "statistics=" in text
    assert xappa.load(lap, device="cpu", statistics=data / "stats_old.zarr").spec.window == 4


def test_all_that_is_missing_is_named_at_once(lap: Path) -> None:
    dump = lap.parents[2]
    (dump / "stats.pth").unlink()
    (dump / "ae/model.pth").unlink()
    (dump.parents[1] / "model_last.pth").unlink()
    shutil.rmtree(lap.parents[7] / "data")
    for file in lap.glob("*.pth"):
        file.unlink()
    text = message(lap)
    for part in ("stats.pth", "no statistics: expected", f"{lap} holds no checkpoint", f"{dump.parents[1]} holds no"):
        assert part in text


# What is in the files


def test_the_tag_of_a_path_is_text(project: Path) -> None:
    file = project / "autoencoders/alpha/0/config.yaml"
    assert "PosixPath" in file.read_text()
    assert read_configuration(file).values["path"] == "/somewhere/appa"


@pytest.mark.parametrize(
    "line",
    [
        "path: !!python/object/apply:os.system ['touch {file}']",
        "path: !!python/object/new:pathlib.PosixPath ['/']",
        "path: !!python/name:os.system",
        "path: !!python/object/apply:pathlib.PosixPath {{args: ['/']}}",
        "path: [",
    ],
)
def test_other_tags_are_refused(lap: Path, tmp_path: Path, line: str) -> None:
    file = lap.parents[2] / "ae/config.yaml"
    file.write_text(file.read_text() + "\n" + line.format(file=tmp_path / "made"))
    assert f"{file} cannot be read as plain YAML" in message(lap)
    assert not (tmp_path / "made").exists()


def _touch(file: str) -> None:
    Path(file).touch()


class _Touch:
    def __init__(self, file: Path) -> None:
        self.file = str(file)

    def __reduce__(self) -> tuple:
        return (_touch, (self.file,))


def test_a_pickle_that_needs_more_than_tensors_is_refused(lap: Path, tmp_path: Path) -> None:
    torch.save({"in_proj.weight": _Touch(tmp_path / "made")}, lap / "model_last.pth")
    text = message(lap)
    assert "model_last.pth is refused" in text
    assert "the Python object tests.test_official._touch" in text
    assert "Reading it could run any code" in text
    (lap / "model_last.pth").write_bytes(pickle.dumps(_Touch(tmp_path / "made")))
    assert "model_last.pth" in message(lap)
    assert not (tmp_path / "made").exists()


def test_a_damaged_file_is_named(lap: Path) -> None:
    whole = (lap / "model_last.pth").read_bytes()
    (lap / "model_last.pth").write_bytes(whole[: len(whole) // 2])
    assert "model_last.pth cannot be read" in message(lap)
    torch.save([torch.zeros(2)], lap / "model_last.pth")
    assert "model_last.pth holds list" in message(lap)


def test_files_of_old_torch_are_read(lap: Path) -> None:
    mapped = xappa.load(lap, device="cpu").denoiser.state_dict()
    expected = {name: value.clone() for name, value in mapped.items()}
    tensors = torch.load(lap / "model_last.pth", weights_only=True)
    torch.save(tensors, lap / "model_last.pth", _use_new_zipfile_serialization=False)
    found = xappa.load(lap, device="cpu").denoiser.state_dict()
    assert all(torch.equal(found[k], v) for k, v in expected.items())


def test_what_configurations_lack_is_inferred(lap: Path) -> None:
    expected = xappa.load(lap, device="cpu")
    edit(
        lap.parents[2] / "ae/config.yaml",
        "ae",
        ("in_channels", "lat_channels", "hid_channels", "hid_blocks", "pixel_shuffle", "ffn_factor", "latent_shape"),
    )
    edit(
        lap / "config.yaml",
        "backbone",
        ("blanket_size", "hid_channels", "hid_blocks", "mod_features", "ffn_factor", "rope"),
        name="${.arch}_b${.hid_blocks}",
    )
    edit(lap / "config.yaml", "train", ("blanket_size",))
    found = xappa.load(lap, device="cpu")
    assert found.digest == expected.digest


def test_what_neither_configuration_nor_weights_say_is_named(lap: Path) -> None:
    edit(lap.parents[2] / "ae/config.yaml", "ae", ("resize", "saturation"))
    assert "ae.resize, ae.saturation, and the weights do not say" in message(lap)
    edit(lap.parents[2] / "ae/config.yaml", "ae", (), resize=4, saturation="softclip2")
    edit(lap / "config.yaml", "backbone", ("attention_heads", "qk_norm", "window_size", "patch_size"))
    edit(lap / "config.yaml", "train", ("blanket_dt",))
    text = message(lap)
    assert "lacks train.blanket_dt" in text
    assert "backbone.attention_heads, backbone.qk_norm, backbone.patch_size, backbone.window_size" in text


def test_all_that_does_not_fit_is_one_table(lap: Path) -> None:
    file = lap.parents[2] / "ae/model.pth"
    tensors = torch.load(file, weights_only=True)
    tensors["decoder.ascent.0.0.weight"] = tensors["decoder.ascent.0.0.weight"][:, :2].clone()
    tensors["encoder.descent.0.0.stray"] = tensors.pop("encoder.descent.0.0.bias")
    torch.save(tensors, file)
    text = message(lap)
    assert "decoder.ascent.0.0.weight  (8, 5, 3, 3)  (8, 2, 3, 3)" in text
    assert "encoder.descent.0.0.stray  -             (8,)" in text
    assert "encoder.descent.0.0.bias   (8,)          -" in text


def test_both_networks_are_checked_at_once(lap: Path) -> None:
    tensors = torch.load(lap / "model_last.pth", weights_only=True)
    del tensors["blocks.1.msa.y_proj.bias"]
    torch.save(tensors, lap / "model_last.pth")
    torch.save({"mean": torch.zeros(3), "std": torch.ones(3)}, lap.parents[2] / "stats.pth")
    text = message(lap)
    assert "blocks.1.msa.y_proj.bias  (16,)     -" in text
    assert "'mean' has the shape (3,), expected (5,)" in text


def test_contradictions_are_named(lap: Path) -> None:
    edit(lap.parents[2] / "ae/config.yaml", "ae", latent_shape=[9, 9, 9])
    assert "ae.latent_shape is [9, 9, 9]" in message(lap)
    edit(lap.parents[2] / "ae/config.yaml", "ae", ("latent_shape",))
    edit(lap / "config.yaml", "train", noise_schedule="cosine", blanket_dt=1)
    assert "Unknown noise_schedule 'cosine'" in message(lap)
    edit(lap / "config.yaml", "train", noise_schedule="loglinear", blanket_dt=0.5)
    assert "blanket_dt is 0.5" in message(lap)


def test_yaml_numbers_with_exponents_are_numbers(lap: Path) -> None:
    file = lap / "config.yaml"
    file.write_text(file.read_text().replace("sigma_min: 0.001", "sigma_min: 1e-3"))
    assert xappa.load(lap, device="cpu").schedule.sigma_min == 1e-3


def test_statistics_that_lack_variables_are_refused(lap: Path) -> None:
    shutil.rmtree(lap.parents[7] / "data/stats_any.zarr/geopotential")
    assert "no variable geopotential" in message(lap)


# Sizes


SIZES = {
    "37 levels": (dict(in_channels=191), {}, {}),
    "more latent channels, deeper": (dict(lat_channels=16, name="cae_f4c16"), dict(hid_blocks=3), {}),
    "factor 8 by patches": (dict(resize=8, patch_size=[2, 2], shape=[21, 30]), {}, {}),
    "strided, periodic": (dict(pixel_shuffle=False, periodic=True, saturation="tanh"), {}, {}),
    "one level": (dict(resize=1, hid_channels=[8], hid_blocks=[2], shape=[9, 12], saturation=None), {}, {}),
    "noise in latents": (dict(noise_level=0.1), {}, {}),
    "windows of 6 every 3 h": ({}, dict(blanket_size=6), dict(blanket_size=6, blanket_dt=3)),
    "no patches, no rotation, no modulation": (
        {},
        dict(patch_size=[1, 1, 1], rope=False, qk_norm=False, mod_features=0),
        {},
    ),
    "windowed attention, loglogit": ({}, dict(window_size=[3, 3, 3]), dict(noise_schedule="loglogit")),
}


@pytest.mark.parametrize("changes", SIZES.values(), ids=SIZES)
def test_other_sizes_load(tmp_path: Path, changes: tuple[dict, dict, dict]) -> None:
    p = Project()
    for section, change in zip((p.ae, p.backbone, p.train), changes, strict=True):
        section.update(change)
    p.write(tmp_path / "p")
    model = xappa.load(tmp_path / "p", device="cpu")
    spec = model.spec
    assert spec.shape == (p.ae["in_channels"], *p.ae["shape"])
    assert spec.window == p.backbone["blanket_size"]
    assert spec.step_hours == p.train["blanket_dt"]
    assert spec.levels_of("geopotential") == (LEVELS_37 if len(spec.channels) == 191 else LEVELS_13)
    times = TIMES[0] + spec.step * np.arange(spec.window)
    z = torch.randn(1, spec.window, *model.latent_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = model.denoiser(z, torch.tensor(0.5), to_date_tensor(times))
        fields = model.decode(x, times)
    assert fields.shape == (1, spec.window, *spec.shape)
    assert torch.isfinite(fields).all()
    torch.testing.assert_close(model.latents.restore(model.latents.standardise(z, times), times), z)


def test_noise_in_latents_widens_their_deviation(tmp_path: Path) -> None:
    p = Project()
    p.ae["noise_level"] = 0.5
    model = xappa.load(p.write(tmp_path / "p"), device="cpu")
    zero, one = (torch.full((1, 1, *model.latent_shape), v) for v in (0.0, 1.0))
    apart = model.latents.standardise(one, TIMES[:1]) - model.latents.standardise(zero, TIMES[:1])
    expected = 1 / np.sqrt(np.linspace(0.5, 1.5, 5) ** 2 + 0.25)
    np.testing.assert_allclose(apart[0, 0, 0, 0].numpy(), expected, rtol=1e-6)


def test_channels_and_grid() -> None:
    channels = list_channels(71)
    assert channels[16] == ("temperature", 850)
    assert channels[52] == ("geopotential", 500)
    assert channels[67] == ("specific_humidity", 700)
    assert channels[29] == ("u_component_of_wind", 850)
    assert len(list_channels(191)) == 191
    assert list_channels(6 + 5 * 2, levels=(500, 850))[-1] == ("specific_humidity", 850)
    with pytest.warns(UserWarning, match="first ones of the official order, up to temperature at 50 hPa"):
        assert list_channels(7)[-1] == ("temperature", 50)
    with pytest.raises(ModelError, match="192 channels"):
        list_channels(192)
    latitude, longitude = make_equiangular_grid((721, 1440))
    assert (latitude[0], latitude[1], latitude[-1]) == (90.0, 89.75, -90.0)
    assert (longitude[0], longitude[1], longitude[-1]) == (0.0, 0.25, 359.75)
    assert make_equiangular_grid((4, 8))[0] == (67.5, 22.5, -22.5, -67.5)


def test_the_mask_is_brought_to_the_order_of_the_grid(project: Path) -> None:
    model = xappa.load(project, device="cpu")
    mask = model.mask[model.spec.index("sea_surface_temperature")]
    assert mask[-1].all()  # the southernmost row, last here and first in the store
    assert not mask[0, :12].any()
    assert mask[0, 12:].all()
    assert model.mask[model.spec.index("2m_temperature")].all()


def test_without_masks_a_warning(tmp_path: Path) -> None:
    Project(masks=False).write(tmp_path / "p")
    with pytest.warns(UserWarning, match="No masks"):
        assert xappa.load(tmp_path / "p", device="cpu").mask.all()


# Against the official code


@pytest.mark.filterwarnings("ignore:The autoencoder has 7 channels", "ignore:No masks")
def test_the_official_run_directory(shared, tmp_path: Path) -> None:
    """Renamed runs give the numbers of the official code; the tiny best checkpoint is the one of `vidit_tiny`."""
    shutil.copytree(shared("fixtures/run_dir"), tmp_path / "p", copy_function=shutil.copyfile)
    for name in ("autoencoders/tiny/0/latents/tiny/denoisers/tiny", "autoencoders/tiny/0/latents/tiny"):
        (tmp_path / "p" / name).rename((tmp_path / "p" / name).with_name("renamed"))
    (tmp_path / "p/autoencoders/tiny").rename(tmp_path / "p/autoencoders/any")
    model = xappa.load(tmp_path / "p", device="cpu", checkpoint="best")

    io = load_file(shared("fixtures/cae_f32_tiny") / "io.safetensors")
    shape = model.spec.shape[1:]
    with torch.no_grad():
        raw = model.autoencoder.encode(io["x"].unflatten(1, shape).permute(0, 3, 1, 2))
        fields = model.autoencoder.decode(io["z_in"].unflatten(1, model.latent_shape[:2]))
    assert difference(raw.flatten(1, 2), io["z"]) < 1e-5
    assert difference(fields.permute(0, 2, 3, 1).flatten(1, 2), io["x_dec"]) < 1e-5

    io = load_file(shared("fixtures/vidit_tiny") / "io.safetensors")
    window = (4, *model.latent_shape)
    for sigma, expected in zip(io["sigma"], io["den_out"], strict=True):
        x_t = (io["den_x_over"] * torch.sqrt(1 + sigma**2)).unflatten(1, window)
        with torch.no_grad():
            found = model.denoiser(x_t, sigma, io["date"])
        assert difference(found.flatten(1), expected) < 1e-5


def test_standardisation_is_the_official_one(shared) -> None:
    from xappa.model.normalisation import ChannelNormalisation
    from xappa.model.state import StateSpec

    folder = shared("fixtures/era5_dataset")
    io = load_file(folder / "io.safetensors")
    store = shared("fixtures/run_dir/data/stats_tiny.zarr")
    spec = StateSpec(list_channels(71), *make_equiangular_grid((5, 8)), 1, 1)
    normalisation = ChannelNormalisation(*read_channel_statistics(store, spec.channels), spec)
    np.testing.assert_array_equal(normalisation.channel_mean, io["state_mean"].numpy().ravel())
    np.testing.assert_array_equal(normalisation.channel_deviation, io["state_std"].numpy().ravel())
    raw, state = io["state_raw"].numpy(), io["state"].numpy()
    land = (raw == 0) & (state == 0)  # missing values, which were NaN before they were stored
    assert land[:, 4].any()
    found = normalisation.standardise(np.where(land, np.nan, raw), TIMES[:2])
    np.testing.assert_allclose(found, state, rtol=1e-6, atol=1e-6)
    back = normalisation.destandardise(state, TIMES[:2])
    np.testing.assert_allclose(back, io["unstandardized"].numpy(), rtol=1e-6, atol=1e-5)


def test_a_graph_transformer_is_read_and_its_autoencoder_refused(shared, lap: Path) -> None:
    folder = shared("fixtures/graphdit_tiny")
    io = load_file(folder / "io.safetensors")
    torch.save(load_file(folder / "weights.safetensors"), lap / "model_last.pth")
    backbone = dict(name="graphdit_c16", heads=2, self_attention_hops=2, cross_attention_hops=1, blanket_size=3)
    (lap / "config.yaml").write_text(yaml.safe_dump({"backbone": backbone}))
    denoiser = read_denoiser(lap / "config.yaml", lap / "model_last.pth")
    with torch.no_grad():
        found = denoiser.backbone(io["x"].unflatten(1, (3, 42, 5)), io["t"], io["date"])
    assert difference(found.flatten(1), io["y"]) < 1e-5
    edit(lap.parents[2] / "ae/config.yaml", "ae", name="ico7to5c256")
    assert "graph autoencoder 'ico7to5c256', which xappa does not have yet" in message(lap)


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.linalg.norm(found - expected) / torch.linalg.norm(expected))


def test_networks_are_whole_and_frozen(project: Path) -> None:
    """None of their tensors is left on the meta device, on which they are built."""
    files = find_run(project)
    autoencoder = read_autoencoder(files.autoencoder_config, files.autoencoder_weights)
    model = read_run(files)
    for network in (autoencoder, model.denoiser):
        assert not any(t.is_meta for t in (*network.parameters(), *network.buffers()))
        assert not any(p.requires_grad for p in network.parameters())
        assert not network.training
