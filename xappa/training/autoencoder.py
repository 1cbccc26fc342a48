"""Train the autoencoder: linear patches by principal components, and a small network that learns the rest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from xappa.model.linear_decoder import LinearDecoder
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.state import StateSpec
from xappa.training.config import Optimisation, Recipe
from xappa.training.data import Record
from xappa.training.loop import load_averaged_weights, to_channels_last, train_network
from xappa.training.regression import smooth

STAGES = {
    "training": "autoencoder.pt",
    "decoder": "decoder.pt",
    "joint": "together.pt",
    "local_scale": "places.pt",
    "finetune": "estimates.pt",
}
"""Stages of the recipe, in order, and their checkpoints."""


def compute_area_weights(latitude: np.ndarray) -> np.ndarray:
    """Cosine of latitude, mean 1: (latitude, 1), float32."""
    cosine = np.cos(np.deg2rad(latitude))
    return (cosine / cosine.mean()).astype("f4")[:, None]


def compute_patch_components(record: Record, factor: int, every: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of patches of factor x factor cells, weighted by area.

    Returns
    -------
    components : array (channel * factor * factor, channel * factor * factor)
        Columns, by falling variance.
    variances : array (channel * factor * factor,)
    """
    channels, height, width = record.spec.shape
    rows, columns, size = height // factor, width // factor, channels * factor * factor
    weight = compute_area_weights(np.array(record.spec.latitude)).reshape(rows, factor).mean(1)
    gram, count = np.zeros((size, size)), 0.0
    for part in tqdm(np.array_split(record.list_times(0)[::every], 40), desc="patches", unit="chunk"):
        x = record.anomalies[part].astype("f4").reshape(len(part), channels, rows, factor, columns, factor)
        patches = x.transpose(0, 2, 4, 1, 3, 5).reshape(len(part), rows, columns, size)
        weighted = (patches * np.sqrt(weight)[None, :, None, None].astype("f4")).reshape(-1, size)
        gram += weighted.T @ weighted
        count += len(weighted)
    variances, components = np.linalg.eigh(gram / count)
    return np.ascontiguousarray(components[:, ::-1]), variances[::-1].copy()


def stack_static_fields(record: Record) -> Tensor:
    """Land fraction and surface height (km), (2, latitude, longitude): static inputs of the network."""
    land, height = record.statistics["land"], record.statistics["surface_height"]
    return torch.from_numpy(np.stack([land, height / 1000]).astype("f4"))


def make_autoencoder_spec(
    recipe: Recipe, state: StateSpec, places: bool = False, remainder: bool = False
) -> AutoencoderSpec:
    """Size of a recipe's autoencoder; with a scale and a shift at every place and a remainder, or not yet."""
    c, told = recipe.autoencoder, recipe.decoder_correction.find_channels(state) if remainder else ()
    return AutoencoderSpec(
        in_channels=state.shape[0],
        shape=state.shape[1:],
        resize=c.factor,
        lat_channels=c.latent_channels,
        hid_channels=c.hidden,
        hid_blocks=c.blocks,
        patch_size=(2, 2),
        saturation_bound=c.bound,
        padding="longitude",
        wrap=False,
        linear_skip=True,
        static_channels=2,
        places=places,
        remainder_channels=told,
        remainder_rank=min(
            recipe.decoder_correction.rank, len(told) * state.shape[1] * state.shape[2]
        ),  # no more can be fitted
    )


def build_autoencoder(recipe: Recipe, record: Record, places: bool = False, remainder: bool = False) -> ConvAutoencoder:
    """The autoencoder of a recipe, untrained; with a scale and a shift at every place, and a remainder, or not yet."""
    network = ConvAutoencoder(make_autoencoder_spec(recipe, record.spec, places, remainder))
    network.static.copy_(stack_static_fields(record))
    return network


def train_autoencoder(recipe: Recipe, record: Record, out: Path, device: torch.device) -> None:
    """Train (or go on training) the autoencoder, errors counted in units of the scale; checkpoints under `out`."""
    torch.manual_seed(recipe.seed)
    c = recipe.autoencoder
    network = build_autoencoder(recipe, record)
    components, variances = compute_patch_components(record, c.factor)
    kept = torch.from_numpy(components[:, : c.latent_channels].astype("f4"))
    network.set_linear(kept, torch.from_numpy(np.sqrt(variances[: c.latent_channels]).astype("f4")))
    to_channels_last(network, device)
    _fit(recipe, record, network, "training", np.ones((record.spec.shape[0], 1, 1)), out)


def train_decoder(recipe: Recipe, record: Record, out: Path, device: torch.device) -> None:
    """Train the decoder further; encoder and latents stay as they are.

    Errors count by each channel's deviation. Weights of variables, which keep some from ruling the latents, are taken
    back: what latents hold no longer depends on it. Channels that had the larger weights may lose a little by it.
    """
    network = restore(recipe, record, out, device, before="decoder")
    _freeze_encoder(network)
    _fit(recipe, record, network, "decoder", compute_scale_ratio(record), out)


