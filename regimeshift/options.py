"""Options that several commands share: which data, at what costs and limits, and with which windows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from markets import Bars, Costs, Execution

Source = Annotated[
    str,
    tyro.conf.Positional,
    tyro.conf.arg(
        help="Data set: stocks, sp500, nasdaq, futures, us74, fx, nyse_o (see data fetch), a CSV or Parquet file or folder, "
        "yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h."
    ),
]

# Where a model is given there is no default: it would be run on data that it was not made for.
NamedSource = Annotated[
    str | None,
    tyro.conf.Positional,
    tyro.conf.arg(
        help="Data set: stocks, sp500, nasdaq, futures, us74, fx, nyse_o (see data fetch), a CSV or Parquet file or folder, "
        "yfinance:SPY,QQQ or ccxt:binance:BTC/USDT:1h. With a model it must be named."
    ),
]

LearnerName = Literal[
    "rl2", "latent", "maml", "anil", "cavia", "reptile", "finetune", "scratch", "rolling", "risk", "experts"
]


def named(source: str | None, command: str) -> str:
    """`source`, which must have been given to `command`.

    Raises
    ------
    InputError
        When it was not.
    """
    from markets import InputError

    if source is None:
        raise InputError(f"name the data that the model is made for, as in: regimeshift {command}")
    return source


def processors(jobs: int | None) -> int | None:
    """The value of ``--jobs``, as joblib takes it.

    Raises
    ------
    InputError
        When it is 0, of which joblib can make nothing.
    """
    from markets import InputError

    if jobs == 0:
        raise InputError("--jobs 0: it must be at least 1, or -1 for all processors")
    return jobs


@dataclass(kw_only=True)
class DataOptions:
    """Which part of a data set to use."""

    symbols: tuple[str, ...] = ()
    """Symbols to use, such as AAPL MSFT; by default all of the data set."""
    start: Annotated[str | None, tyro.conf.arg(aliases=("--from",))] = None
    """First bar to use, such as 2008 or 2008-01-31; earlier bars only warm up features and rules. By default the first."""
    end: Annotated[str | None, tyro.conf.arg(aliases=("--until",))] = None
    """Last bar to use, such as 2012 (with all of 2012) or 2012-06-30; by default the last."""

    resample: str | None = None
    """Period to resample to, such as 1D or W-FRI; by default the bars are used as they are."""

    def held(self, source: str) -> Bars:
        """The bars up to `end`, of which those before `start` are still visible.

        Raises
        ------
        InputError
            When `markets.load` does, or a span or symbol does not exist.
        """
        from markets.bars.time_spans import Span
        from regimeshift.console import step

        Span.of(self.start, self.end)  # refuses a start after the end, of which the bars up to the end know nothing

        with step(f"reading {source}"):
            from markets import load

            return load(source, end=self.end, symbols=self.symbols or None, resample=self.resample)

    def load(self, source: str) -> Bars:
        """The bars from `start` to `end`; earlier ones are their history.

        Raises
        ------
        InputError
            As for `held`.
        """
        bars = self.held(source)
        return bars[self.start :] if self.start else bars


@dataclass(kw_only=True)
class TradingOptions:
    """What trading costs, and what the account may do. A rate or fraction is written 10bp or 0.1%; 0 is none."""

    costs: str = "10bp"
    """Commission per side; quoted, or with a commission 2bp+quoted, also charges half of the spread that the data quote."""
    spread: str = "0"
    """Bid–ask spread; each side pays half of it. quoted: that of the data."""
    slippage: str = "0"
    """Loss per side against the fill price. It is charged as half a spread is."""
    leverage: float = 1.0
    """Largest gross weight, as a multiple of equity. Above 1, cash may be borrowed. Targets beyond it are scaled down, and the
    table says on how many bars."""
    borrow: str = "0"
    """Interest per year on borrowed cash."""
    short_fee: str = "0"
    """Fee per year on the value of short positions."""
    cash: float = 1_000_000.0
    """Initial cash."""
    long_only: bool = False
    """Forbid short positions: negative targets become 0."""

    def charged(self) -> Costs:
        """The costs, with slippage as a part of the spread.

        Raises
        ------
        InputError
            When a text cannot be read or a value is out of range.
        """
        from markets import Costs
        from markets.accounting.costs import QUOTED, fraction

        parsed, quoted = Costs.parse(self.costs), self.spread.strip() == QUOTED
        return Costs(
            commission=parsed.commission,
            spread=(0.0 if quoted else fraction(self.spread, "--spread")) + 2 * fraction(self.slippage, "--slippage"),
            quoted=max(parsed.quoted, float(quoted)),
            financing_rate=fraction(self.borrow, "--borrow"),
            borrow_rate=fraction(self.short_fee, "--short-fee"),
        )

    def limits(self) -> Execution:
        """The limits of the account.

        Raises
        ------
        InputError
            When a value is out of range.
        """
        from markets import Execution, InputError

        for name in ("leverage", "cash"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"--{name} {getattr(self, name):g}: it must be above 0 and finite")
        return Execution(gross=self.leverage, borrowing=self.leverage > 1, long_only=self.long_only, cash=self.cash)


@dataclass(kw_only=True)
class EvidenceOptions:
    """How what a learner has learnt is tested, and how far back it reads."""

    evidence: float = 1.0
    """Smallest t-statistic of the gain over the base, on validation tasks, for which what was learnt is kept."""
    lookback: int | None = None
    """Longest window of the features, in bars; all others are shortened alike. By default a year of bars that are daily or
    longer (252 daily, 52 weekly, 12 monthly), and 252 of shorter bars. A shorter one needs fewer bars."""


@dataclass(kw_only=True)
class LearningOptions(EvidenceOptions):
    """What a learner is built from."""

    base: Literal["inverse_volatility", "equal_weight", "flat"] = "inverse_volatility"
    """Weights that the policy tilts, and holds where validation does not support its tilt. flat: none, long or short."""
    utility: Literal["mean_variance", "certainty_equivalent"] = "mean_variance"
    """What training maximises. mean_variance: in units of each task's volatility, which pays for the right direction alone.
    certainty_equivalent: mean less 5 / 2 times the variance, per year, which also pays for holding less in a wild regime."""


@dataclass(kw_only=True)
class TrainingOptions(LearningOptions, TradingOptions, DataOptions):
    """What is trained, on which tasks."""

    learner: LearnerName = "rl2"
    """Adapting through a memory: rl2 (recurrent), latent (belief over the regime).
    Adapting by gradient steps from meta-trained weights: maml, anil (output layer), cavia (context vector), reptile.
    Adapting by gradient steps from pre-trained weights: finetune; from random weights: scratch, rolling (last 1,008 bars).
    Adapting the estimates of risk behind a minimum-variance portfolio: risk.
    Moving between specialists, one trained on the bars of each regime, as the regime changes: experts."""
    validation: str | None = None
    """Start of validation, such as 2000 or 2000-01-31.
    By default after 30 % of the data (without the features' warm-up), or at the nearest 1 January with ten years or more."""
    test: str | None = None
    """Start of the test, which training does not use; by default after 55 % of the data, likewise."""
    n_regimes: int | None = None
    """Number of regimes; by default 3, or fewer if there are not 20 bars to fit each on. Experts have a specialist for each; by
    default 2."""
    uncertainty: str = ""
    """Train in markets that differ from the data by as much: "shift=0.05, volatility=1.5, costs=3" is a drift of up to 0.05
    volatilities per bar against whatever is held, returns up to 1.5 times as large or small, trading up to 3 times as dear.
    Validation and test stay as the data are. By default the data alone."""
    copies: int = 4
    """With --uncertainty, number of such markets, from the data as they are to the furthest; each step trains in all of them."""
    worst_case: str = ""
    """Train for the markets (with --uncertainty) or regimes (without) in which the policy does worst: cvar:0.25 is the mean of
    the worst quarter of them, softmin:0.01 weighs all, the worst most. By default the mean over all tasks."""
    teachers: tuple[str, ...] = ()
    """Strategies that rl2 or latent copies in the first 30 % of training, instead of a start without costs: rules such as
    momentum:252, classes in your own files (my_rules.py:Rule), trained models by their folders, registered ones as
    models:/NAME@ALIAS. The trained model needs none of them."""
    steps: int = 300
    """Training steps; not used by scratch and rolling, which have no meta-training (and nothing to resume)."""
    seed: int = 0
    """Random seed; the same seed gives a bit-identical model."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""


def words(options: DataOptions | TradingOptions, *kinds: type, leave: tuple[str, ...] = ()) -> list[str]:
    """The options of `kinds` that differ from their defaults, as words of a command line; those named in `leave` are left out."""
    found: list[str] = []
    for kind in kinds:
        for field in fields(kind):
            value = getattr(options, field.name)
            if value == field.default or field.name in leave:
                continue
            option = "--" + field.name.replace("_", "-")
            values = () if value is True else value if isinstance(value, tuple) else (value,)
            found += [option, *map(str, values)]
    return found
