"""``regimeshift bench``: known optima of the synthetic families, and how close learners come to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class Ceilings:
    """Print the ladder of every synthetic family: hindsight, oracle (hidden state known), optimum, fixed rules.

    Rewards are per bar, in the family's units; the error is the standard error over episodes. See docs/ceilings.md.
    """

    episodes: int = 1000
    """Number of episodes per family."""
    seed: int = 0
    """Seed of the episodes."""
    skip: int = 50
    """Bars to leave out at the start of each episode, for all strategies."""

    def run(self) -> None:
        from rich.progress import track

        from markets import InputError
        from markets.synthetic import FAMILIES
        from regimeshift.console import console, show
        from strategies.ladder import ladder

        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must be at least 0")
        if self.episodes < 2 or not 0 <= self.skip < min(family.length for family in FAMILIES):
            raise InputError("bench ceilings: use at least 2 episodes, and skip fewer bars than an episode has")
        tables = [
            (family, ladder(family, self.episodes, self.seed, self.skip))
            for family in track(FAMILIES, "simulating", transient=True, console=console)
        ]
        for family, table in tables:
            text = table.astype(object)
            text["reward"] = [f"{v:.5f}" for v in table["reward"]]
            text["error"] = [f"{v:.5f}" for v in table["error"]]
            text["of ceiling"] = [f"{v:.2f}" for v in table["of ceiling"]]
            show(text, str(family), "")
        console.print(f"{self.episodes:,} episodes each; the first {self.skip} bars of each are left out.")


@dataclass
class Adapt:
    """Train learners on a synthetic family, and print their fraction of the ceiling by bars seen and by gradient steps.

    Training one learner takes from seconds (scratch) to two minutes (RL2, latent, MAML of second order) on drift_momentum, and 3
    to 12 minutes on the hidden Markov families. Trained models are saved, and an interrupted run is continued by the same
    command. The full benchmark is python -m benchmarks.adaptation.
    """

    family: Literal[
        "drift_momentum",
        "hidden_markov_a",
        "hidden_markov_b",
        "hidden_markov_c",
        "hidden_markov_family",
        "garleanu_pedersen",
    ] = "drift_momentum"
    """Family, as described in docs/ceilings.md.
    Hidden Markov a, b and c have (mean, stay, cost) = (.1, .99, .1), (.2, .99, .1) and (.1, .995, .5)."""
    learners: tuple[str, ...] = ()
    """Learners, such as RL2 "fine-tune" MAML; by default all that have a recipe for the family."""
    seeds: int = 1
    """Number of training seeds per learner."""
    tasks: int = 1000
    """Number of unseen episodes for the evaluation."""
    quick: bool = False
    """Use a fortieth of the training, to check that everything runs; the results are not meaningful."""
    out: str = "models/bench"
    """Folder for the trained models and the page with the curves."""

    def run(self) -> None:
        from markets import InputError
        from markets.common.words import count
        from regimeshift.console import console, kept, show, step, writable

        with step("importing torch"):
            from metalearner.evaluation import recipes
            from metalearner.evaluation.study import study

        family, skip = recipes.FAMILIES[self.family]
        known = {name.lower(): name for name in recipes.names(family)}
        unknown = [name for name in self.learners if name.lower() not in known]
        if unknown:
            has = "; ".join(known.values())
            raise InputError(f"--learners {unknown[0]!r}: {self.family} has recipes for {has}")
        if self.seeds < 1 or self.tasks < 2:
            raise InputError("bench adapt: use at least 1 seed and 2 tasks")
        folder = writable(self.out)
        wanted = [known[name.lower()] for name in self.learners] or list(known.values())
        jobs = [(name, seed) for name in wanted for seed in range(self.seeds)]
        built: dict[str, list] = {}
        with kept("trained models are saved; run the same command to continue"):
            for name, seed in jobs:
                built.setdefault(name, []).append(
                    recipes.trained(name, family, seed, self.quick, folder, progress=True)
                )
        with step(f"evaluating {count(len(jobs), 'learner')}"):
            found = study(built, family, skip=skip, tasks=self.tasks)
        show(found.summary, f"{self.family}: fraction of the ceiling", "learner")
        if len(found.by_bars):
            show(found.by_bars, "by bars seen in the new regime", "learner")
        if len(found.by_steps):
            show(found.by_steps, f"by gradient steps on {recipes.SUPPORT} bars", "learner")
        seeds = count(self.seeds, "training seed")
        console.print(f"{self.tasks:,} unseen tasks, {seeds}; the first {skip} bars of whole episodes are left out.")
        console.print(f"Saved {found.page(folder / f'{self.family}.html')}")
