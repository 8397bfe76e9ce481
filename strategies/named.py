"""`strategy_from_name`: strategies by their names on the command line, and from a user's own file."""

from __future__ import annotations

from markets import InputError
from strategies.rules import BuyAndHold, EqualWeight, InverseVolatility, Momentum
from strategies.strategy import Strategy
from strategies.user_file import load_strategy

ALL = ("equal_weight", "buy_and_hold", "inverse_volatility", "momentum")
RULES = "equal_weight, buy_and_hold, inverse_volatility:WINDOW, momentum:WINDOW"


def strategy_from_name(text: str, year: int = 252, volatility: int = 63) -> Strategy:
    """Build a strategy from its name.

    Parameters
    ----------
    text : str
        A rule, such as ``equal_weight`` or ``momentum:252``, or a class in a file, ``my_strategy.py:MyStrategy``.
    year, volatility : int
        Windows in bars of ``momentum`` and ``inverse_volatility`` where the text has none.

    Raises
    ------
    InputError
        When the rule is unknown, its window is not a number, or the file has no such strategy.
    """
    if ".py:" in text:
        return load_strategy(text)()
    name, _, window = text.partition(":")
    if window and not (window.isascii() and window.isdecimal()):
        raise InputError(f"rule {text!r}: the window must be a whole number, as in momentum:252")
    with_window = {"momentum": (Momentum, year), "inverse_volatility": (InverseVolatility, volatility)}
    without = {"equal_weight": EqualWeight, "buy_and_hold": BuyAndHold}
    if name in with_window:
        rule, usual = with_window[name]
        return rule(int(window) if window else usual)
    if name in without and not window:
        return without[name]()
    raise InputError(
        f"rule {text!r} is unknown; use {RULES}, or a class in your own file, as in my_strategy.py:MyStrategy"
    )
