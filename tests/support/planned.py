"""A learner whose validation curve is known, and a process that tunes it, to be killed."""

import os
import sys
import time
from dataclasses import dataclass, field

import numpy as np

from markets import InputError
from metalearner import RL2, Training
from metalearner.tuning import Range, tune

SEARCH = {"training.learning_rate": Range(1e-4, 1.0, log=True)}


def quality(rate: float) -> float:
    """What a learning rate scores: most at 0.01."""
    return -abs(np.log10(rate) + 2)


@dataclass(frozen=True)
class Planned(RL2):
    """Trains nothing: its curve rises to its rate's `quality`. Rates above 0.5 diverge, those below 0.0002 are refused."""

    training: Training = field(default_factory=lambda: Training(steps=8))
    pause: float = 0.0

    def validate(self, tasks, validation, *, log=None, progress=True):
        rate = self.training.learning_rate
        if rate > 0.5:
            raise FloatingPointError("step 1: the gradient is not finite")
        if rate < 0.0002:
            raise InputError("too slow")
        for k in range(1, 5):
            time.sleep(self.pause)
            log({"validation": quality(rate) - (4 - k) / 100, "utility": 0.0}, 2 * k)
        return quality(rate)


if __name__ == "__main__":
    study, trials, pause = sys.argv[1:]
    found = tune(
        Planned(pause=float(pause)), None, None, trials=int(trials), study=study, search=SEARCH, progress=False
    )
    print(os.getpid(), found.trials)
