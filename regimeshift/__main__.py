"""The ``regimeshift`` command: one subcommand per step of the workflow, and ``regimeshift demo`` for all of them."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Union

# Must be set before torch is imported. With networks of this size a second thread does not help, and when other processes use
# its core (two commands at once, CI), thread synchronisation makes everything several times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tyro

from regimeshift.commands import (
    adapt,
    backtest,
    bench,
    check,
    data,
    demo,
    explain,
    headroom,
    history,
    infer,
    promote,
    regimes,
    register,
    replay,
    robustness,
    rollback,
    serve,
    signal,
    sweep,
    train,
    transfer,
    tune,
    ui,
    watch,
)


def group(description: str, commands: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """A command with subcommands."""

    def choose(command: Any) -> Any:
        return command

    # with a single command, a second, hidden member is needed to make this a Union
    choices: Any = Union[
        *(Annotated[Any, tyro.conf.subcommand(name=n, constructor=c)] for n, c in commands.items()),
        Annotated[None, tyro.conf.Suppress],
    ]
    choose.__annotations__["command"] = Annotated[choices, tyro.conf.arg(name="")]
    choose.__doc__ = description
    return choose


COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo.Demo,
    "data": group(
        "Summarise a data set (data FILE), check its quality (data check FILE), or fetch one (data fetch NAME).",
        {"show": data.Show, "check": data.Check, "fetch": data.Fetch},
    ),
    "regimes": regimes.Regimes,
    "headroom": headroom.Headroom,
    "train": train.Train,
    "tune": tune.Tune,
    "adapt": adapt.Adapt,
    "transfer": transfer.Transfer,
    "backtest": backtest.Backtest,
    "sweep": sweep.Sweep,
    "robustness": robustness.Robustness,
    "register": register.Register,
    "promote": promote.Promote,
    "rollback": rollback.Rollback,
    "history": history.History,
    "signal": signal.Signal,
    "explain": explain.Explain,
    "serve": serve.Serve,
    "watch": watch.Watch,
    "replay": replay.Replay,
    "infer": infer.Infer,
    "check": group("Check a strategy.", {"lookahead": check.Lookahead}),
    "bench": group("Measure learners against known optima.", {"ceilings": bench.Ceilings, "adapt": bench.Adapt}),
    "ui": ui.Ui,
}


def shadowed() -> str:
    """Which file or folder is imported in place of a package of ours, in a line; empty if none is.

    ``python -m regimeshift`` puts the working directory first on the import path, and a user may have a folder ``markets`` there.
    """
    home = Path(__file__).resolve().parents[1]
    for package in ("markets", "strategies", "metalearner", "backtests"):
        spec = find_spec(package)
        places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or ())]
        found = next((Path(place).resolve() for place in places if place and Path(place).exists()), None)
        if found is not None and not found.is_relative_to(home / package):
            return (
                f"{found} shadows regimeshift's package {package!r}: rename it, start elsewhere, or start the installed "
                "command, regimeshift (or python -P -m regimeshift)"
            )
    return ""


def main() -> None:
    """Run a command. Errors that the user can fix are printed as one line, without a traceback, with exit status 2."""
    if shadow := shadowed():
        print(f"regimeshift: {shadow}", file=sys.stderr)
        sys.exit(2)
    try:
        _run()
    except KeyboardInterrupt as interrupt:  # commands that save their progress say how to continue
        print("\nregimeshift: interrupted" + "".join(f"; {hint}" for hint in interrupt.args), file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `regimeshift data stocks | head`
        sys.stderr.close()
        sys.exit(0)


def _run() -> None:
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        args=data.with_show(sys.argv[1:]),
        prog="regimeshift",
        description="Backtest strategies, adapt them to new market regimes, register the result. Start with: regimeshift demo",
        sort_subcommands=False,
    )
    from regimeshift.console import step

    with step("starting"):
        from markets import InputError

    warnings.formatwarning = lambda message, *_: f"regimeshift: warning: {message}\n"
    try:
        command.run()
    except InputError as error:
        print(f"regimeshift: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        from backtests.remote import explanation
        from strategies.failures import failure

        if where := failure(error) or explanation(error, os.environ.get("MLFLOW_TRACKING_URI", "")):
            print(f"regimeshift: {where}", file=sys.stderr)
            sys.exit(2)
        if not _disk_is_full(error):
            raise
        place = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        print(f"regimeshift: the disk is full{place}; make room, and run the command again", file=sys.stderr)
        sys.exit(2)


def _disk_is_full(error: Exception) -> bool:
    """Whether a file, a checkpoint (safetensors) or MLflow's database (SQLite) could not be written for lack of space."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or any(text in str(error) for text in ("No space left on device", "database or disk is full"))


if __name__ == "__main__":
    main()
