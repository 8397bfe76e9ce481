from dataclasses import replace

import numpy as np
import pytest
import samples
import torch

from backtests import walk_forward
from backtests.engine.task_cuts import WindowTasks
from markets import InputError, TaskSet
from metalearner import RL2, Across, AdaptiveRisk, Ensemble, MeanVariance, Training, Universe, load_meta
from metalearner.learners.risk import RiskPolicy
from strategies import PolicySettings, Pool, PortfolioPolicy, PortfolioSettings, PortfolioStrategy

SMALL = Pool(volatilities=(5, 40), correlations=(20, 60), window=80, shortest=20)
TRAINING = Training(steps=6, batch=4, learning_rate=0.1, evaluate_every=3, evidence=None, keep="last", seed=3)
LEARNER = AdaptiveRisk(policy=PortfolioSettings(pool=SMALL), training=TRAINING)


@pytest.fixture(scope="module")
def cut():
    """Bars whose volatility jumps every 110 bars, and (training, validation) tasks of the first 905, which end at 900."""
    bars = samples.regime_bars(1200, 4, seed=1)
    tasks = TaskSet.from_windows(bars[:905], support=20, query=60, step=40, warmup=100)
    return bars, tasks.split(bars.index[600], embargo=0)


@pytest.fixture(scope="module")
def risk(cut):
    return LEARNER.fit(*cut[1], progress=False)


def test_the_control_was_trained_with_frozen_estimates_and_holds_the_last_ones_known(risk, cut):
    bars, (_, validation) = cut
    control = risk.unadapted()
    assert not control.policy.settings.adapts
    assert (
        risk.seen_until == validation[-1].times[2] < validation.bars.index[-1] == control.seen_until == bars.index[904]
    )
    fresh = PortfolioPolicy(control.policy.settings)
    named = dict(control.policy.named_parameters())
    assert any(not torch.equal(p, named[name]) for name, p in fresh.named_parameters())
    aim = control.plan(bars[905:]).aim
    np.testing.assert_array_equal(aim, np.broadcast_to(aim[0], aim.shape))
    expected = PortfolioStrategy(control.policy).frozen_at(bars[:905]).plan(bars[905:]).aim
    np.testing.assert_array_equal(aim, expected)


def test_what_its_gates_read_of_the_market_is_not_trained_in_the_control(risk):
    state = {name: p for name, p in risk.control.policy.named_parameters() if p.ndim}
    assert all(not p[1:].any() for p in state.values())
    assert not risk.control.policy.volatility.trust
    assert any(p[1:].any() for name, p in risk.policy.named_parameters() if p.ndim)


def test_training_finds_the_half_life_that_lessens_risk(cut):
    """In regimes of 110 bars a half-life of 400 is of no use: exposure by a short one has the better utility."""
    tasks = cut[1]
    pool = replace(SMALL, volatilities=(5, 400), window=300)
    policy = PortfolioSettings(kind="equal_weight", exposure="target", target=0.08, pool=pool)
    training = replace(TRAINING, steps=60, learning_rate=0.05, batch=8)
    averse = replace(LEARNER.objective, utility=MeanVariance(risk_aversion=20.0), unit=1.0)
    learner = replace(LEARNER, policy=policy, training=training, objective=averse)
    meta = learner.fit(*tasks, progress=False)
    found = meta.adapt(cut[0]).adapted(cut[0][900:])["volatility halflife"]
    assert found.mean() < 25  # the static pool has 45
    static = meta.shrunk(0.0, "static pool")
    assert meta.evaluate(tasks[0]).mean() > static.evaluate(tasks[0]).mean()


def test_adapting_needs_bars_to_estimate_on(risk, cut):
    bars, _ = cut
    strategy = risk.adapt(bars[:1000])
    assert isinstance(strategy, PortfolioStrategy)
    assert strategy.fingerprint == risk.fingerprint
    with pytest.raises(InputError, match="has 10 bars, but 21 are needed"):
        risk.adapt(bars[:10])
    with pytest.raises(InputError, match="adapting needs Bars, not TaskSet"):
        risk.adapt(cut[1][0])


def test_save_and_load(risk, cut, tmp_path):
    again = load_meta(risk.save(tmp_path / "risk"))
    assert isinstance(again, RiskPolicy)
    assert (again.fingerprint, again.context, again.objective) == (risk.fingerprint, risk.context, risk.objective)
    bars = cut[0]
    for one, other in ((again.adapt(bars), risk.adapt(bars)), (again.unadapted(), risk.unadapted())):
        assert one.fingerprint == other.fingerprint
        np.testing.assert_array_equal(one.plan(bars[900:]).aim, other.plan(bars[900:]).aim)
    np.testing.assert_array_equal(again.evaluate(cut[1][1]), risk.evaluate(cut[1][1]))


