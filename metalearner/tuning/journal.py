"""The file of a study: Optuna's journal, which several processes and machines may share, and which no kill can damage.

Two kinds of locks of the operating system guard it. They end with their holder, so that a process that was killed blocks nobody:

- one on ``STUDY.lock``, under which trials begin and end, and lines are added to the journal;
- one on ``STUDY.NUMBER.running`` for each running trial. Whoever can take it knows that the trial's process has died.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import optuna
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from markets import InputError

REASON = "reason"  # attribute of a trial that failed by itself; one without was lost with its process
_ID = "id"
AGAIN = "again"  # attribute of a trial that repeats a lost one: that one's number


class _Lock(JournalFileOpenLock):
    """A lock of the operating system, as the journal wants it; its own one outlives who holds it."""

    def __init__(self, lock: FileLock):
        self.lock = lock

    def acquire(self) -> bool:
        self.lock.acquire()
        return True

    def release(self) -> None:
        self.lock.release()


class Journal:
    """A study in a file.

    Parameters
    ----------
    path : str or Path
        Made if it does not exist; its folder must.

    Attributes
    ----------
    study : optuna.Study
        Which maximises.
    lock : FileLock
        Under which trials begin and end. It may be taken again by who holds it.

    Raises
    ------
    InputError
        When the file is no study, or cannot be read or written.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).resolve()
        try:
            self.lock = FileLock(f"{self.path}.lock")
            with self.lock, quiet():
                _cut_half_lines(self.path)
                storage = JournalStorage(JournalFileBackend(str(self.path), _Lock(self.lock)))
                self.study = optuna.create_study(
                    storage=storage, study_name="tune", direction="maximize", load_if_exists=True
                )
                if _ID not in self.study.user_attrs:
                    self.study.set_user_attr(_ID, uuid.uuid4().hex)
        except OSError as error:
            raise InputError(f"{path}: a study cannot be kept there ({error.strerror}); choose another file") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path}: another kind of file, and no study; choose another name") from None

    @property
    def id(self) -> str:
        """What tells it from all other studies."""
        return str(self.study.user_attrs[_ID])

    def begun(self) -> list[FrozenTrial]:
        """The trials that are running or have ended, without lost ones."""
        return [trial for trial in self.study.get_trials() if trial.state != TrialState.WAITING and not is_lost(trial)]

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[None]:
        """Context in which others see that a trial's process lives. It begins under `lock`."""
        lock = FileLock(self._running(number))
        with lock:
            yield
        Path(lock.lock_file).unlink(missing_ok=True)

    def bury(self) -> None:
        """End the running trials whose process has died, and have each tried again, but none twice. It is called under `lock`."""
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            lock = FileLock(self._running(trial.number))
            try:
                with lock.acquire(blocking=False):
                    self.study.tell(trial.number, state=TrialState.FAIL)
                    if trial.params and AGAIN not in trial.user_attrs:
                        self.study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})
            except Timeout:
                continue  # its process lives
            Path(lock.lock_file).unlink(missing_ok=True)

    def _running(self, number: int) -> str:
        return f"{self.path}.{number}.running"


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial ended with its process."""
    return trial.state == TrialState.FAIL and REASON not in trial.user_attrs


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context without Optuna's messages; the setting is its own, of the whole process."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _cut_half_lines(path: Path) -> None:
    """Remove what a full disk has left of a line that was being written; with the next line it would be read as one."""
    if not path.exists() or not (text := path.read_bytes()) or text.endswith(b"\n"):
        return
    whole = text.rfind(b"\n") + 1
    if not text.startswith(b'{"op_code"'):
        raise ValueError("no study")  # and nothing of it is touched
    with path.open("rb+") as file:
        file.truncate(whole)
