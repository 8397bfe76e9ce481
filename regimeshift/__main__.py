"""``regimeshift``: one command a step, and ``regimeshift demo`` for the whole way."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, Union

# Before torch is loaded. A second thread of it waits more than it works on networks of this size; when other processes
# want its core too (two commands at once, CI), everything takes several times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import tyro

from regimeshift.commands import adapt, backtest, bench, check, data, demo, regimes, register, signal, train, ui


def group(description: str, commands: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    """A command that is followed by the name of another."""

    def choose(command: Any) -> Any:
        return command

    # a union of one needs a second member to be one, which is not shown
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
        "Show what is in a data set (data FILE), or look for what is wrong with it (data check FILE).",
        {"show": data.Show, "check": data.Check},
    ),
    "regimes": regimes.Regimes,
    "train": train.Train,
    "adapt": adapt.Adapt,
    "backtest": backtest.Backtest,
    "register": register.Register,
    "signal": signal.Signal,
    "check": group("Check a strategy.", {"lookahead": check.Lookahead}),
    "bench": group("Measure what can be reached.", {"ceilings": bench.Ceilings, "adapt": bench.Adapt}),
    "ui": ui.Ui,
}


def main() -> None:
    """Run a command; what the user can mend is one line and status 2, never a traceback."""
    try:
        _run()
    except KeyboardInterrupt as interrupt:  # a command that keeps what it did says how to go on
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
        description="Backtest strategies, adapt them when the market changes, register the result. Start with: regimeshift demo",
        sort_subcommands=False,
    )
    from markets import InputError

    warnings.formatwarning = lambda message, *_: f"regimeshift: warning: {message}\n"
    try:
        command.run()
    except InputError as error:
        print(f"regimeshift: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
