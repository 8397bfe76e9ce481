"""Processes that move aliases, to be killed or to race; importable, since they start with nothing."""

import contextlib
import multiprocessing
import os
import signal
import time

import mlflow
import numpy as np

from backtests import moves, tracking
from backtests.moves import Aliases
from markets import InputError


def forked():
    """A context whose processes start with everything imported."""
    context = multiprocessing.get_context("forkserver")
    store = "mlflow.store.model_registry.sqlalchemy_store"
    context.set_forkserver_preload(["backtests.moves", "backtests.tracking", "mlflow", store])
    return context


def versions_of(name, number=3):
    """A registered model with versions of which nothing but the numbers matters."""
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    for _ in range(number):
        client.create_model_version(name, "s3://nowhere/model")
    return name


def promote_once(variables, name, version, gate):
    """Promote as soon as the gate opens; ends with status 3 if another was first."""
    os.environ.update(variables)
    with tracking.connected_to():
        before = moves.aliases(name).champion
        gate.wait()
        try:
            moves.promote(name, version, before)
        except InputError as error:
            print(error)
            os._exit(3)
    os._exit(0)


def _promote_in_turn(variables, name, writes, patience):
    """Promote the next of three versions, and again, until killed; counts its writes."""

    def written(_):
        writes.value += 1

    os.environ.update(variables)
    moves._written, moves.PATIENCE = written, patience
    with tracking.connected_to():
        while True:
            now = moves.aliases(name).champion
            with contextlib.suppress(InputError):  # what was cut off was finished first, so the champion is another one
                moves.promote(name, 1 + now % 3, now)


def killed_while_promoting(variables, name, kills):
    """Check that there is a champion and no move is lost, whenever one who promotes all the time is killed (SIGKILL).

    Parameters
    ----------
    variables : dict
        MLflow's environment variables; the calling process is connected to the same store.
    name : str
        Of a model with three versions.
    kills : int
        Number of processes, each killed at a random moment of its first moves.
    """
    context, rng, unfinished = forked(), np.random.default_rng(0), 0
    client = mlflow.MlflowClient()
    moves.promote(name, 1, None)
    for _ in range(kills):
        writes = context.Value("i", 0, lock=False)
        process = context.Process(target=_promote_in_turn, args=(variables, name, writes, moves.PATIENCE))
        process.start()
        last = rng.integers(1, 16)  # a move has five writes
        while writes.value < last:
            assert process.is_alive()
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        found, intent = moves.aliases(name), client.get_registered_model(name).tags.get(moves.INTENT)
        assert found.champion in (1, 2, 3)
        assert found.previous in (None, 1, 2, 3)
        if intent is not None:
            move = moves.Move.read(intent)
            assert found.champion in (move.before, move.version)
            unfinished += 1
        past = moves.history(name)  # finishes it
        assert moves.aliases(name) == Aliases(past[-1].version, past[-1].before)
        assert [move.before for move in past[1:]] == [move.version for move in past[:-1]]
        assert moves.INTENT not in client.get_registered_model(name).tags
    print(f"{len(past)} moves; {unfinished} of {kills} kills within one")
    assert len(past) > 0.8 * kills
    assert unfinished > 0.3 * kills
