import warnings
from dataclasses import replace

import numpy as np
import pytest
import samples

from backtests import walk_forward
from backtests.deployment import decide, deployable, make_contract
from backtests.engine.lookahead import find_lookahead
from backtests.engine.task_cuts import WindowTasks
from markets import Features, HiddenMarkovRegimes, InputError, TaskSet, VolatilityTrendRegimes
from metalearner import PPO, RL2, CertaintyEquivalent, CVaR, Ensemble, Experts, Pathwise, Training, load_meta
from metalearner.learners.experts import by_regime
from strategies import Gate, PolicySettings, RegimeGated, stored

FEATURES = Features.scaled(20)
LEARNER = Experts(
    policy=PolicySettings(memory="gru", hidden=4, features=FEATURES, base_window=20),
    objective=Pathwise(utility=CertaintyEquivalent(5.0)),
    training=Training(steps=4, batch=4, evaluate_every=2, evidence=None, learning_rate=0.05),
    context=10,
    detector=HiddenMarkovRegimes(2, restarts=2),
    fewest=4,
    gate_steps=4,
)


@pytest.fixture(scope="module")
def cut(bars):
    return TaskSet.from_windows(bars[:1300], support=20, query=20, features=FEATURES).split(bars.index[900])


@pytest.fixture(scope="module")
def meta(cut):
    return LEARNER.fit(*cut, progress=False)


def test_each_regime_has_a_specialist_trained_on_its_tasks(meta, cut):
    training, validation = cut
    detector = HiddenMarkovRegimes(2, restarts=2).fit(training.bars[: str(validation[0].times[0])][:-1])
    np.testing.assert_array_equal(meta.detector.volatility, detector.volatility)
    assert [e.name for e in meta.experts] == ["experts, calm", "experts, crisis"]
    for k, (some, others) in enumerate(
        zip(by_regime(training, detector), by_regime(validation, detector), strict=True)
    ):
        alone = LEARNER.specialist("alone").fit(some, others, progress=False)
        assert alone.fingerprint == meta.experts[k].fingerprint
    assert meta.seen_until == max(t.times[2] for t in validation)


def test_the_detector_is_fitted_on_nothing_of_validation(meta, cut, bars):
    _, validation = cut
    other = samples.regime_bars(1500, 3, seed=9)  # the same bars until validation, and others later
    first = validation[0].start
    close = np.vstack([bars.close[:first], bars.close[first - 1] * other.close[first:] / other.close[first - 1]])
    changed = type(bars).make(bars.index, bars.symbols, close, name=bars.name)
    again = TaskSet.from_windows(changed[:1300], support=20, query=20, features=FEATURES).split(bars.index[900])
    np.testing.assert_array_equal(LEARNER._fitted(*again).volatility, meta.detector.volatility)


def test_by_probability_it_is_regime_gated_over_the_specialists_to_the_bit(meta, bars):
    identity = meta.gated(Gate.identity(2), "identity")
    parts = [expert.adapt(bars[:1400]) for expert in meta.experts]
    plain = RegimeGated(meta.detector, parts, refit=False)
    for found in (identity.adapt(bars[:1400]), replace_gate(plain, Gate.identity(2))):
        np.testing.assert_array_equal(found.plan(bars[1400:]).aim, plain.plan(bars[1400:]).aim)
        np.testing.assert_array_equal(found.plan(bars[1400:]).band, plain.plan(bars[1400:]).band)
    learnt = meta.adapt(bars[:1400]).plan(bars[1400:])
    assert np.abs(learnt.aim - plain.plan(bars[1400:]).aim).max() > 0


def replace_gate(gated, gate):
    return RegimeGated(gated.detector, gated.strategies, refit=False, gate=gate)


def test_the_control_ignores_the_filter_and_is_trained(meta, bars):
    weights = meta.unadapted().weights(bars)
    np.testing.assert_array_equal(weights, np.tile(weights[:1], (len(bars), 1)))
    assert np.abs(weights - 0.5).max() > 0
    assert set(meta.controls()) == {"unadapted"}


def test_it_does_not_look_ahead(meta, bars):
    adapted = meta.adapt(bars[:1300])
    assert adapted.gate is not None
    assert find_lookahead(lambda: adapted, bars[1300:1420], cuts=3, progress=False) == []