def train_joint(recipe: Recipe, record: Record, out: Path, device: torch.device) -> None:
    """Train encoder and decoder further, errors counted by each channel's deviation, squares times `emphasis`."""
    network = restore(recipe, record, out, device, before="joint")
    _fit(recipe, record, network, "joint", compute_scale_ratio(record) * _compute_emphasis(recipe, record), out)


def train_local_scale(recipe: Recipe, record: Record, out: Path, device: torch.device) -> None:
    """Train the decoder further, now with a scale and a shift of its own at every place; errors as in `together`."""
    before = restore(recipe, record, out, device, before="local_scale")
    network = build_autoencoder(recipe, record, places=True)
    network.load_state_dict({**network.state_dict(), **before.state_dict()})
    to_channels_last(network, device)
    _freeze_encoder(network)
    _fit(recipe, record, network, "local_scale", compute_scale_ratio(record) * _compute_emphasis(recipe, record), out)


def train_on_analyses(
    recipe: Recipe, record: Record, estimates: tuple[np.ndarray, np.ndarray], out: Path, device: torch.device
) -> None:
    """Train the decoder further, on encoded states and as many that analyses estimated; errors as in `together`.

    Of an estimate, the error is that of the mean of what its members are decoded to.

    Parameters
    ----------
    recipe, record, out, device
        As in the other stages.
    estimates : (array (state, member, h, w, C), array (state,))
        Latents of members, and the index in the record of the state that they are estimates of.
    """
    network = restore(recipe, record, out, device, before="finetune")
    _freeze_encoder(network)
    _fit(
        recipe,
        record,
        network,
        "finetune",
        compute_scale_ratio(record) * _compute_emphasis(recipe, record),
        out,
        estimates,
    )


def _freeze_encoder(network: ConvAutoencoder) -> None:
    """Leave the encoder, and with it the latents, as they are."""
    for parameter in (*network.encoder.parameters(), *network.encoder_linear.parameters()):
        parameter.requires_grad_(False)


def _compute_emphasis(recipe: Recipe, record: Record) -> np.ndarray:
    """Root of the factors on squared errors: (channel, 1, 1)."""
    emphasis = dict(recipe.autoencoder.emphasis)
    return np.sqrt([emphasis.get(name, 1.0) for name, _ in record.spec.channels])[:, None, None]


def compute_scale_ratio(record: Record) -> np.ndarray:
    """The scale in units of each channel's one deviation, 0 where a channel does not exist: (channel, lat, lon)."""
    return record.statistics["scale"] / record.statistics["deviation"][:, None, None] * record.statistics["mask"]


