import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import samples
import torch
from families import Walk

from markets import Bars, Features, HiddenMarkovRegimes, InputError, TaskSet
from markets.features import VolumeSurprise
from metalearner import (
    DQN,
    MAML,
    RL2,
    AdaptiveRisk,
    CertaintyEquivalent,
    Ensemble,
    Environments,
    Experts,
    FineTune,
    Inner,
    Latent,
    MeanVariance,
    Pathwise,
    Training,
    load_meta,
)
from metalearner.learners.transfer import NewMarket, Origin, TrainingBars, known_until
from metalearner.objectives.utilities import DrawdownPenalised
from strategies import PolicySettings, Pool, PortfolioSettings

TRAINING = Training(steps=3, evaluate_every=3, evidence=-1e9)
FEATURES = Features.scaled(20)
TILT = PolicySettings(features=FEATURES, base_window=20, hidden=4)
STILL = replace(TILT, memory="none")
POOL = Pool(volatilities=(5, 40), correlations=(20, 60), window=80, shortest=20)
LEARNERS = {
    "RL2": RL2(TILT, training=TRAINING, context=15, control="trained"),
    "latent": Latent(replace(TILT, memory="belief"), training=TRAINING, context=15),
    "MAML": MAML(STILL, training=TRAINING, inner=Inner(steps=2, support=30), learn_step_sizes=True),
    "fine-tune": FineTune(STILL, training=TRAINING, inner=Inner(steps=2, support=0), step_sizes=()),
    "risk": AdaptiveRisk(PortfolioSettings(pool=POOL), training=replace(TRAINING, keep="last", evidence=None)),
    "experts": Experts(
        TILT, training=TRAINING, context=15, detector=HiddenMarkovRegimes(2, restarts=2), fewest=1, gate_steps=2
    ),
    "ensemble": Ensemble(RL2(TILT, training=TRAINING, context=15), 2),
}


def named(bars: Bars, name: str = "away") -> Bars:
    """The bars with symbols that no training has seen."""
    return Bars.make(bars.index, [f"{name} {s}" for s in bars.symbols], bars.close, name=name)


def parts_of(meta):
    """The policies of which it is made."""
    return getattr(meta, "members", getattr(meta, "experts", (meta,)))


@pytest.fixture(scope="module")
def home():
    return samples.regime_bars(700, 3, seed=1)


@pytest.fixture(scope="module")
def away():
    """700 bars of another market, of which the first 500 are its past."""
    return named(samples.regime_bars(700, 4, seed=2))


@pytest.fixture(scope="module")
def trained(home):
    tasks = TaskSet.from_windows(home[:500], support=20, query=40, warmup=60).split(home.index[300], embargo=0)
    found = {}
    for name, learner in LEARNERS.items():
        found[name] = learner.fit(*tasks, progress=False)
        members = parts_of(found[name])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            for member in members:
                for parameter in member.policy.parameters():
                    torch.nn.init.normal_(parameter, std=0.3)
    return found


def aims(strategy, bars):
    return strategy.plan(bars).aim


@pytest.mark.parametrize("name", LEARNERS)
def test_every_kind_is_handed_over_with_its_controls(trained, away, name, tmp_path):
    meta, past, rest = trained[name], away[:500], away[500:]
    before = meta.fingerprint
    moved = meta.transfer(past, costs="2bp")
    assert meta.fingerprint == before
    assert type(moved) is type(meta)
    assert moved.seen_until == past.index[-1]
    assert str(moved.transferred_from) == "transferred from synthetic, bars 1 day apart up to 2002-11-01"
    assert "transferred from synthetic" in moved.remark
    assert all(one.objective.costs.commission == 0.0002 for one in parts_of(moved))
    again = load_meta(moved.save(tmp_path / "m"))
    assert (again.transferred_from, again.trained_on) == (moved.transferred_from, moved.trained_on)
    assert (again.fingerprint, again.tilt_test, again.remark) == (moved.fingerprint, moved.tilt_test, moved.remark)
    for one, other in ((again.adapt(past), moved.adapt(past)), (again.unadapted(), moved.unadapted())):
        np.testing.assert_array_equal(aims(one, rest), aims(other, rest))
    for control in moved.controls().values():
        assert np.isfinite(aims(control, rest)).all()


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_after_the_last_bar_is_read_and_all_is_the_same_to_the_bit(trained, away, name):
    wild = Bars.make(away.index, away.symbols, np.vstack([away.close[:500], 10 * away.close[500:]]), name="away")
    metas = [trained[name].transfer(bars[:500]) for bars in (away, away, wild)]
    assert len({meta.fingerprint for meta in metas}) == 1
    plans = [aims(meta.adapt(away[:500]), away[500:]) for meta in metas]
    np.testing.assert_array_equal(plans[0], plans[1])
    np.testing.assert_array_equal(plans[0], plans[2])


