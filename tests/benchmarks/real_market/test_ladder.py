"""Each rung on made-up intervals: reached where its claim holds, and not where any part of it fails."""

from dataclasses import dataclass, field

import pytest

from benchmarks.real_market.ladder import best, beyond, no_harm, returns, risk


@dataclass
class Ends:
    low: float
    high: float

    @property
    def value(self):
        return (self.low + self.high) / 2


@dataclass
class Compared:
    pooled: Ends
    by_universe: dict = field(default_factory=dict)
    adjusted: dict = field(default_factory=dict)


def asked(**found):
    """Differences by statistic, whatever the strategies."""
    return lambda name, other, statistic: found[statistic.replace(" ", "_")]


def sharpe(low, per=None):
    return asked(sharpe=Compared(Ends(low, low + 0.4), per or {"a": Ends(-0.05, 0.3)}))


@pytest.mark.parametrize(
    ("low", "drawdowns", "reached"),
    [
        (-0.09, {"a": (0.2, 0.3)}, True),
        (-0.11, {"a": (0.2, 0.3)}, False),
        (-0.09, {"a": (0.31, 0.3)}, False),
        (0.2, {"a": (0.3, 0.3)}, True),
        (-0.09, {"a": (0.35, 0.3), "b": (0.2, 0.3)}, True),  # not deeper on average
        (float("nan"), {"a": (0.2, 0.3)}, False),
    ],
)
def test_no_harm(low, drawdowns, reached):
    per = {u: Ends(-0.05, 0.3) for u in drawdowns}
    found = no_harm(sharpe(low, per), "new", "base", drawdowns, 0.1, [*drawdowns])
    assert found.reached is reached


def test_no_harm_by_universe():
    per = {"a": Ends(-0.05, 0.3), "b": Ends(-0.2, 0.3), "c": Ends(0.1, 0.3)}
    drawdowns = {"a": (0.2, 0.3), "b": (0.2, 0.3), "c": (0.4, 0.3)}
    found = no_harm(sharpe(-0.05, per), "new", "base", drawdowns, 0.1, "abc")
    assert found.by_universe == {"a": True, "b": False, "c": False}


NEW = ("new", "control")


def risks(values, adjusted, utility_low, utilities=None):
    variance = Compared(Ends(-0.3, -0.1), {u: Ends(v, v) for u, v in values.items()}, adjusted)
    utility = {u: Ends(v, v) for u, v in (utilities or dict.fromkeys(values, 0.01)).items()}
    return asked(log_variance=variance, certainty_equivalent=Compared(Ends(utility_low, 0.05), utility))


@pytest.mark.parametrize(
    ("values", "adjusted", "low", "reached"),
    [
        ({"a": -0.1, "b": -0.2}, {"a": 0.01, "b": 0.04}, 0.001, True),
        ({"a": -0.1, "b": 0.2}, {"a": 0.01, "b": 0.04}, 0.001, False),  # more variance, surely
        ({"a": -0.1, "b": -0.2}, {"a": 0.01, "b": 0.06}, 0.001, False),  # by chance
        ({"a": -0.1, "b": -0.2}, {"a": 0.01, "b": 0.04}, -0.001, False),
        ({}, {}, 0.001, False),
    ],
)
def test_risk(values, adjusted, low, reached):
    assert risk(risks(values, adjusted, low), NEW, NEW, 0.05, [*values]).reached is reached


def test_risk_by_universe():
    ask = risks(
        {"a": -0.1, "b": -0.2, "c": -0.1}, {"a": 0.01, "b": 0.01, "c": 0.2}, 0.01, {"a": 0.1, "b": -0.1, "c": 0.1}
    )
    assert risk(ask, NEW, NEW, 0.05, "abc").by_universe == {"a": True, "b": False, "c": False}


ONE, OTHER = ("calm", "calm, frozen"), ("sure", "sure, frozen")


def halves(name, control, statistic):
    """One has less variance than its control and no more certainty equivalent; the other the reverse."""
    good = (name, statistic) in {("calm", "log variance"), ("sure", "certainty equivalent")}
    sign = -1 if statistic == "log variance" else 1
    ends = Ends(*sorted((sign * 0.1, sign * 0.3))) if good else Ends(-0.3, 0.3)
    return Compared(ends, {"a": ends}, {"a": 0.01 if good else 0.9})


def test_each_half_of_the_risk_is_of_the_contender_that_was_trained_for_it():
    assert risk(halves, ONE, OTHER, 0.05, "a").reached
    assert not risk(halves, OTHER, ONE, 0.05, "a").reached
    assert not risk(halves, ONE, ONE, 0.05, "a").reached
    assert not risk(halves, OTHER, OTHER, 0.05, "a").reached
    why = risk(halves, ONE, OTHER, 0.05, "a").why
    assert "calm: log variance" in why
    assert "sure: certainty equivalent" in why


