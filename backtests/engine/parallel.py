"""Many jobs at once, through joblib: on this machine, or wherever ``joblib.parallel_config`` says, such as Dask or Ray.

Results come as they are finished, and are kept at once, so that an interrupted call loses the jobs that were running and no
others. A worker that dies costs the time of what it was at: those jobs are run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from markets.common.progress import visible

Result = TypeVar("Result")
_DEATHS = 3  # rounds in which workers may die, before it is no accident
# What local processes, Dask and Ray raise for it; by name, since only one of them may be installed.
_DIED = {
    "TerminatedWorkerError",
    "BrokenProcessPool",
    "KilledWorker",
    "RayActorError",
    "ActorDiedError",
    "WorkerCrashedError",
}


def run_all(
    run: Callable[..., Result],
    work: Sequence[tuple[Any, ...]],
    finished: Callable[[int, Result], None],
    *,
    jobs: int | None,
    done: int = 0,
    progress: bool = True,
) -> None:
    """Call ``run(*arguments)`` for each of `work`.

    Parameters
    ----------
    run : callable
        A pure function.
    work : sequence of tuple
    finished : callable
        Takes a job's number and its result, here, as soon as it is known.
    jobs : int or None
        How many at a time; None is what joblib is configured to, and one at a time if it is not.
    done : int
        Jobs that need not be run, to be shown.
    progress : bool
        Whether to show progress and the time left, on a terminal.
    """
    left, deaths = dict(enumerate(work)), 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True, disable=not visible(progress)) as bar:
        row = bar.add_task("backtesting", total=len(work) + done, completed=done)
        while left:
            try:
                for number, result in _results(run, left, jobs):
                    finished(number, result)
                    del left[number]
                    bar.advance(row)
            except Exception as error:
                deaths += 1
                if deaths > _DEATHS or not _DIED & {kind.__name__ for kind in type(error).__mro__}:
                    raise


def _results(
    run: Callable[..., Result], left: dict[int, tuple[Any, ...]], jobs: int | None
) -> Iterator[tuple[int, Result]]:
    """Numbers and results of jobs, as they are finished where joblib's backend tells, otherwise a few rounds at a time."""
    backend, configured = get_active_backend()
    if jobs is None and configured in (None, 1) and not type(backend).__module__.startswith("joblib."):
        jobs = -1  # who configured a cluster means all of it; without a number, joblib would not leave this process
    waiting, generates = list(left), backend.supports_return_generator
    at_once = len(waiting) if generates else 4 * effective_n_jobs(jobs)
    with Parallel(n_jobs=jobs, return_as="generator_unordered" if generates else "list") as workers:
        for first in range(0, len(waiting), at_once):
            yield from workers(delayed(_numbered)(run, n, left[n]) for n in waiting[first : first + at_once])


def _numbered(run: Callable[..., Result], number: int, arguments: tuple[Any, ...]) -> tuple[int, Result]:
    return number, run(*arguments)