@pytest.mark.parametrize("name", ["RL2", "MAML", "risk", "ensemble"])
@pytest.mark.parametrize("index", [
    pd.date_range("2005-01-07", periods=340, freq="W-FRI"),
    pd.date_range("2005-01-03", periods=800, freq="h", tz="America/New_York"),
], ids=["weeks", "hours"])  # fmt: skip
def test_bars_of_another_length(trained, name, index):
    """From days without a time zone to weeks, and to hours with one; `adapt` then takes these, and refuses days."""
    meta = trained[name]
    bars = Bars.make(index, list("ABCD"), samples.regime_bars(len(index), 4, seed=3).close, name="other")
    with pytest.raises(InputError, match="hand it over to them"):
        meta.adapt(bars)
    moved = meta.transfer(bars)
    assert moved.trained_on.aware == (index.tz is not None)
    assert moved.seen_until == index[-1]
    assert np.isfinite(aims(moved.adapt(bars), bars[-20:])).all()
    assert np.isfinite(aims(moved.unadapted(), bars[-20:])).all()
    with pytest.raises(InputError, match="apart"):
        moved.adapt(samples.regime_bars(300, 4, seed=4))


def test_times_are_restated_and_counts_of_bars_are_not(trained):
    weeks = Bars.make(
        pd.date_range("2005-01-07", periods=400, freq="W-FRI"), list("AB"), samples.regime_bars(400, 2, 5).close
    )
    tilt = trained["RL2"].transfer(weeks)
    assert tilt.policy.settings == replace(TILT, base_window=12)  # at least 12; 20 days are 4 weeks
    assert tilt.context == 15
    risk = trained["risk"].transfer(weeks)
    assert risk.policy.settings.pool == Pool((2, 8), (4, 12), window=16, every="bar", shortest=4)
    assert risk.unadapted().policy.settings.pool == risk.policy.settings.pool
    assert Pool().restated(52 / 252) == Pool((2, 4, 9, 13, 26, 52), (13, 26, 52, 104), 156, "bar", 26)
    assert Pool().restated(6.5).every == "week"
    assert Pool().restated(1) == Pool()
    same = trained["risk"].transfer(named(samples.regime_bars(500, 2, seed=6)))
    assert same.policy.settings.pool == POOL


def test_a_taste_for_risk_in_units_of_a_bar_grows_with_the_root_of_its_length(trained):
    weeks = Bars.make(
        pd.date_range("2005-01-07", periods=400, freq="W-FRI"), list("AB"), samples.regime_bars(400, 2, 5).close
    )
    found = trained["RL2"].transfer(weeks).objective.utility.risk_aversion
    assert found == pytest.approx(MeanVariance().risk_aversion * np.sqrt(261 / 52.2), rel=0.01)
    assert DrawdownPenalised(0.01).restated(2.0) == DrawdownPenalised(0.02)
    assert CertaintyEquivalent(5.0).restated(2.0) == CertaintyEquivalent(5.0)
    given = trained["RL2"].shrunk(1.0, "RL2")
    given.objective = Pathwise(unit=0.01)
    assert given.transfer(weeks).objective == given.objective  # of returns as they are, it holds for bars of any length


