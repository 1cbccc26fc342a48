"""From simulated chunks to a model directory, on a tiny nature run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xappa.errors import IntegrityError, ModelError, OptionError
from xappa.model.climatology import Climatology, annual_basis, diurnal_basis
from xappa.model.directory import read_model
from xappa.training import autoencoder, data, encode, loop, prior
from xappa.training.config import Optimisation, Recipe, read_config
from xappa.training.loop import load_averaged_weights


@pytest.fixture(scope="module")
def work(tiny_work: Path) -> Path:
    return tiny_work


@pytest.fixture(scope="module")
def recipe(work: Path) -> Recipe:
    return read_config(work / "recipe.toml")


def test_anomalies_are_centred_and_scaled_on_the_training_period(work: Path, recipe: Recipe) -> None:
    record = data.open_record(recipe, work / "data")
    train = record.anomalies[record.list_times(0)].astype("f8")
    assert np.abs(train.mean(0)).max() < 0.1
    # Precipitation is weighted down on purpose.
    quiet = list(record.spec.of("total_precipitation_6hr"))
    deviation = train.std((0, 2, 3))
    assert np.allclose(np.delete(deviation, quiet), 1, atol=0.25)
    assert deviation[quiet] < 0.4
    sea = record.spec.index("sea_surface_temperature")
    assert not train[:, sea, ~record.statistics["mask"][sea].astype(bool)].any()


def test_climatology_may_be_of_other_periods_than_are_trained_on(work: Path, recipe: Recipe, tmp_path: Path) -> None:
    periods = (("2000-01-01", "2000-05-10"),)
    named = replace(recipe, splits=replace(recipe.splits, climatology=periods))
    alone = replace(recipe, splits=replace(recipe.splits, train=periods))
    all_years, first_year = (data.prepare(r, work / "nature", tmp_path / n) for r, n in ((named, "a"), (alone, "b")))
    for name, values in first_year.statistics.items():
        np.testing.assert_array_equal(all_years.statistics[name], values)
    assert len(all_years.list_times(0)) > len(first_year.list_times(0))
    before = data.open_record(recipe, work / "data").statistics["annual"]
    assert not np.array_equal(all_years.statistics["annual"], before)


def test_climatology_recovers_a_known_cycle() -> None:
    times = np.arange("2000-01-01", "2002-01-01", 6, "datetime64[h]").astype("datetime64[s]")
    annual = np.zeros((1, 5, 1, 1), "f4")
    annual[0, :2, 0, 0] = 280, 10
    diurnal = np.zeros((1, 9, 1, 1), "f4")
    diurnal[0, 0] = 4
    mean = Climatology(annual, diurnal, np.array([0]))(times)[:, 0, 0, 0]
    expected = 280 + 10 * annual_basis(times)[:, 1] + 4 * diurnal_basis(times)[:, 0]
    assert np.allclose(mean, expected, atol=1e-3)
    assert mean[:4].argmax() == 0


def test_windows_join_neither_runs_nor_splits(work: Path, recipe: Recipe) -> None:
    record = data.open_record(recipe, work / "data")
    for split in range(3):
        first = record.list_windows(split, 4)
        assert len(first)
        steps = np.diff(record.times)[first[:, None] + np.arange(3)]
        assert (steps == np.timedelta64(6, "h")).all()
        assert (record.split[first[:, None] + np.arange(4)] == split).all()


def test_years_kept_for_the_last_correction_are_a_split_of_their_own(recipe: Recipe, tiny_work: Path) -> None:
    record = data.open_record(recipe, tiny_work / "data")
    kept = replace(recipe, splits=replace(recipe.splits, correction=("b",)))
    split = data._assign_splits(kept, record.times, record.run)
    inside = record.run == 1
    assert (record.split[inside] == 0).any()  # whatever its years
    assert inside.any() and (split[inside] == data.CORRECTION).all()
    np.testing.assert_array_equal(split[~inside], record.split[~inside])


def test_prior_has_the_variance_of_the_latents(work: Path, recipe: Recipe) -> None:
    record = data.open_record(recipe, work / "data")
    latents = np.load(work / "standardised.npy")
    estimated = prior.estimate_prior(recipe.prior, latents, record)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(500, 4, *latents.shape[1:], generator=generator)
    drawn = estimated.sample(noise).square().mean().item()
    seen = np.square(latents[record.list_times(1)]).mean()
    assert drawn == pytest.approx(seen, rel=0.1)


def test_a_killed_training_ends_with_the_same_bits(work: Path, recipe: Recipe, tmp_path: Path) -> None:
    other = tmp_path / "work"
    other.mkdir()
    shutil.copytree(work / "data", other / "data")
    record = data.open_record(recipe, other / "data")

    calls = 0
    whole = loop.learning_rate

    def killed(config, step):
        nonlocal calls
        calls += 1
        if calls > 28:  # two groups of parameters: in step 14
            raise KeyboardInterrupt
        return whole(config, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "learning_rate", killed)
        with pytest.raises(KeyboardInterrupt):
            autoencoder.train_autoencoder(recipe, record, other, torch.device("cpu"))
    with pytest.raises(ModelError, match="at step 10 of 20"):
        load_averaged_weights(other / "autoencoder.pt", recipe.autoencoder.training)
    autoencoder.train_autoencoder(recipe, record, other, torch.device("cpu"))
    again = load_averaged_weights(other / "autoencoder.pt", recipe.autoencoder.training)
    for key, value in load_averaged_weights(work / "autoencoder.pt", recipe.autoencoder.training).items():
        assert torch.equal(value, again[key]), key


@pytest.mark.parametrize(
    ("stage", "train"), [("decoder", autoencoder.train_decoder), ("local_scale", autoencoder.train_local_scale)]
)
def test_the_decoder_goes_on_alone(work: Path, recipe: Recipe, tmp_path: Path, stage: str, train: Callable) -> None:
    for name in ("data", "latents.npy", "latents.sha256", "autoencoder.pt"):
        (shutil.copytree if (work / name).is_dir() else shutil.copy)(work / name, tmp_path / name)
    stages: dict[str, Any] = {stage: Optimisation(60, warmup=2, rate=2e-3)}
    longer = replace(recipe, autoencoder=replace(recipe.autoencoder, **stages))
    record, cpu = data.open_record(longer, work / "data"), torch.device("cpu")
    with pytest.raises(ModelError, match=rf"{autoencoder.STAGES[stage]} does not exist"):
        autoencoder.restore(longer, record, tmp_path, cpu)
    before = autoencoder.restore(recipe, record, tmp_path, cpu)
    train(longer, record, tmp_path, cpu)
    after = autoencoder.restore(longer, record, tmp_path, cpu)
    x = torch.from_numpy(record.anomalies[record.list_times(1)].astype("f4"))
    with torch.no_grad():
        assert torch.equal(before.encode(x), after.encode(x))
    kept = encode.encode_record(after, record, tmp_path)  # of the same encoder: none is refused, nor made again
    assert np.array_equal(kept, np.load(work / "latents.npy"))
    assert all(value.abs().max() > 0 for name, value in after.decoder.named_parameters() if "places" in name)
    assert after.spec.places is (stage == "local_scale")
    seen = record.list_times(0)
    errors = [autoencoder.measure_reconstruction_error(network, record, seen) for network in (before, after)]
    assert autoencoder.score(errors[1], record) < 0.995 * autoencoder.score(errors[0], record)


def test_encoder_and_decoder_go_on_together(work: Path, recipe: Recipe, tmp_path: Path) -> None:
    shutil.copytree(work / "data", tmp_path / "data")
    shutil.copy(work / "autoencoder.pt", tmp_path)
    record, cpu = data.open_record(recipe, work / "data"), torch.device("cpu")
    before = autoencoder.restore(recipe, record, tmp_path, cpu)
    seen, t2m = record.list_times(0), record.spec.index("2m_temperature", None)
    first = autoencoder.measure_reconstruction_error(before, record, seen)
    errors = {}
    for factor in (1.0, 30.0):
        stages = replace(
            recipe.autoencoder,
            joint=Optimisation(60, warmup=2, rate=2e-3),
            emphasis=(("2m_temperature", factor),),
        )
        longer = replace(recipe, autoencoder=stages)
        out = tmp_path / str(factor)
        shutil.copytree(tmp_path / "data", out / "data")
        shutil.copy(work / "autoencoder.pt", out)
        with pytest.raises(ModelError, match=r"together\.pt does not exist"):
            autoencoder.restore(longer, record, out, cpu)
        autoencoder.train_joint(longer, record, out, cpu)
        after = autoencoder.restore(longer, record, out, cpu)
        errors[factor] = autoencoder.measure_reconstruction_error(after, record, seen)
        x = torch.from_numpy(record.anomalies[:2].astype("f4"))
        with torch.no_grad():
            assert not torch.equal(before.encode(x), after.encode(x))
    assert autoencoder.score(errors[1.0], record) < 0.99 * autoencoder.score(first, record)
    assert errors[30.0][t2m] < 0.97 * errors[1.0][t2m]


def test_latents_of_another_encoder_are_not_taken_for_those_of_this_one(
    work: Path, recipe: Recipe, tmp_path: Path
) -> None:
    for name in ("data", "latents.npy", "latents.sha256", "autoencoder.pt"):
        (shutil.copytree if (work / name).is_dir() else shutil.copy)(work / name, tmp_path / name)
    record, cpu = data.open_record(recipe, work / "data"), torch.device("cpu")
    encode.encode_record(autoencoder.restore(recipe, record, tmp_path, cpu), record, tmp_path)
    longer = replace(recipe, autoencoder=replace(recipe.autoencoder, joint=Optimisation(2, warmup=1)))
    autoencoder.train_joint(longer, record, tmp_path, cpu)
    with pytest.raises(ModelError, match=r"latents\.npy holds latents of another encoder.*denoiser\.pt"):
        encode.encode_record(autoencoder.restore(longer, record, tmp_path, cpu), record, tmp_path)


def test_emphasis_on_what_the_state_does_not_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('[state]\nsurface = ["2m_temperature"]\n[autoencoder]\nemphasis = [["snow_depth", 2.0]]\n')
    with pytest.raises(OptionError, match=r"recipe\.toml: autoencoder: emphasis on \['snow_depth'\].*2m_temperature"):
        read_config(file)


def test_the_learning_rate_begins_anew_where_it_is_told_to() -> None:
    once = Optimisation(steps=40, rate=1.0, warmup=4)
    twice = Optimisation(steps=130, restarts=(40, 100), rate=1.0, warmup=4)
    first = [loop.learning_rate(once, step) for step in range(40)]
    assert first[0] == pytest.approx(0.25, abs=0.01) and first[-1] < 0.01
    assert [loop.learning_rate(twice, step) for step in range(40)] == first
    again = [loop.learning_rate(twice, step) for step in range(40, 100)]
    alone = Optimisation(steps=60, rate=1.0, warmup=4)
    assert again == [loop.learning_rate(alone, step) for step in range(60)]
    assert loop.learning_rate(twice, 100) == pytest.approx(0.25, abs=0.01)
    assert loop.learning_rate(twice, 129) < 0.01


@pytest.mark.parametrize("restarts", [(8, 5), (5, 5), (0, 5), (-3,), (5, 10), (12,)])
def test_restarts_that_would_spoil_the_cosine_are_refused(tmp_path: Path, restarts: tuple[int, ...]) -> None:
    said = rf"restarts=\[{', '.join(map(str, restarts))}\], steps=10: expected .* ascending .* give more steps"
    with pytest.raises(OptionError, match=said):
        Optimisation(steps=10, restarts=restarts)
    file = tmp_path / "recipe.toml"
    file.write_text(f"[denoiser.training]\nsteps = 10\nrestarts = {list(restarts)}\n")
    with pytest.raises(OptionError, match=rf"recipe\.toml: denoiser: training: {said}"):
        read_config(file)


def test_a_training_that_has_ended_is_made_longer(recipe: Recipe, tmp_path: Path) -> None:
    longer = replace(recipe.denoiser.training, steps=recipe.denoiser.training.steps + 3)
    longer = replace(longer, restarts=(recipe.denoiser.training.steps,))
    checkpoint = tmp_path / "network.pt"

    def train(config: Optimisation) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        network = torch.nn.Linear(3, 1)

        def loss(step: int, generator: torch.Generator) -> torch.Tensor:
            return (network(torch.randn(8, 3, generator=generator)) - 1).square().mean()

        loop.train_network(network, loss, config, checkpoint, seed=0)
        return load_averaged_weights(checkpoint, config)

    train(recipe.denoiser.training)
    found = train(longer)
    checkpoint.unlink()
    expected = train(longer)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_model_directory_is_read_back(work: Path, recipe: Recipe) -> None:
    model = read_model(work / "model")
    record = data.open_record(recipe, work / "data")
    times = record.times[:4]
    x = torch.from_numpy(record.anomalies[:4].astype("f4"))[None]
    latents = model.encode(x, times)
    assert latents.shape == (1, 4, *model.latent_shape)
    assert torch.isfinite(model.decode(latents, times)).all()
    assert model.error.shape == model.spec.shape
    card = (work / "model" / "README.md").read_text()
    assert model.about["test_period_sha256"] in card
    assert all(v > 0 for v in model.about["autoencoder_error"].values())
    physical = model.destandardise(x.numpy(), times)
    assert np.isnan(physical[:, :, model.spec.index("sea_surface_temperature")]).any()
    back = model.standardise(physical, times)
    assert np.allclose(back, x.numpy() * model.mask, atol=1e-3)


def test_a_file_with_other_contents_is_refused(work: Path, tmp_path: Path) -> None:
    shutil.copytree(work / "model", tmp_path / "model")
    file = tmp_path / "model" / "denoiser.safetensors"
    contents = bytearray(file.read_bytes())
    contents[-1] ^= 1
    file.write_bytes(contents)
    with pytest.raises(IntegrityError, match=r"denoiser\.safetensors: expected sha256 \w{64}, found \w{64}"):
        read_model(tmp_path / "model")


def test_a_recipe_with_a_misspelt_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[simulation]\nspin_up = 3\n")
    with pytest.raises(ValueError, match=r"unknown keys \['spin_up'\]"):
        read_config(tmp_path / "recipe.toml")


def test_old_keys_of_recipes_are_read_with_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    tables = "[{0}.{1}]\nsteps = 3\n[{2}]\ncount = 4\n[{3}]\nrank = 5\n"
    file.write_text(tables.format("autoencoder", "estimates", "rehearsal", "dated"))
    with pytest.warns(FutureWarning) as warned:
        old = read_config(file)
    texts = sorted(str(warning.message) for warning in warned)
    assert [text.split(";")[0].split(": ", 1)[1] for text in texts] == [
        "'dated' is now 'seasonal_diurnal_correction'",
        "'rehearsal' is now 'analysis_sampling'",
        "autoencoder: 'estimates' is now 'finetune'",
    ]
    file.write_text(tables.format("autoencoder", "finetune", "analysis_sampling", "seasonal_diurnal_correction"))
    assert read_config(file) == old
    file.write_text("[dated]\nrank = 5\n[seasonal_diurnal_correction]\nrank = 5\n")
    with pytest.raises(OptionError, match="'dated' is the old name of 'seasonal_diurnal_correction'"):
        read_config(file)


def test_the_tangent_is_fitted_to_all_hours(monkeypatch: pytest.MonkeyPatch, work: Path, recipe: Recipe) -> None:
    from xappa.model.linear_decoder import LinearDecoder

    record = data.open_record(recipe, work / "data")
    latents = np.load(work / "latents.npy")
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(LinearDecoder, "fit", lambda self, z, fields: seen.append(z))
    network = autoencoder.restore(recipe, record, work, torch.device("cpu"))
    train = record.list_times(0)
    autoencoder.fit_linear_decoder(network, latents, record, seed=0, count=len(train) // 4)
    chosen = np.array([np.flatnonzero((latents[train] == z.numpy()).all((1, 2, 3)))[0] for z in seen[0]])
    assert len(np.unique(chosen)) == len(train) // 4
    hours = record.times[train[chosen]].astype("datetime64[h]").astype(int) % 24
    assert (np.bincount(hours, minlength=24)[::6] > len(chosen) / 8).all()


def test_the_tangent_is_the_decoder_where_the_decoder_is_linear() -> None:
    from xappa.model.linear_decoder import LinearDecoder
    from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder

    spec = AutoencoderSpec(
        in_channels=3, lat_channels=5, shape=(8, 16), resize=4, hid_channels=(4, 6), hid_blocks=(1, 1),
        patch_size=(2, 2), padding="longitude", wrap=False, linear_skip=True,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    network = ConvAutoencoder(spec).requires_grad_(False)
    network.decoder.last.weight.zero_()
    tangent = LinearDecoder(5, 3, 4)
    z = torch.randn(200, 2, 4, 5, generator=generator)
    tangent.fit(z, network.decode(z))
    assert tangent.compute_explained_share(z, network.decode(z)) > 1 - 1e-6
    v = torch.randn(1, 2, 4, 5, generator=generator)
    assert torch.allclose(tangent(v), network.decode(v) - network.decode(0 * v), atol=1e-3)


def test_seeding_leaves_other_draws_as_they_were() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with loop.fork_rng_with_seed(5):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(2), expected) and not torch.equal(inside, expected)