def test_saved_loaded_and_deployed_it_plans_the_same_to_the_bit(meta, bars, tmp_path):
    again = load_meta(meta.save(tmp_path / "m"))
    assert (again.name, again.fingerprint, again.seen_until) == (meta.name, meta.fingerprint, meta.seen_until)
    adapted, found = meta.adapt(bars[:1400]), again.adapt(bars[:1400])
    np.testing.assert_array_equal(found.plan(bars[1400:]).aim, adapted.plan(bars[1400:]).aim)
    np.testing.assert_array_equal(again.unadapted().plan(bars[1400:]).aim, meta.unadapted().plan(bars[1400:]).aim)
    assert (again.trained_on, again.remark) == (meta.trained_on, meta.remark)
    shipped = stored.load(stored.save(deployable(adapted, "experts"), tmp_path / "s"))
    np.testing.assert_array_equal(shipped.plan(bars[1400:]).aim, adapted.plan(bars[1400:]).aim)
    assert shipped.seen_until == meta.seen_until
    answer = decide(shipped, make_contract(shipped, bars[:1400]), bars[:1420])
    np.testing.assert_allclose(answer["target_weight"], adapted.plan(bars[1400:1420]).aim[-1], atol=1e-9)


def test_scores_are_of_the_mixture_on_each_query(meta, cut):
    _, validation = cut
    scores = meta.evaluate(validation)
    assert scores.shape == (len(validation),)
    same = meta.gated(meta.constant, "constant").evaluate(validation)
    np.testing.assert_allclose(meta.evaluate_unadapted(validation), same)
    assert np.abs(scores - same).max() > 0
    first = Gate(np.array([[1.0, 0.0], [1.0, 0.0]]))  # the first specialist whatever the regime
    alone = meta.experts[0].evaluate(validation)
    np.testing.assert_allclose(meta.gated(first, "first").evaluate(validation), alone, atol=1e-6)