def planted(seed: int, length: int = 1500) -> Bars:
    """Returns that persist for about a month, so that there is momentum to be earned."""
    rng = np.random.default_rng(seed)
    drift = 0.004 * np.repeat(rng.choice([-1.0, 1.0], (length // 20 + 1, 3)), 20, axis=0)[:length]
    close = 50 * np.exp(np.cumsum(drift + 0.01 * rng.standard_normal((length, 3)), axis=0))
    return Bars.make(pd.bdate_range("2001-01-01", periods=length), ["X", "Y", "Z"], close, name="planted")


@pytest.fixture(scope="module")
def momentum():
    """A policy that has learnt to follow momentum."""
    bars = planted(1)
    tasks = TaskSet.from_windows(bars, support=20, query=40, warmup=60).split(bars.index[900], embargo=0)
    settings = replace(TILT, base="equal_weight")
    learner = RL2(
        settings, Pathwise(costs="1bp"), Training(steps=40, learning_rate=0.02, evaluate_every=20), context=15
    )
    return learner.fit(*tasks, progress=False)


def test_the_tilt_is_earned_anew(momentum):
    """It is kept where the same signal pays, and dropped on pure noise, where it cannot."""
    assert momentum.policy.shrink > 0
    paid = momentum.transfer(named(planted(2)))
    assert paid.policy.shrink > 0
    assert paid.tilt_test.statistic > 3
    assert "on the bars of away" in paid.remark
    assert "keeps" in paid.remark
    rng = np.random.default_rng(7)
    noise = Bars.make(
        pd.bdate_range("2001-01-01", periods=1500),
        list("ABC"),
        50 * np.exp(np.cumsum(0.01 * rng.standard_normal((1500, 3)), 0)),
    )
    dropped = momentum.transfer(noise)
    assert dropped.policy.shrink == 0
    assert dropped.tilt_test.tasks > 10
    kept = momentum.transfer(noise, evidence=None)
    assert kept.policy.shrink == momentum.policy.shrink
    assert kept.tilt_test is None
    assert "was not tested" in kept.remark
    base = aims(dropped.adapt(noise), noise[-50:])
    np.testing.assert_allclose(base, 1 / 3, atol=1e-12)


def test_evidence_of_what_training_has_seen_is_none(momentum):
    """The same market in other bars: only what comes after training can test the tilt."""
    bars = planted(1, 1800)
    seen = bars.until(momentum.seen_until)
    whole = momentum.transfer(seen)
    assert (whole.policy.shrink, whole.tilt_test.tasks) == (0, 0)
    assert "2 tasks that training has not seen, and the bars of planted hold none" in whole.remark
    later = momentum.transfer(bars)
    unseen = (bars.index > momentum.seen_until).sum()
    assert later.tilt_test.tasks == unseen // min(unseen // 8, 60) >= 8
    # a second transfer does not forget what the first training saw
    back = momentum.transfer(named(planted(2))).transfer(seen)
    assert back.tilt_test.tasks == 0
    assert back.transferred_from.before.trained_on.symbols == ("X", "Y", "Z")


def test_tasks_may_be_given(momentum):
    bars = named(planted(2))
    tasks = TaskSet.from_windows(bars[:1200], support=20, query=100, warmup=60)
    assert momentum.transfer(bars, validation=tasks).tilt_test.tasks == len(tasks)
    with pytest.raises(InputError, match=r"validation ends at .*, after the bars of away"):
        momentum.transfer(bars[:600], validation=tasks)
    with pytest.raises(InputError, match="no tasks"):
        momentum.transfer(bars, validation=TaskSet(()))


def test_what_cannot_be_handed_over_is_refused_with_the_reason(trained, away, home):
    with pytest.raises(InputError, match="has 30 bars, but 36 are needed"):
        trained["RL2"].transfer(away[:30])
    with pytest.raises(InputError, match="needs the Bars of the new market, not TaskSet"):
        trained["RL2"].transfer(TaskSet(()))
    with pytest.raises(InputError, match="spread"):
        trained["RL2"].transfer(away, costs="quoted")
    old = trained["RL2"].shrunk(1.0, "old")
    old.trained_on = TrainingBars(86400.0, False)
    with pytest.raises(InputError, match="old does not say what it was trained on"):
        old.transfer(away)
    volume = samples.regime_bars(500, 3, seed=1, volume=True)
    tasks = TaskSet.from_windows(volume, support=20, query=40, warmup=60).split(volume.index[300], embargo=0)
    reads = replace(STILL, features=Features((*FEATURES.parts, VolumeSurprise(20))))
    meta = MAML(reads, training=TRAINING, inner=Inner(steps=1, support=30)).fit(*tasks, progress=False)
    with pytest.raises(InputError, match=r"MAML reads the volume \(feature .*\), but away has none"):
        meta.transfer(away)


def test_environments_are_no_universe_to_be_handed_over():
    learner = DQN(training=Training(steps=1, batch=4, evaluate_every=1, weight_decay=0.0, device="cpu"), memory=50)
    meta = learner.fit(Walk, Environments(Walk, range(4)), progress=False)
    with pytest.raises(InputError, match=r"DQN acts in environments \(REINFORCE\).*by adapt\(maker\)"):
        meta.transfer(samples.regime_bars(50, 2, seed=1))


def test_too_few_bars_for_evidence_hold_the_base(trained, away):
    moved = trained["RL2"].transfer(away[:45])
    assert moved.policy.shrink == 0
    assert moved.tilt_test.tasks < 2
    assert "its tilt was not tested" in moved.remark


def test_what_was_seen_before_counts_as_seen_after(trained, away):
    early = Bars.make(away.index - pd.Timedelta(days=3000), away.symbols, away.close, name="early")
    assert trained["RL2"].transfer(early).seen_until == trained["RL2"].seen_until


def test_an_origin_survives_json():
    bars = TrainingBars(86400.0, False, 252.0, ("A", "B"), "home")
    origin = Origin("f", bars, "2001-01-01 00:00:00", Origin("e", bars, None))
    assert Origin.from_dict(json.loads(json.dumps(asdict(origin)))) == origin


def test_regression_what_a_daily_bar_knew_is_known_at_the_end_of_its_day_in_the_zone_of_the_bars():
    daily = TrainingBars.of(named(samples.regime_bars(50, 2, seed=1)))
    hours = pd.date_range("2010-01-01", periods=100, freq="h")
    hourly = Bars.make(hours, ["X"], np.full((100, 1), 2.0))
    seen = pd.Timestamp("2010-01-02")
    assert known_until(seen, daily, hourly) == pd.Timestamp("2010-01-03")
    assert known_until(seen, TrainingBars.of(hourly), hourly) == seen
    zoned = Bars.make(hours.tz_localize("America/New_York"), ["X"], np.full((100, 1), 2.0))
    assert known_until(seen, TrainingBars.of(hourly), zoned) == pd.Timestamp("2010-01-02", tz="UTC")
    assert known_until(pd.Timestamp("2010-01-02 12:00", tz="America/New_York"), None, hourly) == pd.Timestamp(
        "2010-01-02 17:00"
    )


def test_regression_rows_without_a_price_are_no_bars_of_the_new_market(trained, away):
    """A grid of 24 hours made windows five times too long."""
    index = away.index.union(pd.date_range(away.index[0], away.index[-1], freq="D"))
    close = pd.DataFrame(away.close, away.index).reindex(index).to_numpy()
    gaps = Bars.make(index, away.symbols, close, name="gaps")
    moved, plain = (trained["RL2"].transfer(bars, evidence=None) for bars in (gaps, away))
    assert moved.policy.settings == plain.policy.settings
    assert moved.trained_on.per_year == plain.trained_on.per_year


def test_regression_no_evidence_while_the_base_still_holds_equal_weights(trained, away):
    """Before its window of volatility is full, inverse volatility is equal weight, and no base to be compared with."""
    meta = trained["RL2"]
    origin = Origin(meta.fingerprint, meta.trained_on, None)
    settings = replace(meta.policy.settings, base_window=300)
    assert NewMarket(away, origin).tasks(settings, 20).bars.past >= 300
