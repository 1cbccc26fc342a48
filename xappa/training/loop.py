"""The training loop that both networks share: averaged weights, checkpoints, progress; the same bits after a kill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from xappa._files import replace_atomically
from xappa.errors import ModelError, translate_read_errors
from xappa.training.config import Optimisation

REMEDY = "Remove it, and run the step again; or name the working folder that it belongs to."


def to_channels_last(network: nn.Module, device: torch.device) -> None:
    """Move a network to a device, in the layout in which convolutions are fast."""
    network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def learning_rate(config: Optimisation, step: int) -> float:
    """Linear warm-up, then half a cosine down to a thousandth; the same again from each of `restarts` on.

    References
    ----------
    Loshchilov and Hutter (2017), SGDR: stochastic gradient descent with warm restarts, arXiv 1608.03983.
    """
    ends = (*config.restarts, config.steps)
    first = max((end for end in config.restarts if end <= step), default=0)
    last = min(end for end in ends if end > step)
    warm = min(1.0, (step - first + 1) / max(1, config.warmup))
    return config.rate * warm * (0.5 * (1 + math.cos(math.pi * (step - first) / (last - first))) + 1e-3)


def save_atomically(state: dict, path: Path) -> None:
    """A checkpoint, complete or as it was before."""
    with replace_atomically(path) as part:
        torch.save(state, part)


@contextmanager
def fork_rng_with_seed(seed: int) -> Iterator[None]:
    """Draw what torch draws without a generator (parameters of new networks) from a seed; others go on as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, complete or as it was before, with words of its own if they are given."""
    with replace_atomically(path) as part:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, part, metadata)


def train_network(
    network: nn.Module,
    loss: Callable[[int, torch.Generator], Tensor],
    config: Optimisation,
    checkpoint: Path,
    *,
    seed: int,
    groups: list[dict] | None = None,
    validate: Callable[[], str] | None = None,
    validate_every: int = 500,
    log: Callable[[str], None] | None = None,
) -> None:
    """Train `network` and leave the averaged weights in it, in evaluation mode.

    Parameters
    ----------
    network : Module
        On its device.
    loss : callable
        ``loss(step, generator)``: the loss of one step. Its randomness comes from `generator`, which is
        seeded with `seed` and the step: a resumed run draws what an uninterrupted one would.
    config : Optimisation
    checkpoint : Path
        File of the running state; if there, training goes on from it.
    seed : int
    groups : list of dict, optional
        Parameter groups; a key ``factor`` scales the learning rate of a group.
    validate : callable, optional
        Called with averaged weights in place every `validate_every` steps; its text goes to the log.
    log : callable, optional
        Receives lines of progress (default: they are printed).
    """
    log = log or _print
    optimiser = torch.optim.AdamW(
        groups or [{"params": network.parameters()}], lr=config.rate, betas=(0.9, 0.99), weight_decay=config.decay
    )
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    first, running = 0, None
    if checkpoint.exists():
        with translate_read_errors(checkpoint, "a checkpoint of this training", ModelError, REMEDY):
            state = torch.load(checkpoint, map_location=next(network.parameters()).device, weights_only=True)
            network.load_state_dict(state["network"])
            if state["optimiser"] is not None:
                optimiser.load_state_dict(state["optimiser"])
            average, first, running = state["average"], state["step"], state["running"]
        log(f"going on from step {first}")
    begin = time.monotonic()
    network.train()
    for step in range(first, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step) * group.get("factor", 1.0)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        optimiser.zero_grad(set_to_none=True)
        value = loss(step, generator)
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        _update_average(average, network, min(config.average, (1 + step) / (10 + step)))
        running = value.item() if running is None else 0.98 * running + 0.02 * value.item()
        if not math.isfinite(running):
            raise FloatingPointError(f"The loss is {running} at step {step}; lower the learning rate.")
        done = step + 1
        if done % 50 == 0 or done == config.steps:
            pace = (time.monotonic() - begin) / (done - first)
            left = pace * (config.steps - done) / 60
            log(f"step {done}/{config.steps}  loss {running:.4f}  {pace:.2f} s/step  {left:.1f} min left")
        if done % config.checkpoint == 0 or done == config.steps:
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "average": average}
            save_atomically({**state, "step": done, "running": running}, checkpoint)
        if validate is not None and (done % validate_every == 0 or done == config.steps):
            now = {k: v.detach().clone() for k, v in network.state_dict().items()}
            network.load_state_dict(average)
            network.eval()
            log(f"step {done}: {validate()}")
            network.load_state_dict(now)
            network.train()
    network.load_state_dict(average)
    network.eval()


def _print(line: str) -> None:
    print(line, flush=True)


def make_trained_checkpoint(network: nn.Module, config: Optimisation) -> dict:
    """The checkpoint of a training that ended with the weights that `network` has."""
    weights = network.state_dict()
    return {"network": weights, "average": weights, "optimiser": None, "step": config.steps, "running": None}


@torch.no_grad()
def _update_average(average: dict[str, Tensor], network: nn.Module, keep: float) -> None:
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1 - keep)
        else:
            average[key].copy_(value)


def load_averaged_weights(checkpoint: Path, config: Optimisation) -> dict[str, Tensor]:
    """Averaged weights of a training that has come to its end.

    Raises
    ------
    ModelError
        If there is no such checkpoint, or its training has steps left.
    """
    if not checkpoint.exists():
        raise ModelError(f"{checkpoint} does not exist: train this network first.")
    with translate_read_errors(checkpoint, "a checkpoint of a training", ModelError, REMEDY):
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        step, average = int(state["step"]), state["average"]
    if step < config.steps:
        raise ModelError(f"{checkpoint} is at step {step} of {config.steps}: go on training it.")
    return average