@pytest.mark.parametrize("killed_at", [(2,), (8, 2)])
def test_a_killed_training_resumes_to_the_same_bits(meta, cut, tmp_path, killed_at):
    for k, last in enumerate(killed_at):  # within a specialist, and within the gate
        left = [last]

        def kill(*_, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            LEARNER.fit(*cut, checkpoint=tmp_path / "c.safetensors", resume=k > 0, progress=False, log=kill)
    resumed = LEARNER.fit(*cut, checkpoint=tmp_path / "c.safetensors", resume=True, progress=False)
    assert resumed.fingerprint == meta.fingerprint
    assert {path.name for path in tmp_path.iterdir()} == {
        f"c{name}.safetensors" for name in ("", "-crisis", "-constant", "-gate")
    }


def test_each_training_logs_under_its_name(cut):
    logged = []
    LEARNER.fit(*cut, progress=False, log=lambda metrics, step: logged.extend(metrics))
    assert {name.partition("/")[0] for name in logged} == {"calm", "crisis", "constant", "gate"}


def test_the_learnt_gate_is_kept_as_far_as_validation_supports_it(cut):
    never = replace(LEARNER, training=replace(LEARNER.training, evidence=50.0)).fit(*cut, progress=False)
    assert (never.gate.share, never.gate_test.share) == (0, 0)
    assert "by the probability of their regimes: on the later half of validation" in never.remark
    always = replace(LEARNER, training=replace(LEARNER.training, evidence=-50.0)).fit(*cut, progress=False)
    assert always.gate.share == always.gate_test.share > 0 or always.gate_test.statistic < 0
    assert replace(LEARNER, gate="identity").fit(*cut, progress=False).gate.share == 0


def test_a_regime_with_too_few_tasks_has_the_policy_trained_on_all(cut):
    training, _ = cut
    few = len(by_regime(training, LEARNER._fitted(*cut))[1]) + 1
    with pytest.warns(
        UserWarning, match=r"calm \d+, crisis .* needs \d+; for crisis the policy trained on all is used"
    ):
        found = replace(LEARNER, fewest=few).fit(*cut, progress=False)
    assert [e.name for e in found.experts] == ["experts, calm", "experts, all regimes"]
    alone = LEARNER.specialist("all").fit(*cut, progress=False)
    assert found.experts[1].fingerprint == alone.fingerprint
    assert "too few tasks for specialists of crisis" in found.remark


def test_one_regime_tiny_data_and_other_tasks_are_refused_in_a_line(cut, bars):
    training, validation = cut
    calm = TaskSet(tuple(by_regime(training, LEARNER._fitted(*cut))[0]))
    with pytest.raises(InputError, match="with one regime alone there is nothing to choose between"):
        LEARNER.fit(calm, validation, progress=False)
    with pytest.raises(InputError, match=r"and a specialist needs 500; use more bars, shorter tasks or fewer"):
        replace(LEARNER, fewest=500).fit(*cut, progress=False)
    tiny = TaskSet.from_windows(bars[:75], support=10, query=5, features=FEATURES).split(bars.index[50])
    with pytest.raises(InputError, match="returns are too few for 3 regimes"):
        replace(LEARNER, detector=None, n_regimes=3).fit(*tiny, progress=False)
    for wrong in (TaskSet(()), lambda seed: None):
        with pytest.raises(InputError, match="experts need a TaskSet of one universe"):
            LEARNER.fit(wrong, validation, progress=False)
    with pytest.raises(InputError, match="no bars before validation"):
        LEARNER.fit(training, replace(validation, tasks=(replace(validation[0], start=0, cut=20, stop=40),)))


def test_settings_are_checked():
    for wrong, words in (
        ({"gate": "soft"}, "use learnt or identity"),
        ({"training": Training(keep="last", evidence=None, on_validation=True)}, "tasks that a gate is learnt on"),
        ({"n_regimes": 1}, "nothing to choose between; use at least 2"),
        ({"detector": HiddenMarkovRegimes(1)}, "with 1 regime there is nothing"),
        ({"detector": "hmm"}, "detector is a str; it must be a RegimeDetector"),
        ({"fewest": 0}, "both must be at least 1"),
        ({"objective": PPO()}, "experts trade"),
        ({"objective": Pathwise(worst_case=CVaR(0.5))}, "no worst one; leave worst_case out"),
    ):
        with pytest.raises(InputError, match=words):
            Experts(**wrong)


def test_a_fitted_detector_is_used_as_it_is(cut, bars):
    fitted = VolatilityTrendRegimes(2, trend=0).fit(bars[:800])
    found = replace(LEARNER, detector=fitted).fit(*cut, progress=False)
    assert found.detector is fitted
    assert not LEARNER.detector.fitted


def test_it_runs_in_a_walk_forward_with_its_control_and_in_an_ensemble(cut, bars, tmp_path):
    tasks = WindowTasks(support=20, query=20, warmup=21)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        learner = replace(LEARNER, fewest=2)
        results = [
            walk_forward(
                [learner],
                bars[1400:],
                tasks=tasks,
                retrain_every="5Y",
                controls=True,
                progress=False,
                cache=tmp_path / "c",
            )
            for _ in range(2)  # the second from the cache
        ]
    for result in results:
        assert [b.name for b in result.backtests] == ["experts", "experts, unadapted"]
        assert result.backtests[0].fingerprint == results[0].backtests[0].fingerprint
    assert len([*(tmp_path / "c").rglob("*.*")]) > 0
    several = Ensemble(replace(LEARNER, gate="identity"), 2).fit(*cut, progress=False)
    again = load_meta(several.save(tmp_path / "e"))
    aim = several.adapt(bars[:1400]).plan(bars[1400:]).aim
    np.testing.assert_array_equal(again.adapt(bars[:1400]).plan(bars[1400:]).aim, aim)
    assert several.members[0].fingerprint != several.members[1].fingerprint


def test_tuning_compares_it_by_the_identity_gate_on_the_earlier_half(cut):
    found: list = []
    score = LEARNER.validate(*cut, progress=False, log=lambda metrics, step: found.append(metrics["validation"]))
    expected = replace(LEARNER, gate="identity").fit(*cut, progress=False)
    assert found == [score]
    assert score == pytest.approx(expected._scores(cut[1], expected.gate, 10).mean())


def test_its_tilts_shrink(meta, bars):
    held = meta.shrunk(0.0, "none").adapt(bars[:1400]).plan(bars[1400:]).aim
    base = RL2(policy=LEARNER.policy).policy
    assert base.base == "inverse_volatility"
    np.testing.assert_allclose(held.sum(axis=1), 1)
