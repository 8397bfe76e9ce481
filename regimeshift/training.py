"""What ``train`` and ``tune`` do first: read the data, and build the learner, the regimes and the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from regimeshift.options import TrainingOptions

if TYPE_CHECKING:
    from markets import Bars, RegimeDetector, TaskSet, Uncertainty
    from metalearner import Across, MetaLearner
    from regimeshift.spans import Spans
    from regimeshift.windows import Windows


@dataclass(frozen=True)
class Prepared:
    """Data and a learner, and how tasks are cut from the data.

    Attributes
    ----------
    whole, bars : Bars
        As they were loaded, and without rows on which nothing trades, which are no bars to learn from.
    windows : Windows
    where : Spans
    learner : MetaLearner
    """

    whole: Bars
    bars: Bars
    windows: Windows
    where: Spans
    learner: MetaLearner

    @classmethod
    def of(
        cls, options: TrainingOptions, source: str, settings: Mapping[str, Any], path: str | None = None
    ) -> Prepared:
        """Read the data and build the learner with `settings`, which are those of the file `path`.

        Raises
        ------
        InputError
            When the data cannot be read or are too few, or an option or setting is wrong.
        """
        from metalearner import Experts
        from regimeshift import steps
        from regimeshift.configuration import with_file_settings
        from regimeshift.spans import spans
        from regimeshift.windows import Windows

        whole = options.load(source)
        bars = whole.without_empty()
        windows = Windows.of(bars, options.lookback)
        steps.require(bars, windows)
        where = spans(bars, options.validation, options.test, windows.lookback)
        learner = steps.build_learner(
            options.learner, windows, options, options, steps=options.steps, seed=options.seed, device=options.device
        )
        if isinstance(learner, Experts) and options.n_regimes is not None:
            learner = replace(learner, n_regimes=options.n_regimes)
        if options.teachers:
            learner = steps.with_teachers(learner, options.teachers, bars, where, windows)
        learner = _adversarial(with_file_settings(learner, settings, path), options)
        return cls(whole, bars, windows, where, learner)

    def tasks(self, options: TrainingOptions) -> tuple[RegimeDetector, TaskSet | Across, TaskSet]:
        """Regimes of the training years, and the training and validation tasks; says how many there are."""
        from metalearner import Across
        from regimeshift import steps

        regimes = steps.fit_regimes(self.bars, self.where, options.n_regimes, options.seed)
        tasks, validation = steps.cut_tasks(self.bars, self.where, regimes, self.windows)
        steps.tell_tasks(tasks, validation, self.where)
        distance = _uncertainty(options)
        if distance is None:
            return regimes, tasks, validation
        return regimes, Across.perturbed(tasks, distance, options.copies), validation


def _adversarial(learner: MetaLearner, options: TrainingOptions) -> MetaLearner:
    """The learner with the worst case of the options as its objective.

    Raises
    ------
    InputError
        When an option cannot be read, or the learner does not train on tasks.
    """
    from markets import InputError
    from metalearner import Experts, Pathwise, WorstCase
    from regimeshift.console import naming

    for option in ("uncertainty", "worst_case"):
        if getattr(options, option) and not learner.trains:
            raise InputError(
                f"--{option.replace('_', '-')}: {options.learner} is not trained on past regimes; leave it out"
            )
    if isinstance(learner, Experts) and (options.uncertainty or options.worst_case):
        raise InputError(
            "--learner experts divides the market by regimes already; leave --uncertainty and --worst-case out"
        )
    if _uncertainty(options) and options.copies < 2:
        raise InputError(f"--copies {options.copies}: the first is the data as they are; it must be at least 2")
    if not options.worst_case:
        return learner
    assert isinstance(learner.objective, Pathwise)
    with naming("--worst-case"):
        return replace(learner, objective=replace(learner.objective, worst_case=WorstCase.parse(options.worst_case)))


def _uncertainty(options: TrainingOptions) -> Uncertainty | None:
    from markets import Uncertainty
    from regimeshift.console import naming

    with naming("--uncertainty"):
        return Uncertainty.parse(options.uncertainty) if options.uncertainty else None
