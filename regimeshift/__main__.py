"""``regimeshift``: one command a step, and ``regimeshift demo`` for the whole way."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import tyro

from regimeshift.commands import adapt, backtest, data, demo, regimes, register, signal, train, ui

COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo.Demo,
    "data": data.Data,
    "regimes": regimes.Regimes,
    "train": train.Train,
    "adapt": adapt.Adapt,
    "backtest": backtest.Backtest,
    "register": register.Register,
    "signal": signal.Signal,
    "ui": ui.Ui,
}


def main() -> None:
    """Run a command; what the user can mend is one line and status 2, never a traceback."""
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
    except KeyboardInterrupt:
        print("\nregimeshift: interrupted; a training that was under way continues with --resume", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `regimeshift data stocks | head`
        sys.stderr.close()
        sys.exit(0)


if __name__ == "__main__":
    main()
