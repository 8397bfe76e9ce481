"""`Certificate`: what was checked of a strategy when it was registered, on which data and by which code.

Three things are checked of the very strategy that will decide, with its weights as they are:

* **Look-ahead.** Every row of the last `ROWS` is planned again with all later bars cut off, and must be the same; and at some of
  them the future is scrambled instead, with and without gaps in the data (`backtests.engine.lookahead`).
* **Warm-up.** The last rows are the same however many bars come before the declared warm-up (`backtests.robustness.warm_up`), and
  whatever those bars are: they are scrambled as well.
* **Limits.** On fuzzed histories (wild and constant prices, jumps, gaps, other units) every decision is finite, and within
  the limits that the strategy declares.

A certificate is JSON with sentences, so that it can be read by eye: ``registry.certificate_of(version).text``.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from markets import Bars, InputError
from markets.bars.bars import FIELDS
from markets.common.formats import FORMAT
from markets.common.words import count
from strategies import Blend, Strategy, needs, stored
from strategies.learned import LearnedStrategy
from strategies.limits import LeverageLimit, WeightLimit
from strategies.strategy import planned

ROWS = 250  # last rows of the bars of which each is checked for look-ahead
CUTS = 12  # rows of them after which the future is scrambled
SCRAMBLED = 4  # draws of what comes before the warm-up
FUZZED = 100  # histories on which limits are checked
SHOWN = 5  # last rows of each of them
TOLERANCE = 1e-6  # of a weight; less is rounding
_DECIDES = ("markets", "strategies", "backtests/contract.py", "backtests/deployment.py", "backtests/request.py")


@dataclass(frozen=True)
class Check:
    """One thing that was checked.

    Attributes
    ----------
    name : str
    passed : bool or None
        None if there were too few bars to tell.
    tried : int
        Rows, starts or histories that were tried.
    sentence : str
        What was found, without a full stop.
    """

    name: str
    passed: bool | None
    tried: int
    sentence: str


@dataclass(frozen=True)
class Certificate:
    """What was checked of a strategy.

    Attributes
    ----------
    fingerprint : str
        Of the strategy.
    data_hash, span_hash : str
        Of the bars that it was checked on; see `Bars.hash` and `Bars.span_hash`.
    code_hash : str
        Of the code that decides; see `code_hash`.
    span : str
        First and last bar.
    seed : int
        Of all that was drawn.
    checks : tuple of Check
    """

    fingerprint: str
    data_hash: str
    span_hash: str
    code_hash: str
    span: str
    seed: int
    checks: tuple[Check, ...]

    @property
    def text(self) -> str:
        """The certificate as JSON."""
        return json.dumps({"format": FORMAT} | asdict(self), indent=2, ensure_ascii=False)

    @classmethod
    def read(cls, text: str) -> Certificate:
        """A certificate from its JSON.

        Raises
        ------
        InputError
            When it is none.
        """
        try:
            found = json.loads(text)
            if found.pop("format") != FORMAT:
                raise ValueError("its format is another one")
            return cls(**found | {"checks": tuple(Check(**check) for check in found["checks"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"the certificate cannot be read ({error}); register the model again") from None


def certify(
    strategy: Strategy, bars: Bars, *, rows: int | None = None, fuzzed: int | None = None, seed: int = 0
) -> Certificate:
    """Check a strategy that is adapted already.

    Parameters
    ----------
    strategy : Strategy
    bars : Bars of shape (T, A)
        Such as it will decide on.
    rows : int, optional
        Last rows that are checked for look-ahead; by default `ROWS`.
    fuzzed : int, optional
        Histories on which limits are checked; by default `FUZZED`.
    seed : int
        Of the scrambled and fuzzed prices.

    Returns
    -------
    Certificate
        Whether or not the checks passed.
    """
    rows, fuzzed = ROWS if rows is None else rows, FUZZED if fuzzed is None else fuzzed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about scrambled prices
        checks = (
            _safely("look-ahead", lambda: _look_ahead(strategy, bars, rows, seed)),
            _safely("warm-up", lambda: _warm_up(strategy, bars, seed)),
            _safely("limits", lambda: _limits(strategy, bars, fuzzed, seed)),
        )
    span = f"{bars.index[0]} to {bars.index[-1]}"
    try:
        fingerprint = stored.fingerprint(strategy)
    except InputError:  # it cannot be stored, so it cannot be deployed either
        fingerprint = "none"
    return Certificate(fingerprint, bars.hash, bars.span_hash, code_hash(), span, seed, checks)


@cache
def code_hash() -> str:
    """SHA-256 of the source that decides: the packages ``markets`` and ``strategies``, and what serves them."""
    spec = find_spec("backtests")
    assert spec is not None
    assert spec.origin is not None
    home, digest = Path(spec.origin).parents[1], hashlib.sha256()
    for place in _DECIDES:
        path = home / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(home).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


# ---------------------------------------------------------------------------------------------------- the checks


def _safely(name: str, check: Callable[[], Check]) -> Check:
    """A check, which is not passed if the strategy fails in it."""
    try:
        return check()
    except Exception as error:
        return Check(name, False, 0, f"the strategy fails: {type(error).__name__}: {error}")


def _look_ahead(strategy: Strategy, bars: Bars, rows: int, seed: int) -> Check:
    from backtests.engine.guard import Guard
    from backtests.engine.lookahead import find_lookahead

    held = bars.with_past()
    rows = min(rows, len(held) - strategy.warmup - 1)
    if rows < 2:
        return Check("look-ahead", None, 0, f"{count(len(held), 'bar')} are too few to check for look-ahead")
    # more history than is read would only take time
    shown = needs.window(strategy, held[-rows:])
    try:
        Guard(None).check(strategy, shown, planned(strategy, shown))
        leaks = find_lookahead(lambda: strategy, shown, cuts=CUTS, seed=seed, progress=False) if rows >= 60 else []
    except InputError as error:
        return Check("look-ahead", False, rows - 1, str(error))
    if leaks:
        return Check("look-ahead", False, rows - 1, f"{strategy.name} looks ahead: {leaks[0]}")
    also = f", and scrambled after {CUTS} of them" if rows >= 60 else ""
    return Check("look-ahead", True, rows - 1, f"no look-ahead: {count(rows - 1, 'row')} with the future cut off{also}")


def _warm_up(strategy: Strategy, bars: Bars, seed: int) -> Check:
    from backtests.robustness.case import Case
    from backtests.robustness.warm_up import check_warm_up

    if needs.endless(strategy):
        return Check("warm-up", True, 0, "it depends on all bars since registration, which every request holds")
    held = bars.with_past()
    rows = min(20, len(held) - strategy.warmup - 2)
    if rows < 1:
        return Check("warm-up", None, 0, f"{count(len(held), 'bar')} are too few to vary what comes before the warm-up")
    try:
        section = check_warm_up(Case(strategy, held, "0"), rows=rows, tolerance=TOLERANCE)
        sizes = section.table["size"]
        if (sizes > TOLERANCE).any():
            return Check("warm-up", False, len(sizes), section.finding.rstrip("."))
        change = _scrambled_before(strategy, held, rows, seed)
    except InputError as error:
        return Check("warm-up", False, 0, str(error))
    tried = len(sizes) + SCRAMBLED
    if change > TOLERANCE:
        return Check("warm-up", False, tried, f"weights change by {change:.2g} with prices before the declared warm-up")
    return Check(
        "warm-up", True, tried,
        f"the same decisions from {count(len(sizes), 'start')} and {count(SCRAMBLED, 'scrambled past')} before the declared "
        f"{count(strategy.warmup, 'bar')}",
    )  # fmt: skip


def _scrambled_before(strategy: Strategy, held: Bars, rows: int, seed: int) -> float:
    """Largest change of a weight of the last rows when all that comes before their warm-up is scrambled."""
    rng, last = np.random.default_rng(seed), held[-rows:]
    before = len(held) - len(last.without_past(keep=strategy.warmup + 1).with_past())
    whole, worst = planned(strategy, last), 0.0
    for _ in range(SCRAMBLED if before else 0):
        factor = np.ones(held.shape)
        factor[:before] = np.exp(rng.normal(0, 0.3, (before, held.shape[1])))
        other = planned(strategy, _times(held, factor)[-rows:])
        for part in whole.parts | other.parts:
            one, two = whole.part(part), other.part(part)
            with np.errstate(invalid="ignore"):  # infinite bands are equal
                worst = max(worst, float(np.where(one == two, 0.0, np.abs(one - two)).max()))
    return worst


def _limits(strategy: Strategy, bars: Bars, fuzzed: int, seed: int) -> Check:
    gross, weight = declared(strategy)
    held, rng = bars.with_past(), np.random.default_rng(seed)
    last = held[-SHOWN:].without_past(keep=strategy.warmup + 1).with_past()
    largest, heaviest, tried = 0.0, 0.0, 0
    for k in range(fuzzed):
        try:
            plan = planned(strategy, _fuzzed(last, rng)[-SHOWN:])
        except InputError as error:
            if error.cell is None:  # it refuses such bars, which is safe
                continue
            return Check("limits", False, k + 1, f"on fuzzed history {k + 1}: {error}")
        except Exception as error:
            return Check("limits", False, k + 1, f"on fuzzed history {k + 1}: {type(error).__name__}: {error}")
        tried += 1
        largest = max(largest, float(np.abs(plan.aim).sum(axis=1).max()))
        heaviest = max(heaviest, float(np.abs(plan.aim).max()))
    held_to = [
        f"{what} at most {found:.4g} of {limit:g} allowed"
        for what, found, limit in (("gross weight", largest, gross), ("a weight", heaviest, weight))
        if np.isfinite(limit)
    ]
    words = f"{count(tried, 'fuzzed history').replace('historys', 'histories')}: " + (
        ", ".join(held_to) or f"gross weight at most {largest:.4g}; no limit is declared"
    )
    return Check("limits", largest <= gross * (1 + 1e-9) and heaviest <= weight * (1 + 1e-9), tried, words)


def declared(strategy: Strategy) -> tuple[float, float]:
    """Largest gross weight, and largest absolute weight of a symbol, that a strategy declares; infinite where none is."""
    if isinstance(strategy, LeverageLimit | WeightLimit):  # these make nothing larger
        inner = strategy.strategy
        gross, weight = declared(inner) if isinstance(inner, Strategy) else (np.inf, np.inf)
        one = isinstance(strategy, WeightLimit)
        return (gross, min(weight, strategy.largest)) if one else (min(gross, strategy.largest), weight)
    if isinstance(strategy, Blend):
        found = np.array([declared(part) for part in strategy.parts]).mean(axis=0)
        return float(found[0]), float(found[1])
    if isinstance(strategy, LearnedStrategy):
        return float(getattr(strategy.policy.settings, "limit", np.inf)), np.inf
    return np.inf, np.inf


def _fuzzed(bars: Bars, rng: np.random.Generator) -> Bars:
    """The bars with other prices: each symbol wild, calm or constant, in another unit, with jumps and gaps."""
    length, symbols = bars.shape
    volatility = 10.0 ** rng.uniform(-5, -0.7, symbols)
    steps = volatility * rng.standard_t(2.5, (length, symbols)).clip(-30, 30)
    jumps = rng.random((length, symbols)) < rng.choice([0.0, 0.01, 0.1])
    steps += jumps * rng.normal(0, 1.0, (length, symbols))
    steps[:, rng.random(symbols) < 0.2] = 0.0
    level = np.clip(np.cumsum(steps, axis=0), -20, 20) + np.log(10.0) * rng.uniform(-3, 3, symbols)
    wanted = np.exp(level)
    wanted[rng.random((length, symbols)) < rng.choice([0.0, 0.02, 0.2])] = np.nan
    return _times(bars, wanted / bars.close)


def _times(bars: Bars, factor: np.ndarray) -> Bars:
    """The bars, none of them history, with prices, volumes and quoted spreads multiplied by `factor` of shape (T, A)."""
    fields = {name: np.array(values) * factor for name in FIELDS if (values := getattr(bars, name)) is not None}
    return bars.with_values(**fields)
