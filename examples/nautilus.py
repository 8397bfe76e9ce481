"""A champion of the registry trades on NautilusTrader's backtest engine: ``python examples/nautilus.py [NAME BARS]``.

The strategy `Champion` asks the registered model for its decision at each bar, as `regimeshift signal` does, and sends market
orders in whole shares. The same bars go through our own walk-forward backtest, and both accounts are printed side by side: the
fills are the same, one for one, so the positions are. Without arguments a small model is registered in a temporary folder first.

It needs the extra `nautilus`. Long-only models that read closes can run, on bars on which each symbol has a close.
"""

from __future__ import annotations

import os
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.common.config import LoggingConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.config import StrategyConfig
from nautilus_trader.trading.strategy import Strategy

from backtests import registry, walk_forward
from markets import Bars, Costs, Execution, InputError, load
from strategies import MinimumVariance

VENUE = Venue("XNYS")
CASH, FEE, TICK = 1_000_000, 0.001, 2  # dollars, 10 basis points per side, decimals of a price
VOLUME = Quantity.from_int(1_000_000_000)  # of each bar: the venue fills at most a quarter of it at one price
# How NautilusTrader's cash account trades when `Champion` gives the orders: `docs/deploy.md` says why.
EXECUTION = Execution(fill="next_close", sizing="whole_lots", long_only=True, gross=np.inf, cash=CASH)


def lots(decision: dict[str, np.ndarray], shares: np.ndarray, price: np.ndarray, cash: float) -> np.ndarray:
    """Whole shares to hold of each symbol (A,): the rules of `docs/execution.md`, steps 5 to 7, for a long-only account.

    Parameters
    ----------
    decision : dict
        ``target_weight``, ``band`` and ``rate``, each of shape (A,); see `registry.target_weights`.
    shares, price : ndarray of shape (A,)
    cash : float
    """
    value = shares * price
    equity = cash + value.sum()
    weight = value / equity
    edge = np.clip(weight, decision["target_weight"] - decision["band"], decision["target_weight"] + decision["band"])
    target = np.maximum(weight + decision["rate"] * (edge - weight), 0)
    change = target * equity - value  # what an order and its cost change the value by
    raised = np.where(change / (1 - FEE) < -value, change, change / (1 - FEE))
    traded = np.where(change > 0, change / (1 + FEE), raised)
    wanted = np.where(target > 0, np.floor(shares + traded / price + 1e-9), 0)
    return np.where(np.abs(target - weight) > 1e-12, wanted, shares)


def affordable(wanted: np.ndarray, price: np.ndarray, cash: float) -> np.ndarray:
    """Shares to buy (A,): the smallest orders first, each cut to what the cash allows."""
    bought = np.zeros(len(wanted))
    for i in np.argsort(wanted * price, kind="stable"):
        bought[i] = min(wanted[i], np.floor(cash / (price[i] * (1 + FEE)) + 1e-9))
        cash -= bought[i] * price[i] * (1 + FEE)
    return bought


class Fill(NamedTuple):
    """One fill, as the venue reported it."""

    time: pd.Timestamp
    symbol: str
    shares: float
    price: float
    commission: float


class ChampionConfig(StrategyConfig, frozen=True):
    """Which model trades what.

    Attributes
    ----------
    model : str
        For `registry.load`: ``NAME`` is its champion.
    root : str
        MLflow's folder, unless ``MLFLOW_TRACKING_URI`` is set.
    bar_types : tuple of BarType
        One per symbol; the symbols are those of the model.
    first : str
        First bar at whose close to decide; those before warm up.
    """

    model: str
    root: str
    bar_types: tuple[BarType, ...]
    first: str


