"""The families used by the ladder and the benchmarks."""

from markets.synthetic.drift_momentum import DriftMomentum
from markets.synthetic.family import Family
from markets.synthetic.garleanu_pedersen import GarleanuPedersen
from markets.synthetic.hidden_markov import HiddenMarkov, HiddenMarkovFamily
from markets.synthetic.linear_cost import LinearCost

FAMILIES: tuple[Family, ...] = (
    DriftMomentum(),
    HiddenMarkov(),
    HiddenMarkov(mean=0.2),
    HiddenMarkov(stay=0.995, cost=0.5),
    HiddenMarkovFamily(),
    LinearCost(),
    GarleanuPedersen(),
)