def test_a_seed_gives_the_same_bits_and_a_killed_run_resumes_to_them(risk, cut, tmp_path):
    place, logged = tmp_path / "checkpoint.safetensors", 0

    def kill(metrics, step):
        nonlocal logged
        logged += 1
        if logged in (1, 3):  # halfway through the policy; in the run that resumes it, halfway through the control
            raise KeyboardInterrupt

    for k in range(2):
        with pytest.raises(KeyboardInterrupt):
            LEARNER.fit(*cut[1], checkpoint=place, resume=k > 0, progress=False, log=kill)
    assert (tmp_path / "checkpoint-control.safetensors").exists()
    resumed = LEARNER.fit(*cut[1], checkpoint=place, resume=True, progress=False)
    assert (resumed.fingerprint, resumed.control.fingerprint) == (risk.fingerprint, risk.control.fingerprint)


def test_walk_forward_runs_it_beside_its_control(cut):
    bars = cut[0]
    tasks = WindowTasks(support=20, query=60, warmup=100)
    result = walk_forward([LEARNER], bars[900:], tasks=tasks, costs="10bp", controls=True, retrain_every="1Y", every=60)
    names = [b.name for b in result.backtests]
    assert names == ["adaptive risk", "adaptive risk, unadapted"]
    volatility = [np.diff(np.log(b.equity)).std() for b in result.backtests]
    assert volatility[0] != volatility[1]


def test_an_ensemble_of_it_has_the_controls_of_its_members(cut):
    bars, tasks = cut
    ensemble = Ensemble(replace(LEARNER, training=replace(TRAINING, steps=2)), 2).fit(*tasks, progress=False)
    controls = [m.unadapted().plan(bars[900:]).aim for m in ensemble.members]
    np.testing.assert_allclose(ensemble.unadapted().plan(bars[900:]).aim, np.mean(controls, axis=0))
    np.testing.assert_allclose(
        ensemble.adapt(bars).plan(bars[900:]).aim,
        np.mean([m.adapt(bars).plan(bars[900:]).aim for m in ensemble.members], axis=0),
    )


def test_across_universes_the_control_is_frozen_on_the_one_that_is_traded(cut):
    """Its estimates are those of the bars that it is shown, at the last bar known at training."""
    bars, (training, validation) = cut
    other = samples.regime_bars(1000, 3, seed=9)
    others = TaskSet.from_windows(other[:900], support=20, query=60, step=40, warmup=100).split(
        other.index[600], embargo=0
    )
    both = [
        Across((Universe(one), Universe(two, "2bp"))) for one, two in zip((training, validation), others, strict=True)
    ]
    meta = replace(LEARNER, training=replace(TRAINING, steps=2)).fit(*both, progress=False)
    assert meta.control.seen_until == max(validation.bars.index[-1], others[1].bars.index[-1]) > meta.seen_until
    for traded in (bars, other):
        aim = meta.unadapted().plan(traded[905:]).aim
        expected = meta.control.frozen_at(traded[:905]).plan(traded[905:]).aim
        np.testing.assert_array_equal(aim, expected)
        assert meta.adapt(traded[:905]).plan(traded[905:]).aim.shape == traded[905:].shape
    with pytest.raises(InputError, match="it has no estimates"):
        meta.unadapted().plan(bars[905:].without_past())


def test_a_model_of_another_kind_in_the_folder_is_replaced(risk, cut, tmp_path):
    windows = TaskSet.from_windows(cut[0][:900], support=20, query=60)
    tilt = RL2(context=20, training=replace(TRAINING, steps=1)).fit(windows, windows, progress=False)
    for meta in (tilt, risk, tilt):
        assert load_meta(meta.save(tmp_path / "m")).fingerprint == meta.fingerprint


def test_universes_of_few_symbols_can_be_trained_on(cut):
    few = replace(LEARNER, objective=replace(LEARNER.objective, symbols=2), training=replace(TRAINING, steps=2))
    assert np.isfinite(few.fit(*cut[1], progress=False).history["utility"].dropna()).all()


def test_the_factor_on_what_it_learnt_must_be_earned(cut):
    cautious = replace(LEARNER, training=replace(TRAINING, evidence=1e9))
    meta = cautious.fit(*cut[1], progress=False)
    assert float(meta.policy.shrink) == 0.0
    assert "holds its base (minimum variance by the static pool)" in meta.remark
    static = PortfolioStrategy(PortfolioPolicy(LEARNER.policy))
    bars = cut[0]
    np.testing.assert_allclose(meta.adapt(bars).plan(bars[900:]).aim, static.plan(bars[900:]).aim, atol=1e-12)


def test_tasks_before_anything_can_be_estimated_are_refused():
    bars = samples.regime_bars(300, 3, seed=2)
    early = TaskSet.from_windows(bars, support=5, query=10, warmup=0)
    with pytest.raises(
        InputError, match=r"no symbol takes part in its support, since that needs 20 closes .*warmup=20"
    ):
        LEARNER.fit(early, early, progress=False)


def test_other_policies_are_refused():
    with pytest.raises(InputError, match=r"it must be PortfolioSettings\(...\) that adapt"):
        AdaptiveRisk(policy=PolicySettings())
    with pytest.raises(InputError, match="that adapt"):
        AdaptiveRisk(policy=PortfolioSettings(adapts=False))
    with pytest.raises(InputError, match="would learn to hold nothing"):
        AdaptiveRisk(policy=PortfolioSettings(exposure="target"))
    with pytest.raises(InputError, match="a policy that trades needs PolicySettings or PortfolioSettings, not int"):
        RL2().objective.policy(3, None)