class Champion(Strategy):
    """Trades what the champion of the registry wants.

    A decision is made once the bars of all symbols have closed, and traded when they close the next time: the venue fills a
    market order at the close of the last bar it has seen, so one that is sent at once would be filled at the very price it was
    decided on. Sells are sent first, and buys when the last sell is filled: a cash account has no other money.
    """

    def __init__(self, config: ChampionConfig):
        super().__init__(config)
        self.ids = [bar_type.instrument_id for bar_type in config.bar_types]
        self.first = pd.Timestamp(config.first)
        self.times: list[pd.Timestamp] = []
        self.closes: list[list[float]] = []
        self.closing: dict[InstrumentId, float] = {}  # closes of the bar that is not complete yet
        self.decision: dict[str, np.ndarray] | None = None
        self.to_buy = np.zeros(len(self.ids))
        self.selling = 0  # sell orders that are not filled yet
        self.fills: list[Fill] = []

    def on_start(self) -> None:
        self.model = registry.load(self.config.model, root=self.config.root)
        for bar_type in self.config.bar_types:
            self.subscribe_bars(bar_type)

    def on_bar(self, bar: Bar) -> None:
        self.closing[bar.bar_type.instrument_id] = float(bar.close)
        if len(self.closing) < len(self.ids):
            return
        self.times.append(pd.Timestamp(bar.ts_event, tz=self.first.tz))
        self.closes.append([self.closing[id_] for id_ in self.ids])
        self.closing = {}
        if self.decision is not None:
            self.trade(self.decision)
        if self.times[-1] >= self.first:
            bars = Bars.make(
                pd.DatetimeIndex(self.times), [id_.symbol.value for id_ in self.ids], np.array(self.closes)
            )
            self.decision = registry.target_weights(self.model, bars)

    def trade(self, decision: dict[str, np.ndarray]) -> None:
        """Send the sells that lead to `decision`, and the buys if there are none."""
        shares = np.array([float(self.portfolio.net_position(id_)) for id_ in self.ids])
        change = lots(decision, shares, np.array(self.closes[-1]), self.cash) - shares
        self.to_buy, self.selling = np.maximum(change, 0), int((change < 0).sum())
        self.send(OrderSide.SELL, np.maximum(-change, 0))
        if not self.selling:
            self.buy()

    def buy(self) -> None:
        bought, self.to_buy = affordable(self.to_buy, np.array(self.closes[-1]), self.cash), np.zeros(len(self.ids))
        self.send(OrderSide.BUY, bought)

    def send(self, side: OrderSide, shares: np.ndarray) -> None:
        for i in np.flatnonzero(shares):
            quantity = Quantity.from_int(int(shares[i]))
            # where the risk engine knows a quote, it lets a cash account sell for more than its cash only what reduces
            order = self.order_factory.market(self.ids[i], side, quantity, reduce_only=side == OrderSide.SELL)
            self.submit_order(order)

    def on_order_filled(self, event: OrderFilled) -> None:
        sold = event.order_side == OrderSide.SELL
        shares = float(event.last_qty) * (-1 if sold else 1)
        time, symbol = pd.Timestamp(event.ts_event, tz=self.first.tz), event.instrument_id.symbol.value
        self.fills.append(Fill(time, symbol, shares, float(event.last_px), event.commission.as_double()))
        if sold and self.cache.order(event.client_order_id).is_closed:
            self.selling -= 1
            if not self.selling:
                self.buy()

    @property
    def cash(self) -> float:
        return self.portfolio.account(VENUE).balance_free(USD).as_double()


class Account(NamedTuple):
    """What one engine ended with, in dollars and shares."""

    fills: pd.DataFrame  # a row per fill, with the columns of `Fill`, by time and symbol
    shares: np.ndarray  # (A,)
    cash: float


def ours(model: registry.RegisteredStrategy, bars: Bars) -> Account:
    """Our backtest of the model on the visible rows of `bars`."""
    result = walk_forward([model], bars, costs=Costs(commission=FEE), execution=EXECUTION, progress=False)
    trades, account = result.ledger(0)
    shares = result[0].weights[-1] * account["equity"].iloc[-1] / bars.close[-1]
    return Account(sort(trades[list(Fill._fields)]), np.round(shares, 6), account["cash"].iloc[-1])


def theirs(
    model: registry.RegisteredStrategy, bars: Bars, root: str | Path, strategy: type[Champion] = Champion
) -> Account:
    """The model on NautilusTrader: it decides on the visible rows of `bars`, after those that the model was made for."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(log_level="ERROR"), run_analysis=False))
    try:
        # without a latency, fill or fee model of its own: no delay, no slippage, and the fees of the instruments
        engine.add_venue(VENUE, OmsType.NETTING, AccountType.CASH, [Money(CASH, USD)], base_currency=USD)
        ids = [InstrumentId(Symbol(symbol), VENUE) for symbol in bars.symbols]
        bar_types = tuple(BarType.from_str(f"{id_}-1-DAY-LAST-EXTERNAL") for id_ in ids)
        for i, id_ in enumerate(ids):
            engine.add_instrument(share(id_))
            engine.add_data(quoted(bar_types[i], since(bars, model.contract.bars.index[0]), i))
        champion = strategy(
            ChampionConfig(
                model=model.version.uri, root=str(root), bar_types=bar_types, first=bars.index[0].isoformat()
            )
        )
        engine.add_strategy(champion)
        engine.run()
        shares = np.array([float(engine.portfolio.net_position(id_)) for id_ in ids])
        return Account(sort(pd.DataFrame(champion.fills, columns=Fill._fields)), shares, champion.cash)
    finally:
        engine.dispose()


def share(id_: InstrumentId) -> Equity:
    """An instrument that is quoted in ticks, traded one by one, and costs `FEE`."""
    tick, one, fee = Price(10.0**-TICK, TICK), Quantity.from_int(1), Decimal(str(FEE))
    return Equity(id_, id_.symbol, USD, TICK, tick, one, ts_event=0, ts_init=0, maker_fee=fee, taker_fee=fee)


def quoted(bar_type: BarType, bars: Bars, column: int) -> list[Bar]:
    """NautilusTrader's bars of one symbol, of which only the close is known."""
    times = bars.index.as_unit("ns").asi8.tolist()
    prices = [Price(value, TICK) for value in bars.close[:, column].tolist()]
    return [Bar(bar_type, p, p, p, p, VOLUME, time, time) for p, time in zip(prices, times, strict=True)]


