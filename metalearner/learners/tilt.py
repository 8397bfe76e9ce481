"""The test of what a policy's tilt gains over its base: the factor on the tilt that validation tasks support, or 0.

A policy is not to be worse than its base for lack of evidence. So the factor with the largest mean gain is kept only if that gain
is significant on tasks that chose nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from rich.progress import track
from scipy.stats import norm as normal
from scipy.stats import t as student_t
from torch import Tensor

from markets import TaskSet
from markets.common.progress import visible
from markets.common.statistics import RESOLUTION
from metalearner.objectives.across import Across

LATER = "the later half of validation"


class Scored(Protocol):
    """What can be scored on tasks, such as an `Algorithm`."""

    def scores(self, rng: np.random.Generator) -> Tensor:
        """Utility of each task."""


@dataclass(frozen=True)
class TiltTest:
    """The test, on validation tasks, of what a policy's tilt gains over its base.

    Attributes
    ----------
    share : float
        Factor on the tilt that was selected; 0 without enough evidence.
    statistic : float
        t-statistic of the largest mean gain over the tasks.
    threshold : float
        `Training.evidence`: what it would have had to exceed with many tasks.
    tasks : int
        Number of tasks.
    where : str
        What the tasks are of.
    """

    share: float
    statistic: float
    threshold: float
    tasks: int
    where: str = LATER

    @property
    def wanted(self) -> float:
        """What the t-statistic had to exceed: with few tasks more than `threshold`, so that chance alone does as rarely.

        The quantile of Student's t with ``tasks - 1`` degrees of freedom that is exceeded with the probability with which a
        standard normal exceeds `threshold`. A `threshold` of 1 (15.9 %) becomes 1.84 with 2 tasks, 1.14 with 5, 1.06 with 10.
        """
        return float(student_t.isf(normal.sf(self.threshold), self.tasks - 1)) if self.tasks > 1 else np.inf

    def __str__(self) -> str:
        return self.describe("its tilt")

    def describe(self, what: str) -> str:
        """The outcome in words, of `what` was tested."""
        if self.tasks < 2 and self.where == LATER:
            return f"{what} was not tested; that needs at least 4 validation tasks, of which the later half are for the test"
        if self.tasks < 2:
            found = f"no more than {self.tasks}" if self.tasks else "none"
            return (
                f"{what} was not tested; that needs 2 tasks that training has not seen, and {self.where} hold {found}"
            )
        return (
            f"on {self.where} ({self.tasks} tasks) the gain of {what} has a t-statistic of "
            f"{self.statistic:.2f}, and more than {self.wanted:.3g} is wanted, as rare by chance "
            f"as {self.threshold:g} with many tasks (--evidence, Training.evidence)"
        )


def select_shrinkage(
    policy: Any,
    judged: Scored,
    evidence: float,
    grid: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0),
    *,
    progress: bool = False,
) -> TiltTest:
    """Set the factor on the policy's tilt to the one with the largest mean gain over the base, or to 0.

    The factor is 0 unless the gain is significant, so that the policy is not worse than its base for lack of evidence.

    Parameters
    ----------
    policy : Policy
        The policy of `judged`; its buffer ``shrink`` is set in place.
    judged : Scored
        On validation tasks not used for any other selection.
    evidence : float
        t-statistic that the gain must exceed with many tasks; with few, see `TiltTest.wanted`.
    grid : tuple of float
        Factors to try, besides 0.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    TiltTest
    """
    before = float(policy.shrink)

    def utilities(share: float) -> np.ndarray:
        policy.shrink.fill_(share)
        with torch.no_grad():
            return judged.scores(np.random.default_rng(0)).numpy()

    try:
        shares = track((0.0, *grid), "testing the tilt", transient=True, disable=not visible(progress))
        base, *found = [utilities(share) for share in shares]
    except BaseException:
        policy.shrink.fill_(before)
        raise
    gains = {share: utility - base for share, utility in zip(grid, found, strict=True)}
    best = max(gains, key=lambda share: gains[share].mean())
    mean, error = gains[best].mean(), gains[best].std(ddof=1) / np.sqrt(len(base)) if len(base) > 1 else np.inf
    statistic = mean / error if error > RESOLUTION else 0.0
    test = TiltTest(best, float(statistic), evidence, len(base))
    # equal gains have no error but rounding
    supported = mean > RESOLUTION and (error <= RESOLUTION or statistic > test.wanted)
    policy.shrink.fill_(best if supported else 0.0)
    return replace(test, share=float(policy.shrink))


def halves(validation: TaskSet | Across) -> tuple[Any, Any]:
    """Earlier tasks, to select the weights, and later ones, to test the tilt; reusing the first would bias the test."""
    if isinstance(validation, Across):
        return validation.map(lambda tasks: halves(tasks)[0]), validation.map(lambda tasks: halves(tasks)[1])
    half = (len(validation) + 1) // 2
    choosing = TaskSet(validation.tasks[:half])
    return choosing, TaskSet(validation.tasks[half:]) if len(validation) > 1 else choosing