def _fit(
    recipe: Recipe,
    record: Record,
    network: ConvAutoencoder,
    stage: str,
    units: np.ndarray,
    out: Path,
    estimates: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Train what of the network is not frozen for one stage, standardised errors times `units`, weighted by area."""
    config: Optimisation = getattr(recipe.autoencoder, stage)
    device = next(network.parameters()).device
    area = compute_area_weights(np.array(record.spec.latitude))
    unit = torch.from_numpy((units * np.sqrt(area)).astype("f4")).to(device)
    train = torch.from_numpy(record.list_times(0))

    def states(index: np.ndarray) -> Tensor:
        return torch.from_numpy(record.anomalies[index].astype("f4")).to(device)

    def loss(step: int, generator: torch.Generator) -> Tensor:
        index = train[torch.randint(len(train), (config.batch,), generator=generator)].sort().values
        x = states(index.numpy())
        with torch.autocast(device.type, torch.bfloat16, enabled=config.bfloat16):
            y = network.decode(network.encode(x.contiguous(memory_format=torch.channels_last)))
            if estimates is not None:
                latents, times = estimates
                some = torch.randint(len(times), (config.batch,), generator=generator).sort().values.numpy()
                members = torch.from_numpy(latents[some]).to(device)
                mean = network.decode(members.flatten(0, 1)).unflatten(0, members.shape[:2]).mean(1)
                x, y = torch.cat([x, states(times[some])]), torch.cat([y, mean])
        return ((y.float() - x) * unit).square().mean()

    def validate() -> str:
        error = measure_reconstruction_error(network, record, record.list_times(1)[::30])
        total = np.sqrt((error**2).mean())
        return f"validation error {score(error, record):.4f} of the deviation, {total:.4f} of the scale"

    out.mkdir(parents=True, exist_ok=True)
    groups = _make_parameter_groups(
        ((n, p) for n, p in network.named_parameters() if p.requires_grad), recipe.autoencoder.linear_rate
    )
    train_network(network, loss, config, out / STAGES[stage], seed=recipe.seed, groups=groups, validate=validate)


def _make_parameter_groups(parameters: Iterable[tuple[str, nn.Parameter]], linear_rate: float) -> list[dict]:
    """Parameter groups: the linear maps, which begin where components put them, learn more slowly."""
    named = list(parameters)
    linear, rest = ([p for n, p in named if ("_linear" in n) is chosen] for chosen in (True, False))
    return [{"params": rest}, {"params": linear, "factor": linear_rate}]


@torch.no_grad()
def measure_reconstruction_error(network: ConvAutoencoder, record: Record, index: np.ndarray) -> np.ndarray:
    """Area-weighted root mean square error of decode(encode(x)), in units of the local scale: (channel,)."""
    device = next(network.parameters()).device
    weight = compute_area_weights(np.array(record.spec.latitude)) * record.statistics["mask"]
    total = np.zeros(record.spec.shape[0])
    for part in np.array_split(index, max(1, len(index) // 16)):
        x = torch.from_numpy(record.anomalies[part].astype("f4")).to(device)
        error = (network.decode(network.encode(x)) - x).square().sum(0).double().cpu().numpy()
        total += (error * weight).sum((1, 2))
    return np.sqrt(total / (len(index) * weight.sum((1, 2))))


def score(error: np.ndarray, record: Record, leave_out: tuple[str, ...] = ()) -> float:
    """Root mean square over channels of errors brought to units of each channel's one deviation."""
    # The scale differs from place to place; its area mean square serves for the change of units.
    weight = compute_area_weights(np.array(record.spec.latitude)) * record.statistics["mask"]
    scale = np.sqrt((record.statistics["scale"] ** 2 * weight).sum((1, 2)) / weight.sum((1, 2)))
    kept = [name not in leave_out for name, _ in record.spec.channels]
    return float(np.sqrt(np.mean((error * scale / record.statistics["deviation"])[kept] ** 2)))


@torch.no_grad()
def compute_error_map(network: ConvAutoencoder, record: Record, index: np.ndarray) -> np.ndarray:
    """Error deviation of decode(encode(x)) at every grid point, in units of the scale: (channel, lat, lon)."""
    total = np.zeros(record.spec.shape)
    for part in np.array_split(index, max(1, len(index) // 16)):
        x = torch.from_numpy(record.anomalies[part].astype("f4"))
        total += (network.decode(network.encode(x)) - x).square().sum(0).double().numpy()
    return np.sqrt(smooth(total / len(index), passes=1)).astype("f4")


@torch.no_grad()
def compute_error_fields(network: ConvAutoencoder, record: Record, index: np.ndarray) -> np.ndarray:
    """decode(encode(x)) - x in units of the scale: (sample, channel, lat, lon); 0 where a channel does not exist."""
    parts = []
    for part in np.array_split(index, max(1, len(index) // 16)):
        x = torch.from_numpy(record.anomalies[part].astype("f4"))
        parts.append((network.decode(network.encode(x)) - x).numpy())
    return np.concatenate(parts) * record.statistics["mask"].astype("f4")


@torch.no_grad()
def fit_linear_decoder(
    network: ConvAutoencoder, latents: np.ndarray, record: Record, seed: int, count: int = 1200
) -> LinearDecoder:
    """The linear map nearest to the decoder, from `count` latents (time, h, w, C) of the training period."""
    train = record.list_times(0)
    # At random: at a regular distance all might be of the same hour of the day.
    index = np.random.default_rng(seed).permutation(train)[:count]
    z = torch.from_numpy(latents[np.sort(index)])
    fields = torch.cat([network.decode(part) for part in z.split(16)])
    tangent = LinearDecoder(network.spec.lat_channels, network.spec.in_channels, network.spec.resize)
    tangent.fit(z, fields)
    return tangent


def restore(
    recipe: Recipe, record: Record, out: Path, device: torch.device, before: str | None = None
) -> ConvAutoencoder:
    """The autoencoder that the last of the recipe's stages left, or the last that comes before one of them."""
    last = find_last_stage(recipe, before)
    network = build_autoencoder(recipe, record, places=has_local_scale(recipe, last))
    network.load_state_dict(load_averaged_weights(out / STAGES[last], getattr(recipe.autoencoder, last)))
    to_channels_last(network, device)
    return network.eval()


def has_local_scale(recipe: Recipe, stage: str) -> bool:
    """Whether the network has a scale and a shift at every place after a stage."""
    stages = list(STAGES)
    return bool(recipe.autoencoder.local_scale.steps) and stages.index(stage) >= stages.index("local_scale")


def find_last_stage(recipe: Recipe, before: str | None = None) -> str:
    """The last stage that a recipe has, or the last that comes before one of them."""
    done = list(STAGES)[: list(STAGES).index(before)] if before else list(STAGES)
    return next(stage for stage in reversed(done) if stage == "training" or getattr(recipe.autoencoder, stage).steps)
