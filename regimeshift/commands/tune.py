"""``regimeshift tune``: search the settings of a learner on validation tasks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimeshift.options import Source, TrainingOptions, processors

if TYPE_CHECKING:
    from metalearner.tuning import Tuned


@dataclass
class Tune(TrainingOptions):
    """Search the settings of a learner, such as its learning rate, for those that do best on validation tasks, and write them to
    a file for `regimeshift train --config`.

    Bars from --test on are not used. Run the same command in another terminal, or on another machine that shares the folder, and
    both work on the same trials; run it again after Ctrl-C or a crash, and it goes on. Each trial is logged to MLflow, where
    later backtests of these data count it.
    """

    source: Source = "stocks"
    trials: int = 20
    """Trials in all, those of other processes and earlier runs included. The first is the learner as it is."""
    search: tuple[str, ...] = ()
    """What to search instead of the usual settings: training.learning_rate=1e-4:1e-2:log (both ends), policy.hidden=8,16,32, or a
    name alone for its usual range, such as training.batch."""
    study: str | None = None
    """File that keeps the trials; by default tune/DATA-LEARNER.log."""
    out: str | None = None
    """File for the best settings; by default beside the study, as .json."""
    page: str | None = None
    """File for the page with plots; by default beside the study, as .html."""
    jobs: int = 1
    """Trials at a time, each in a process; -1 for all processors."""

    def run(self) -> None:
        from regimeshift import steps
        from regimeshift.configuration import Configuration, differing
        from regimeshift.console import command_line, console, kept, naming, page_file, step, writable
        from regimeshift.searches import search_from_words
        from regimeshift.training import Prepared

        processors(self.jobs)
        search = search_from_words(self.search)
        with step("importing torch, MLflow and Optuna"):
            import mlflow

            from backtests import studies, tracking
            from markets import InputError
            from metalearner.learners.settings import with_settings
            from metalearner.tuning import space, tune
            from metalearner.tuning.journal import Journal
        if self.trials < 1:
            raise InputError(f"--trials {self.trials}: it must be at least 1")
        ready = Prepared.of(self, self.source, {})
        learner = ready.learner
        with naming("--search"):
            searched = space(learner, search)
        place = Path(self.study or f"tune/{steps.plain_name(ready.bars.name)}-{self.learner}.log")
        if place.is_dir():
            raise InputError(f"--study {place}: a folder; name a file in it")
        page = page_file(self.page or place.with_suffix(".html"), "--page")
        out = Path(self.out or place.with_suffix(".json"))
        if out.is_dir():
            raise InputError(f"--out {out}: a folder; name a file in it")
        for option, file in (("--study", place), ("--out", out)):
            with naming(f"{option} {file}"):
                writable(file.parent)
        if out.resolve() == place.resolve():
            raise InputError(f"--out {out}: that is the study; choose another file")
        with naming("--study"):
            journal = Journal(place)
        _, tasks, validation = ready.tasks(self)
        hint = f"the trials so far are kept in {place}; run the same command again to go on"
        with (
            kept(hint),
            studies.study_run(journal.id, journal.lock, f"tune {place.stem}", command="tune", **vars(self)),
        ):
            tracking.log_bars(tasks.bars, "training", whole=ready.whole)

            def log(table: Any) -> None:
                settings = {number: {name: row[name] for name in searched} for number, row in table.iterrows()}
                with journal.lock:
                    studies.log_study(ready.bars, table, settings, lambda each: repr(with_settings(learner, each)))

            found = tune(
                learner, tasks, validation, trials=self.trials, study=place, search=search, jobs=self.jobs, ended=log
            )
            log(found.table)
            self._show(found, ready.bars.name)
            about = {"score": found.score, "trial": found.best, "trials": len(found.table), "data": ready.bars.name}
            options = differing(self, leave=("device",)) | {"learner": self.learner}
            Configuration(options, found.settings, about).write(out)
            with step("writing the page"):
                from metalearner.tuning.page import write_tuning_page  # plotly takes a second to import

                write_tuning_page(found, page)
            tracking.log_metrics({"validation": found.score, "trials": found.trials})
            for file in (out, page):
                mlflow.log_artifact(str(file))
        console.print(f"Page: {page.resolve()}", markup=False)
        following = command_line("regimeshift", "train", self.source, "--config", str(out))
        console.print(f"Saved {out}. Next: {following}", markup=False)

    def _show(self, found: Tuned, data: str) -> None:
        """Print the ten best trials, and what has been found."""
        from regimeshift.console import say, show

        table = found.table.head(10)
        heads = {name: name.rpartition(".")[2] for name in found.space}
        if len(set(heads.values())) < len(heads):
            heads = {name: name for name in heads}
        columns = table[["score", *heads, "state"]].rename(columns=heads)
        texts = columns.map(lambda value: f"{value:.3g}" if isinstance(value, float) else str(value))
        show(texts, f"{found.learner.name} on {data}: the best trials by validation", "trial", "the page has all")
        say(found.finding)
        say(
            "The best of many scores is partly the luckiest. What it is worth, the later validation tasks and the test tell, of "
            "which no trial saw anything."
        )