def test_beyond_the_textbook_is_by_the_variance_of_one_or_by_the_certainty_of_the_other():
    assert beyond(halves, ("calm", ["x"]), ("sure", ["x"]), "a").reached
    assert beyond(halves, ("calm", ["x"]), ("calm", ["x"]), "a").reached
    assert not beyond(halves, ("sure", ["x"]), ("calm", ["x"]), "a").reached


@pytest.mark.parametrize("there", [{"a": Ends(0.1, 0.2)}, {"a": Ends(0.1, 0.2), "b": Ends(float("nan"), 0.2)}, {}])
def test_what_was_not_measured_on_every_universe_is_not_reached(there):
    def ask(name, other, statistic):
        sign = -1 if statistic == "log variance" else 1
        each = {u: Ends(*sorted((sign * i.low, sign * i.high))) for u, i in there.items()}
        return Compared(Ends(*sorted((sign * 0.1, sign * 0.2))), each, dict.fromkeys(there, 0.01))

    for rung in (
        no_harm(ask, "new", "base", dict.fromkeys(there, (0.2, 0.3)), 0.1, "ab"),
        risk(ask, NEW, NEW, 0.05, "ab"),
        beyond(ask, ("new", ["x"]), ("new", ["x"]), "ab"),
    ):
        assert not rung.reached
        assert rung.why.startswith("not measured on every universe")


def textbook(variance, utility):
    """Pooled and on the one universe alike, by the other strategy."""

    def ask(name, other, statistic):
        ends = (variance if statistic == "log variance" else utility)[other]
        return Compared(ends, {"a": ends})

    return ask


BETTER, WORSE, UNSURE = Ends(0.1, 0.3), Ends(-0.3, -0.1), Ends(-0.1, 0.3)


@pytest.mark.parametrize(
    ("variance", "utility", "reached"),
    [
        ({"x": WORSE, "pool": WORSE}, {"x": UNSURE, "pool": UNSURE}, True),  # less variance than both
        ({"x": BETTER, "pool": BETTER}, {"x": BETTER, "pool": BETTER}, True),  # more certainty equivalent than both
        ({"x": WORSE, "pool": UNSURE}, {"x": UNSURE, "pool": BETTER}, False),  # one by this, the other by that
        ({"x": BETTER, "pool": BETTER}, {"x": WORSE, "pool": WORSE}, False),
        ({"x": BETTER, "pool": BETTER}, {"x": UNSURE, "pool": BETTER}, False),
    ],
)
def test_beyond_the_textbook(variance, utility, reached):
    found = beyond(textbook(variance, utility), ("new", ["x", "pool"]), ("new", ["x", "pool"]), "a")
    assert found.reached is reached
    assert found.by_universe == {"a": reached}


def test_a_book_that_may_hold_cash_is_not_judged_by_its_variance():
    found = beyond(textbook({}, {"x": UNSURE}), ("new", []), ("new", ["x"]), "a")
    assert not found.reached
    assert "new: not judged by log variance" in found.why
    assert beyond(textbook({}, {"x": BETTER}), ("new", []), ("new", ["x"]), "a").reached


def test_beyond_nothing_is_not_reached():
    assert not beyond(textbook({}, {}), ("new", []), ("new", []), "a").reached


def test_the_hardest_baseline_is_named():
    variance = {"x": Ends(-0.5, -0.4), "y": Ends(-0.3, -0.1)}
    found = beyond(textbook(variance, {"x": BETTER, "y": BETTER}), ("new", ["x", "y"]), ("new", ["x", "y"]), "a")
    assert "to y, the hardest" in found.why.split(";")[0]


@pytest.mark.parametrize(
    ("momentum", "trend", "memoryless", "seeds", "reached"),
    [
        (0.01, 0.01, 0.01, 5, True),
        (-0.01, 0.01, 0.01, 5, False),
        (0.01, -0.01, 0.01, 5, False),
        (0.01, 0.01, -0.01, 5, False),
        (0.01, 0.01, float("nan"), 5, False),
        (0.01, 0.01, 0.01, 4, False),
    ],
)
def test_returns(momentum, trend, memoryless, seeds, reached):
    lows = {"momentum": momentum, "trend": trend, "memoryless": memoryless}

    def ask(name, other, statistic):
        assert statistic == "sharpe"
        return Compared(Ends(0, 0), {"futures": Ends(lows[other], 0.5), "other": Ends(-1, 1)})

    found = returns(ask, "new", [*lows], "futures", seeds, 5)
    assert found.reached is reached
    assert found.by_universe == {"futures": reached}


def test_returns_that_were_not_measured_are_not_reached():
    found = returns(lambda *_: Compared(Ends(1, 1), {"stocks": Ends(1, 1)}), "new", "mc", "futures", 5, 5)
    assert not found.reached
    assert found.why.startswith("not measured")


def test_best():
    assert best({"a": 0.9, "b": 1.01}, 1.0).reached
    assert best({"a": 0.9, "b": 1.01}, 1.0).why == "1.01, b"
    assert not best({"a": 1.0}, 1.0).reached
    assert not best({}, 1.0).reached