def sort(fills: pd.DataFrame) -> pd.DataFrame:
    return fills.sort_values(["time", "symbol"], kind="stable", ignore_index=True)


def since(bars: Bars, first: pd.Timestamp) -> Bars:
    """All bars from `first` on, those before the visible ones too."""
    held = bars.with_past()
    return held[int(held.index.searchsorted(first)) :]


def prepared(bars: Bars) -> Bars:
    """The bars as the venue quotes them: closes alone, in whole ticks."""
    return Bars.make(bars.index, bars.symbols, np.round(bars.with_past().close, TICK), name=bars.name)


def untraded(model: registry.RegisteredStrategy, bars: Bars) -> Bars:
    """The bars after those that the model was registered on.

    Raises
    ------
    InputError
        When there are none, or they or the model are not such as this example trades.
    """
    last = model.contract.bars.index[-1]
    first = int(bars.index.searchsorted(last, side="right"))
    if len(bars) - first < 2:
        raise InputError(
            f"{bars.name} has no two bars after {last}, up to which {model.name} was registered; register it with --end"
        )
    visible = bars[first:]
    if not np.isfinite(since(visible, model.contract.bars.index[0]).close).all():
        raise InputError(f"{bars.name} has gaps; this example trades symbols that have a close on every bar")
    if model.contract.columns or model.plan(visible[:1]).stops:
        raise InputError(f"{model.name} reads more than closes, or has stops; this example is for models that do not")
    return visible


def small_registry(root: str | Path) -> tuple[str, Bars]:
    """Register a model on prices up to 2020, and make it the champion; returns its name, and prices up to 2022."""
    bars = prepared(load("stocks").select(("AAPL", "CVX", "JNJ", "JPM", "KO", "MSFT", "PG", "WMT")))
    version = registry.register("steady", MinimumVariance(252, every="week", band=0.1), bars=bars[:"2020"], root=root)
    registry.promote(version, root=root)
    return "steady", bars


def compared(bars: Bars, us: Account, them: Account) -> str:
    """Both accounts side by side, and what their difference is made of."""
    rows = {f"shares of {symbol}": (us.shares[i], them.shares[i]) for i, symbol in enumerate(bars.symbols)}
    rows |= {
        "fills": (len(us.fills), len(them.fills)),
        "traded": tuple((a.fills["shares"].abs() * a.fills["price"]).sum() for a in (us, them)),
        "commissions": (us.fills["commission"].sum(), them.fills["commission"].sum()),
        "cash": (us.cash, them.cash),
        "equity": tuple(a.cash + a.shares @ bars.close[-1] for a in (us, them)),
    }  # fmt: skip
    lines = [f"{'':20}{'regimeshift':>20}{'NautilusTrader':>20}{'difference':>20}"]
    for name, (a, b) in rows.items():
        digits = 0 if name == "fills" or name.startswith("shares") else 2
        lines.append(f"{name:20}{a:20,.{digits}f}{b:20,.{digits}f}{b - a:20,.{digits}f}")
    rounding = them.fills["commission"].sum() - us.fills["commission"].sum()
    rest = rows["equity"][1] - rows["equity"][0] + rounding
    lines += [
        "",
        agreement(us.fills, them.fills),
        f"NautilusTrader rounds each commission to a cent: {rounding:,.2f} in all, at most {len(them.fills) / 200:,.2f}.",
        f"Of the difference in equity, {abs(rest):.2f} is left.",
    ]
    return "\n".join(lines)


def agreement(one: pd.DataFrame, other: pd.DataFrame) -> str:
    """In a line, which fills agree."""
    if same(one, other):
        return f"All {len(one):,} fills are the same: time, symbol, shares and price."
    a, b = (fills.groupby(["time", "symbol"])["shares"].sum() for fills in (one, other))
    apart = a.sub(b, fill_value=0).abs()
    return f"Of {len(one):,} fills {(apart > 0.5).sum():,} differ, by at most {apart.max():,.0f} of {a.abs().max():,.0f} shares."


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether fills agree in all but their commissions."""
    return (
        len(one) == len(other)
        and all((one[name] == other[name]).all() for name in ("time", "symbol"))
        and all(np.allclose(one[name], other[name], rtol=0, atol=1e-6) for name in ("shares", "price"))
    )


def main(words: list[str]) -> None:
    if len(words) not in (0, 2):
        sys.exit("usage: python examples/nautilus.py [NAME BARS]")
    if not words:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # the small model is for no other registry
    with tempfile.TemporaryDirectory() as folder:
        root: str | Path = "mlruns" if words else folder
        try:
            name, bars = (words[0], prepared(load(words[1]))) if words else small_registry(root)
            model = registry.load(name, root=root)
            bars = untraded(model, bars)
            us, them = ours(model, bars), theirs(model, bars, root)
        except InputError as error:
            sys.exit(f"nautilus: {error}")
    print(f"{model.name} from {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}\n")
    print(compared(bars, us, them))
    sys.exit(not np.array_equal(us.shares, them.shares))


if __name__ == "__main__":
    main(sys.argv[1:])
