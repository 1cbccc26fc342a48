"""The command ``xappa``: arguments in, functions called, results printed."""

from __future__ import annotations

import argparse
import os
import runpy
import sys
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import xappa
from xappa.cli_errors import Parser, print_warnings_as_lines, report_error
from xappa.errors import OptionError, translate_read_errors

TRAIN_STEPS = {
    "simulate": "run the climate model that the networks learn from (in an environment of its own)",
    "init-from": "begin with a model that is there, to go on from it with other years",
    "autoencoder": "standardise the nature run and train the autoencoder on it",
    "denoiser": "encode the nature run and train the denoiser on windows of it",
    "finetune-decoder": "analyse simulated years with the current model, and train the decoder on these analyses",
    "package": "write the model directory, with its card of measured scores",
}
OLD_STEPS = {"adopt": "init-from", "rehearse": "finetune-decoder"}
"""Steps by the names that they had before; these go with version 0.2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit code: 0; 2 after an error that says what to do; 1 after a fault of the program; 130 after an interruption.
        Each error is one line on stderr; with ``--debug`` it is raised.
    """
    args = build_parser().parse_args(argv)
    with print_warnings_as_lines(args.command):
        try:
            args.run(args)
            sys.stdout.flush()
        except BrokenPipeError:  # of a reader that had enough, such as `head`; what is left has no place to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (Exception, KeyboardInterrupt) as error:
            if args.debug:
                raise
            return report_error(error, args.command)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    root = Parser(prog="xappa", description="Generative data assimilation with xarray.")
    root.add_argument("--version", action="version", version=f"xappa {xappa.__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = Parser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for add in (_add_demo, _add_assimilate, _add_models, _add_convert, _add_train):
        add(commands, common)
    return root


def _add_demo(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="48 hours of a simulated atmosphere: observe it, assimilate, score, draw",
        description="Observe 48 hours of a simulated atmosphere with a realistic network, assimilate the reports, "
        "score the analysis against the truth and against withheld stations, and draw one figure.",
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for results (default: %(default)s)")
    parser.add_argument("--members", type=int, default=8, help="number of members (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of network and members (default: %(default)s)")
    _add_overwrite(parser)
    parser.set_defaults(run=_run_demo_command)


def _run_demo_command(args: argparse.Namespace) -> None:
    from xappa.demo import run_demo

    print(run_demo(args.out, members=args.members, seed=args.seed, overwrite=args.overwrite))


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace a store of another run that is there")


def _add_assimilate(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "assimilate",
        parents=[common],
        help="analyse files of reports",
        description="Read reports, withhold some stations (of swaths: blocks of 4 degrees), assimilate the others, "
        "write the ensemble, and print the error at what was withheld beside those of climatology and interpolation.",
    )
    parser.add_argument("source", nargs="+", type=Path, help="files of reports: BUFR, METAR, CSV, Parquet or NetCDF")
    parser.add_argument(
        "--times",
        nargs="+",
        required=True,
        metavar=("START", "END"),
        help="first and last time of the analysis, such as 2018-11-02T12; one alone: that time",
    )
    parser.add_argument("--members", type=int, default=8, help="number of members (default: %(default)s)")
    parser.add_argument(
        "--withhold",
        type=float,
        default=0.0,
        metavar="F",
        help="fraction of the stations that is kept for the scores (default: %(default)s)",
    )
    parser.add_argument(
        "--operator",
        metavar="NAME",
        help="how fields are read at reports: a name, such as nearest, or FILE.py:NAME, a function or operator of "
        "yours (default: interpolate)",
    )
    parser.add_argument(
        "--stations", nargs="+", type=Path, metavar="TABLE", help="places and heights of stations (METAR, ISD-Lite)"
    )
    parser.add_argument(
        "--variables", nargs="+", metavar="NAME", help="quantities to use, as they were reported (default: all)"
    )
    parser.add_argument(
        "--superobs",
        default="auto",
        metavar="DEGREES",
        help="average all reports over so many degrees; none; auto: swaths, over the model's boxes "
        "(default: %(default)s)",
    )
    parser.add_argument("--steps", type=int, help="steps of the sampler (default: the model's)")
    parser.add_argument("--model", metavar="NAME", help="name or folder of the model (default: the embedded one)")
    parser.add_argument("--seed", type=int, default=0, help="seed of stations and members (default: %(default)s)")
    parser.add_argument("--error", metavar="TABLE", help="table of observation errors (default: a general one)")
    parser.add_argument("--out", type=Path, metavar="ZARR", help="store that receives the analysis (default: none)")
    _add_overwrite(parser)
    parser.set_defaults(run=_assimilate)


def _assimilate(args: argparse.Namespace) -> None:
    if len(args.times) > 2:
        raise OptionError(f"--times takes a first and a last time, found {len(args.times)}: {' '.join(args.times)}")
    from xappa.tasks.analyse_reports import assimilate_reports

    report = assimilate_reports(
        args.source,
        args.times[0],
        args.times[-1],
        operator=_load_operator(args.operator),
        stations=args.stations,
        variables=args.variables,
        superobs=_parse_degrees(args.superobs),
        members=args.members,
        steps=args.steps,
        withhold_fraction=args.withhold,
        model=args.model,
        error=args.error,
        seed=args.seed,
        out=args.out,
        overwrite=args.overwrite,
    )
    print(report)


def _parse_degrees(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _load_operator(text: str | None) -> Any:
    """What an operator is called; or, of ``FILE.py:NAME``, what the file calls so."""
    file, _, name = (text or "").rpartition(":")
    if not file.endswith(".py"):
        return text
    if not Path(file).is_file():
        raise OptionError(f"--operator {text}: there is no file {file!r}; expected FILE.py:NAME")
    with translate_read_errors(file, "Python", OptionError, "Correct it, so that it can be run by itself."):
        found = runpy.run_path(file)
    if name not in found:
        own = sorted(key for key, value in found.items() if callable(value) and not key.startswith("_"))
        raise OptionError(f"--operator {text}: {file} has no {name!r}; found {', '.join(own) or 'no function'}")
    return found[name]


def _add_models(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("models", parents=[common], help="list the models that are known by name")
    parser.set_defaults(run=_list_models)
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    sign = actions.add_parser(
        "hash",
        parents=[common],
        help="list the hashes of a model directory's files in its model.json",
        description="List every file of tensors of a model directory in its model.json, with its sha256: for a "
        "custom directory whose files you changed.",
    )
    sign.add_argument("folder", type=Path, metavar="DIR", help="the model directory")
    sign.set_defaults(run=_sign)


def _list_models(args: argparse.Namespace) -> None:
    from xappa.model.registry import models

    for name, about in models().items():
        print(f"{name}  {about}")


def _sign(args: argparse.Namespace) -> None:
    from xappa.model.directory import sign_model

    for file, digest in sign_model(args.folder).items():
        print(f"{digest}  {file}")


def _add_convert(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "convert",
        parents=[common],
        help="write an official run as a model directory",
        description="Write the model of an official run directory, with all statistics, as one model directory.",
    )
    parser.add_argument("source", type=Path, metavar="RUN_DIR", help="project, run, dump, lap or flat folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="the model directory")
    parser.add_argument("--dtype", default="float32", help="float32, float16 or bfloat16 (default: %(default)s)")
    parser.add_argument("--checkpoint", help="best or last (default: the last, or the one that is there)")
    parser.add_argument("--statistics", type=Path, metavar="ZARR", help="store of statistics (default: the run's)")
    parser.set_defaults(run=_convert)


def _convert(args: argparse.Namespace) -> None:
    from xappa.model.convert import convert
    from xappa.model.registry import load

    out = convert(args.source, args.out, dtype=args.dtype, checkpoint=args.checkpoint, statistics=args.statistics)
    print(f"{out}: {load(out, device='cpu')}")


def _add_train(commands: argparse._SubParsersAction, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "train",
        help=f"make a model: {', '.join(TRAIN_STEPS)}",
        description="Make a model from a recipe, in steps, or go on from one. Each resumes where it was stopped.",
    )
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    for name, what in TRAIN_STEPS.items():
        description = what[0].upper() + what[1:] + "."
        _add_step(steps.add_parser(name, parents=[common], help=what, description=description), name)
    for old, name in OLD_STEPS.items():
        # Without help: not listed.
        _add_step(steps.add_parser(old, parents=[common], description=f"The old name of {name}."), name, old)


def _add_step(step: argparse.ArgumentParser, name: str, old: str | None = None) -> None:
    """Arguments of a step of ``xappa train``; `old` is the name it is called by, where that is not its own."""
    step.add_argument("--config", type=Path, metavar="TOML", help="the recipe (default: the embedded model's)")
    step.add_argument(
        "--work",
        type=Path,
        default=Path("training"),
        metavar="FOLDER",
        help="where the steps leave their results for each other (default: %(default)s)",
    )
    if name == "simulate":
        step.add_argument("--runs", nargs="+", default=[], metavar="NAME", help="runs of the recipe (default: all)")
        step.add_argument("--restart", type=Path, help="restart state of the run's first day, instead of a spin-up")
    elif name == "init-from":
        step.add_argument("--model", default="speedy", help="name or folder of the model (default: %(default)s)")
    elif name == "package":
        step.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the model directory")
        step.add_argument("--scores", type=Path, metavar="TEXT", help="scores of twin experiments, for the card")
    else:
        step.add_argument("--device", help="such as cpu or cuda (default: an accelerator where there is one)")
    step.set_defaults(run=_train, step=name, old_step=old)


def _train(args: argparse.Namespace) -> None:
    if args.old_step:
        warnings.warn(
            f"'xappa train {args.old_step}' is now 'xappa train {args.step}'; the old name goes with version 0.2",
            FutureWarning,
            stacklevel=2,
        )
    from xappa.devices import resolve
    from xappa.training import commands
    from xappa.training.config import read_config

    file = args.config or Path(str(resources.files("xappa.training") / "speedy.toml"))
    recipe = read_config(file)
    if args.step == "simulate":
        commands.simulate(file, args.work, tuple(args.runs), args.restart)
    elif args.step == "init-from":
        commands.init_from(recipe, args.work, args.model)
    elif args.step == "autoencoder":
        commands.train_autoencoder(recipe, args.work, resolve(args.device))
    elif args.step == "denoiser":
        commands.train_denoiser(recipe, args.work, resolve(args.device))
    elif args.step == "finetune-decoder":
        commands.finetune(recipe, args.work, resolve(args.device))
    else:
        commands.package(recipe, args.work, args.out, args.scores)


if __name__ == "__main__":
    sys.exit(main())
