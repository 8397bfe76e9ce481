"""Every learner of the command line has settings for exposure to one market."""

import pytest

from markets import Costs, Execution, Features, InputError
from metalearner import LEARNERS, CertaintyEquivalent
from metalearner.evaluation import exposure_learner
from strategies import Pool

SETTINGS = {
    "costs": Costs(commission=0.002),
    "execution": Execution(gross=2.0, borrowing=True),
    "risk_aversion": 3.0,
    "pool": Pool((5, 20), (20,), window=60, shortest=20),
    "features": Features.scaled(40),
    "volatility": 20,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_it_maximises_the_certainty_equivalent_net_of_the_costs_within_the_limits(name):
    learner = exposure_learner(name, **SETTINGS, seed=7)
    assert learner.objective.utility == CertaintyEquivalent(3.0)
    assert learner.objective.costs == SETTINGS["costs"]
    assert learner.objective.execution == SETTINGS["execution"]
    assert learner.policy.limit == 2.0
    assert learner.training.seed == 7
    assert learner.training.evidence is None


def test_an_unknown_name_is_said_in_a_line():
    with pytest.raises(InputError, match="'luck' is unknown; use rl2, latent"):
        exposure_learner("luck", **SETTINGS)
