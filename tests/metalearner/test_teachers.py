"""Teachers: what is copied, for how long, and who may teach."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from markets import HiddenMarkovRegimes, InputError, Plan, Uncertainty
from markets.synthetic import GarleanuPedersen, HiddenMarkov
from metalearner import (
    RL2,
    Across,
    CostCurriculum,
    Latent,
    Pathwise,
    SoftMin,
    Teachers,
    Training,
    Universe,
    load_meta,
)
from metalearner.evaluation import recipes
from metalearner.evaluation.scores import ceiling_scores
from metalearner.learners.settings import with_settings
from metalearner.teachers import MeanZone, TaughtSampler
from metalearner.tuning.tune import _words
from strategies import (
    Blend,
    BuyAndHold,
    EqualWeight,
    Momentum,
    PolicySettings,
    PortfolioSettings,
    RegimeGated,
    Stops,
    Strategy,
)
from strategies.networks import named_params
from strategies.optimal import GarleanuPedersenOptimum, HiddenMarkovZone

TRAINING = Training(steps=4, batch=4, evaluate_every=2, evidence=None)
LEARNER = RL2(context=20, training=TRAINING, teachers=Teachers((Momentum(60), EqualWeight()), warm=0.5))
FAMILY = HiddenMarkov(stay=0.995, cost=0.5, length=40)


class Wants(Strategy):
    """The same plan at every bar."""

    def __init__(self, aim, band=None, rate=None):
        self.parts, self.name = (aim, band, rate), f"wants {aim}"

    def plan(self, bars):
        return Plan(*(None if part is None else np.full(bars.shape, part) for part in self.parts))


def taught(learner, tasks):
    policy = learner.objective.policy(learner.policy, tasks)
    return policy, learner.training_sampler(policy, tasks)


def batch_of(sampler, policy, progress, few=None):
    tasks = replace(sampler.all_tasks(), progress=progress)
    if few is not None:
        tasks = replace(tasks, universe=np.tile(few, (len(tasks), 1)))
    return sampler.collect(policy, named_params(policy), tasks, "query")


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4))
@settings(max_examples=20)
def test_the_mean_zone_is_that_of_the_blend(bars, wanted):
    """The mean of edges is the edge of means."""
    short = bars[:20]
    teachers = tuple(Wants(*each) for each in wanted)
    zone, blend = MeanZone.of(teachers, short), Blend(teachers).plan(short)
    np.testing.assert_allclose(zone.low, blend.aim - blend.band, atol=1e-6)
    np.testing.assert_allclose(zone.high, blend.aim + blend.band, atol=1e-6)
    np.testing.assert_allclose(zone.rate, blend.rate, atol=1e-6)


def test_a_zone_of_rules_that_trade_at_once_has_no_rate(bars):
    assert MeanZone.of((EqualWeight(),), bars).rate is None


@pytest.mark.parametrize(("head", "few"), [("band", None), ("rate", None), ("at_once", None), ("band", [2, 0])])
def test_the_distance_is_that_of_the_formula(tasks, head, few):
    settings = PolicySettings(trades=head, base="flat")
    learner = RL2(settings, Pathwise(symbols=0), context=20, teachers=Teachers((Wants(0.1, 0.05, 0.5),)))
    policy, sampler = taught(learner, tasks[0])
    windows = batch_of(sampler, policy, 0.0, few)
    with torch.no_grad():
        _, *inputs = sampler.inputs(windows)
        plan = sampler.plan(policy, named_params(policy), inputs)
        found = -sampler.utility(policy, named_params(policy), windows).numpy()
    count = 3 if few is None else 2
    wide = 3 / count  # of three budgets, in a book of two
    aim, band, rate = (None if part is None else part[:, :-1].numpy() for part in plan)
    band = 0 if band is None else band
    apart = 0.5 * ((aim - band - 0.05 * wide) ** 2 + (aim + band - 0.15 * wide) ** 2) * count**2
    if head == "rate":
        apart = apart + (rate - 0.5) ** 2
    counted = windows.counted.numpy()
    wanted = [each[mask].mean() for each, mask in zip(apart.mean(-1), counted, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_in_a_small_universe_a_teacher_asks_for_as_much_of_the_base(tasks):
    """Who teaches the base has an untrained student, which holds its base, at distance zero, whatever the symbols."""
    learner = RL2(
        PolicySettings(base="equal_weight", trades="at_once"), context=20, teachers=Teachers((EqualWeight(),))
    )
    policy, sampler = taught(learner, tasks[0])
    for few in (None, [1], [2, 0]):
        windows = batch_of(sampler, policy, 0.0, few)
        assert sampler.utility(policy, named_params(policy), windows).detach().abs().max() < 1e-12


def test_the_utility_counts_when_warm_is_over_and_the_distance_fades(tasks):
    teachers = Teachers((Momentum(60),), warm=0.5, weight=2.0)
    policy, sampler = taught(replace(LEARNER, teachers=teachers), tasks[0])
    params = named_params(policy)
    distance = -sampler.utility(policy, params, batch_of(sampler, policy, 0.49))
    pure = sampler.taught.utility(policy, params, batch_of(sampler, policy, 1.0))
    for progress, share in ((0.5, 1.0), (0.75, 0.5), (1.0, 0.0)):
        found = sampler.utility(policy, params, batch_of(sampler, policy, progress))
        torch.testing.assert_close(found, pure - 2.0 * share * distance)
    torch.testing.assert_close(sampler.score(policy, params, batch_of(sampler, policy, 0.0)), pure)
    assert [sampler.settled(at) for at in (0.0, 0.49, 0.5, 1.0)] == [False, False, True, True]


def test_full_costs_are_charged_from_the_start(tasks):
    learner = replace(LEARNER, objective=Pathwise(curriculum=CostCurriculum(0.5, 0.5)))
    _, sampler = taught(learner, tasks[0])
    rng = np.random.default_rng
    assert sampler.taught.sample(rng(0), 4, 0.25).cost_share == 0.0
    assert sampler.sample(rng(0), 4, 0.25).cost_share == 1.0
    assert "objective.curriculum" in learner.idle
    assert "objective.curriculum" not in replace(learner, teachers=None).idle


@pytest.mark.parametrize("learner", [LEARNER, Latent(context=20, training=TRAINING, teachers=LEARNER.teachers)])
def test_training_resumes_to_the_same_bits(learner, tasks, bars, tmp_path):
    class Killed(Exception):
        pass

    def kill(_, step):
        raise Killed

    whole = learner.fit(*tasks, progress=False)
    place = tmp_path / "c.safetensors"
    with pytest.raises(Killed):
        learner.fit(*tasks, progress=False, checkpoint=place, log=kill)
    resumed = learner.fit(*tasks, progress=False, checkpoint=place, resume=True)
    pd.testing.assert_frame_equal(resumed.history, whole.history)
    np.testing.assert_array_equal(resumed.adapt(bars).plan(bars).aim, whole.adapt(bars).plan(bars).aim)
    plain = replace(learner, teachers=None).fit(*tasks, progress=False)
    assert np.abs(plain.adapt(bars).plan(bars).aim - whole.adapt(bars).plan(bars).aim).max() > 0
    again = load_meta(whole.save(tmp_path / "m"))  # and needs no teacher
    np.testing.assert_array_equal(again.adapt(bars).plan(bars).aim, whole.adapt(bars).plan(bars).aim)


@pytest.mark.parametrize("change", [{"strategies": (Momentum(61), EqualWeight())}, {"warm": 0.4}, {"weight": 1.0}])
def test_a_checkpoint_of_other_teachers_is_refused(tasks, tmp_path, change):
    """Both strategies are called alike: what they want tells them apart."""
    other = replace(LEARNER.teachers, **change)
    for before, after in zip(LEARNER.teachers.strategies, other.strategies, strict=True):
        after.name = before.name
    place = tmp_path / "c.safetensors"
    LEARNER.fit(*tasks, progress=False, checkpoint=place)
    with pytest.raises(InputError, match="another configuration or other data"):
        replace(LEARNER, teachers=other).fit(*tasks, progress=False, checkpoint=place, resume=True)


def test_without_teachers_checkpoints_are_those_of_earlier_versions():
    assert "teachers" not in replace(LEARNER, teachers=None)._config()
    assert LEARNER._config()["teachers"] == {
        "names": [s.name for s in LEARNER.teachers.strategies],
        "warm": 0.5,
        "weight": 0.0,
    }


def test_the_control_has_the_same_teachers():
    assert LEARNER.without_memory().teachers is LEARNER.teachers


def test_teachers_plan_once_for_the_same_bars(bars, tasks):
    class Counts(EqualWeight):
        asked = 0

        def plan(self, bars):
            Counts.asked += 1
            return super().plan(bars)

    learner = replace(LEARNER, teachers=Teachers((Counts(),)), control="trained")
    learner.fit(*tasks, progress=False)
    assert Counts.asked == 1
    again = pickle.loads(pickle.dumps(replace(LEARNER.teachers)))
    assert [s.name for s in again.strategies] == [s.name for s in LEARNER.teachers.strategies]


def test_what_a_teacher_has_learnt_of_validation_is_refused(tasks):
    champion = RL2(context=20, training=TRAINING).fit(*tasks, progress=False)
    bars = tasks[0].bars
    first = tasks[1][0].times[1]
    with pytest.raises(
        InputError, match=f"teacher RL2 has learnt from bars up to .*, and validation begins at {first}"
    ):
        replace(LEARNER, teachers=Teachers((champion.adapt(bars),))).fit(*tasks, progress=False)
    rules = RegimeGated(HiddenMarkovRegimes(2, restarts=1), [EqualWeight(), Momentum(60)], warmup=100)
    with pytest.raises(InputError, match="teacher regime gated has learnt from bars up to"):
        replace(LEARNER, teachers=Teachers((rules.adapt(bars),))).fit(*tasks, progress=False)
    before = champion.adapt(bars)
    before.seen_until = first - pd.Timedelta("1D")
    assert (
        replace(LEARNER, teachers=Teachers((before,))).fit(*tasks, progress=False).seen_until == tasks[1][-1].times[2]
    )


def test_universes_are_taught_each_by_its_bars(tasks):
    across = Across((Universe(tasks[0]), Universe(tasks[0], costs="50bp")))
    policy, sampler = taught(LEARNER, across)
    assert all(isinstance(each, TaughtSampler) for each in sampler.samplers)
    windows = sampler.collect(policy, named_params(policy), sampler.all_tasks(), "query", None)
    found = sampler.utility(policy, named_params(policy), windows)
    assert len(found) == 2 * len(tasks[0])
    assert "50" in sampler.identity


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ((), "there are none"),
        (("momentum",), "'momentum' is no Strategy"),
    ],
)
def test_teachers_are_strategies(teachers, message):
    with pytest.raises(InputError, match=message):
        Teachers(teachers)
    with pytest.raises(InputError, match="warm is 2"):
        Teachers((EqualWeight(),), warm=2)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [(BuyAndHold(), r"leaves its positions alone .* wrap it"), (Stops(EqualWeight(), 0.1), "has stops")],
)
def test_what_cannot_be_copied_is_refused(bars, teacher, message):
    with pytest.raises(InputError, match=message):
        MeanZone.of((teacher,), bars)


def test_only_policies_that_tilt_have_teachers(tasks):
    with pytest.raises(InputError, match="teachers teach a policy with PolicySettings"):
        RL2(PortfolioSettings(), training=TRAINING, teachers=LEARNER.teachers).fit(*tasks, progress=False)


def test_teachers_differ_by_their_names_in_every_process():
    assert (
        repr(LEARNER.teachers)
        == f"Teachers({LEARNER.teachers.strategies[0].name}, {EqualWeight().name}; warm=0.5, weight=0.0)"
    )


def test_settings_of_teachers_have_names_and_words():
    changed = with_settings(LEARNER, {"teachers.warm": 0.25})
    assert changed.teachers.warm == 0.25
    assert _words(LEARNER.teachers.strategies) == ", ".join(s.name for s in LEARNER.teachers.strategies)
    with pytest.raises(InputError, match=r"teachers: .* is nothing that a file can hold"):
        with_settings(replace(LEARNER, teachers=None), {"teachers": {"warm": 0.2}})


def test_a_family_at_a_rate_is_taught_its_rate():
    """The quadratic-cost optimum as a teacher: symbols that do not trade do not count."""
    family = GarleanuPedersen(length=60)
    sampled = family.sample(4, 0)
    learner = RL2(recipes.policy(family), recipes.objective(family), TRAINING, context=1,
                  teachers=Teachers((GarleanuPedersenOptimum(family),)))  # fmt: skip
    policy, sampler = taught(learner, sampled.tasks(1))
    windows = batch_of(sampler, policy, 0.0)
    before = sampler.utility(policy, named_params(policy), windows)
    assert torch.isfinite(before).all()
    rows, *inputs = sampler.inputs(windows)
    plan = sampler.plan(policy, named_params(policy), inputs)
    sampler.tradable[:] = True
    assert not torch.equal(sampler.distance(plan, rows, windows), -before)


def test_in_perturbed_copies_teachers_plan_by_what_each_copy_shows(tasks):
    """Copies are copied and traded together: each as its sampler alone says, weighed by the worst case."""
    markets = Across.perturbed(tasks[0], Uncertainty(shift=0.05, volatility=1.5, costs=3), copies=3)
    learner = replace(LEARNER, objective=Pathwise(symbols=0, worst_case=SoftMin(0.02)))
    policy, sampler = taught(learner, markets)
    assert len({id(each.zone) for each in sampler.samplers}) == 3
    for progress in (0.0, 1.0):
        chosen = sampler.sample(np.random.default_rng(0), 4, progress)
        batch = sampler.collect(policy, named_params(policy), chosen, "query", np.random.default_rng(0))
        together = sampler.utility(policy, named_params(policy), batch)
        alike = torch.equal(sampler.weights(together, chosen), torch.ones(12, dtype=together.dtype))
        assert alike == (progress < 0.5)  # what is copied is not what is earned
        alone = [
            each.utility(policy, named_params(policy), part)
            for each, part in zip(sampler.samplers, batch.parts, strict=True)
        ]
        torch.testing.assert_close(together, torch.cat(alone))
    meta = learner.fit(markets, tasks[1], progress=False)
    assert np.isfinite(meta.history["validation"]).all()


@pytest.mark.slow
def test_a_student_of_wrong_filters_beats_them():
    """A fiftieth of the recipe's steps, with full costs, where training without teachers is still at costs of zero."""
    family = HiddenMarkov(stay=0.995, cost=0.5, length=400)
    teachers = tuple(HiddenMarkovZone(HiddenMarkov(m, q, 0.5, 400)) for m in (0.05, 0.2) for q in (0.99, 0.9975))
    training = Training(steps=300, batch=64, learning_rate=3e-3, weight_decay=0.0, evaluate_every=300, evidence=None,
                        keep="last", schedule="cosine")  # fmt: skip
    learner = RL2(recipes.policy(family), recipes.objective(family), training, context=1, teachers=Teachers(teachers))
    meta = learner.fit(family.sample(4096, 1).tasks(1), family.sample(16, 2).tasks(1), progress=False)
    judged = family.with_length(1000).sample(1000, 3)
    assert meta.evaluate(judged.tasks(201)).mean() > 0.85 * ceiling_scores(judged, 201).mean()
