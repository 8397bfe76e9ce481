"""``regimeshift bench``: how good can it get?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass
class Ceilings:
    """Print the ladder of every synthetic family: hindsight, who knows what is hidden, the optimum, rules that do not learn.

    Rewards are a bar, in the family's units; the error is the standard error over episodes. See docs/ceilings.md.
    """

    episodes: int = 1000
    """Episodes of each family."""
    seed: int = 0
    """Of the episodes."""
    skip: int = 50
    """First bars of each episode that are left out, for everyone alike."""

    def run(self) -> None:
        from rich.progress import track

        from markets import InputError
        from markets.synthetic import FAMILIES
        from regimeshift.console import console, show
        from strategies.ladder import ladder

        if self.seed < 0:
            raise InputError(f"--seed {self.seed}: it must be at least 0")
        if self.episodes < 2 or not 0 <= self.skip < min(family.length for family in FAMILIES):
            raise InputError("bench ceilings: give at least 2 episodes, and skip fewer bars than an episode has")
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
    """Train a learner on a synthetic family and print its share of the best possible, against bars seen and gradient steps.

    A training takes from seconds (scratch) to two minutes (RL2, latent, second order) on drift_momentum, 3 to 12 on the hidden
    Markov rows. Trained models are kept: an interrupted run goes on where it stopped. The whole study is
    python -m benchmarks.adaptation.
    """

    family: Literal[
        "drift_momentum",
        "hidden_markov_a",
        "hidden_markov_b",
        "hidden_markov_c",
        "hidden_markov_family",
        "garleanu_pedersen",
    ] = "drift_momentum"
    """As in docs/ceilings.md; hidden Markov a, b and c are (mean, stay, cost) = (.1, .99, .1), (.2, .99, .1) and
    (.1, .995, .5)."""
    learners: tuple[str, ...] = ()
    """As RL2 "fine-tune" MAML; by default all that have a recipe for the family."""
    seeds: int = 1
    """Trainings of each learner."""
    tasks: int = 1000
    """Unseen episodes that judge."""
    quick: bool = False
    """A fortieth of the training: shows that it works, and no more."""
    out: str = "models/bench"
    """Folder for the trained models and the page with the curves."""

    def run(self) -> None:
        from markets import InputError
        from metalearner.evaluation import recipes
        from metalearner.evaluation.study import study
        from regimeshift.console import console, kept, show, writable

        family, skip = recipes.FAMILIES[self.family]
        known = {name.lower(): name for name in recipes.names(family)}
        unknown = [name for name in self.learners if name.lower() not in known]
        if unknown:
            has = "; ".join(known.values())
            raise InputError(f"--learners {unknown[0]!r}: {self.family} has recipes for {has}")
        if self.seeds < 1 or self.tasks < 2:
            raise InputError("bench adapt: give at least 1 seed and 2 tasks")
        folder = writable(self.out)
        wanted = [known[name.lower()] for name in self.learners] or list(known.values())
        jobs = [(name, seed) for name in wanted for seed in range(self.seeds)]
        built: dict[str, list] = {}
        with kept("what was trained is kept; the same command goes on"):
            for name, seed in jobs:
                built.setdefault(name, []).append(
                    recipes.trained(name, family, seed, self.quick, folder, progress=True)
                )
        console.print(f"{len(jobs)} trained; judging them ...")
        found = study(built, family, skip=skip, tasks=self.tasks)
        show(found.summary, f"{self.family}: share of the ceiling", "learner")
        if len(found.by_bars):
            show(found.by_bars, "against bars seen in the new regime", "learner")
        if len(found.by_steps):
            show(found.by_steps, f"against gradient steps on {recipes.SUPPORT} bars", "learner")
        console.print(
            f"{self.tasks:,} unseen tasks, {self.seeds} training seeds; the first {skip} bars of whole episodes are left out."
        )
        console.print(f"Saved {found.page(folder / f'{self.family}.html')}")
