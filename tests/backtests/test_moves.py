"""Moves of aliases: recorded, one at a time, and whole wherever a process is killed."""

import json
import time

import mlflow
import pytest
from killing import forked, killed_while_promoting, promote_once, versions_of

from backtests import moves, tracking
from backtests.moves import Aliases
from markets import InputError

WRITES = ("intent", "previous", "champion", "record", "end")


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store of its own, connected for the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = tmp_path_factory.mktemp("moves") / "mlruns"
        with tracking.connected_to(root):
            yield root


@pytest.fixture
def name(store, request):
    return versions_of(request.node.name.replace("[", "-").replace("]", ""))


def killed_at(monkeypatch, write):
    """Die before the given write."""

    def written(what):
        if what == write:
            raise Killed

    monkeypatch.setattr(moves, "_written", written)


def test_promotions_and_a_rollback_are_recorded_with_who_and_why(name):
    assert moves.aliases(name) == Aliases(None, None)
    assert moves.history(name) == []
    moves.promote(name, 1, None, gates={"files": "passed: all 9 files"})
    moves.promote(name, 2, 1, why="a test", forced=("champion",))
    assert moves.aliases(name) == Aliases(2, 1)
    moves.roll_back(name, why="it loses")
    assert moves.aliases(name) == Aliases(1, 2)
    first, second, third = moves.history(name)
    assert [(m.kind, m.before, m.version) for m in (first, second, third)] == [
        ("promote", None, 1), ("promote", 1, 2), ("rollback", 2, 1),
    ]  # fmt: skip
    assert first.gates == {"files": "passed: all 9 files"}
    assert (second.why, second.forced, third.why) == ("a test", ("champion",), "it loses")
    assert first.time < second.time < third.time
    assert first.who == moves.me()
    assert "@" in first.who
    moves.roll_back(name)  # and back again
    assert moves.aliases(name) == Aliases(2, 1)


def test_what_cannot_be_moved(name):
    with pytest.raises(InputError, match="has no previous champion to go back to"):
        moves.roll_back(name)
    with pytest.raises(InputError, match="there is no version 9 of"):
        moves.promote(name, 9, None)
    moves.promote(name, 1, None)
    with pytest.raises(InputError, match="has no previous champion to go back to"):
        moves.roll_back(name)
    with pytest.raises(InputError, match="there is no registered model 'nobody'"):
        moves.history("nobody")
    assert moves.aliases("nobody") == Aliases(None, None)
    assert len(moves.history(name)) == 1


def test_of_two_promotions_at_once_the_second_says_who_was_first(name):
    moves.promote(name, 1, None)
    moves.promote(name, 2, 1)  # while a process compared version 3 with version 1
    first = rf"{name}/2 became the champion meanwhile, by .*@.*; {name}/3 was compared with {name}/1"
    with pytest.raises(InputError, match=first):
        moves.promote(name, 3, 1)
    with pytest.raises(InputError, match="became the champion meanwhile: another process promoted it, too"):
        moves.promote(name, 2, 1)
    assert moves.aliases(name) == Aliases(2, 1)


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("kind", ["promote", "rollback"])
def test_a_move_cut_off_at_any_write_leaves_a_champion_and_is_finished(name, monkeypatch, kind, write):
    moves.promote(name, 1, None)
    moves.promote(name, 2, 1)
    with monkeypatch.context() as patch:
        killed_at(patch, write)
        with pytest.raises(Killed):
            _ = moves.promote(name, 3, 2) if kind == "promote" else moves.roll_back(name)
    new = {"promote": 3, "rollback": 1}[kind]
    assert moves.aliases(name).champion in (2, new)
    assert moves.aliases(name).previous in (1, 2)
    found = moves.history(name)  # the next command
    after = Aliases(2, 1) if write == "intent" else Aliases(new, 2)
    assert moves.aliases(name) == after
    assert [m.version for m in found] == [1, 2] + [new] * (write != "intent")
    assert moves.INTENT not in mlflow.MlflowClient().get_registered_model(name).tags
    assert len({m.time for m in found}) == len(found)


@pytest.mark.parametrize("again", WRITES[1:])
def test_what_finishes_a_move_may_be_killed_too(name, monkeypatch, again):
    moves.promote(name, 1, None)
    for write in ("previous", again):
        with monkeypatch.context() as patch:
            killed_at(patch, write)
            with pytest.raises(Killed):
                moves.promote(name, 2, 1)  # the second time it finishes the first
    moves.promote(name, 3, 2)  # finishes the other one first
    assert [m.version for m in moves.history(name)] == [1, 2, 3]
    assert moves.aliases(name) == Aliases(3, 2)


def test_a_move_whose_version_was_deleted_is_undone(name, monkeypatch):
    moves.promote(name, 1, None)
    moves.promote(name, 2, 1)
    with monkeypatch.context() as patch:
        killed_at(patch, "champion")  # `previous` has moved
        with pytest.raises(Killed):
            moves.promote(name, 3, 2)
    mlflow.MlflowClient().delete_model_version(name, "3")
    assert [m.kind for m in moves.history(name)] == ["promote", "promote", "undone: promote"]
    assert moves.aliases(name) == Aliases(2, 1)


def test_a_champion_that_was_set_by_hand_stays(name):
    moves.promote(name, 1, None)
    mlflow.MlflowClient().set_registered_model_alias(name, "champion", "2")
    assert len(moves.history(name)) == 1
    assert moves.aliases(name).champion == 2
    moves.promote(name, 3, 2)
    assert moves.history(name)[-1].before == 2


def test_a_long_record_fits_into_mlflows_database(name):
    moves.promote(name, 1, None, why="w" * 9000, gates={f"gate {k}": "x" * 900 for k in range(7)})
    (only,) = moves.history(name)
    assert len(only.text) < 5000
    assert only.why == "w" * 1000


def test_records_follow_each_other_even_if_the_clock_goes_back(name, monkeypatch):
    moves.promote(name, 1, None)
    late = moves.history(name)[0]
    ahead = json.loads(late.text) | {"time": "2099-01-01T00:00:00.000000Z", "version": 2, "before": 1}
    mlflow.MlflowClient().set_registered_model_tag(name, f"{moves.RECORD}{ahead['time']}", json.dumps(ahead))
    moves.promote(name, 3, 1)
    assert [m.version for m in moves.history(name)] == [1, 2, 3]


# ---------------------------------------------------------------------------------------------------- claims, as on a server


def test_a_claim_excludes_others_and_is_gone_afterwards(name, monkeypatch):
    monkeypatch.setattr(moves, "_sqlite_file", lambda _: None)
    monkeypatch.setattr(moves, "PATIENCE", 0.3)
    client = mlflow.MlflowClient()
    with moves.exclusively(name), pytest.raises(mlflow.exceptions.MlflowException, match="already exists"):
        client.create_registered_model(f"{name}.moving")
    assert [m.name for m in client.search_registered_models(f"name = '{name}.moving'")] == []
    moves.promote(name, 1, None)
    assert moves.aliases(name).champion == 1
    client.create_registered_model(f"{name}.moving", {"token": "of a dead process"})
    before = time.monotonic()
    moves.promote(name, 2, 1)
    assert time.monotonic() - before > 0.3
    assert moves.aliases(name) == Aliases(2, 1)


def test_a_holder_whose_claim_was_taken_away_leaves_that_of_the_next_one_alone(name, monkeypatch):
    monkeypatch.setattr(moves, "_sqlite_file", lambda _: None)
    client, claim = mlflow.MlflowClient(), f"{name}.moving"
    with moves.exclusively(name):
        client.delete_registered_model(claim)
        client.create_registered_model(claim, {"token": "the next one"})
    assert client.get_registered_model(claim).tags["token"] == "the next one"


# ---------------------------------------------------------------------------------------------------- real processes


@pytest.fixture
def variables(store):
    """By which other processes find the store."""
    return {"MLFLOW_TRACKING_URI": f"sqlite:///{store}/mlflow.db"}


@pytest.mark.process
def test_of_processes_that_promote_at_once_one_wins(variables, name):
    context = forked()
    moves.promote(name, 1, None)
    gate = context.Barrier(2)
    processes = [context.Process(target=promote_once, args=(variables, name, version, gate)) for version in (2, 3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert sorted(process.exitcode for process in processes) == [0, 3]
    winner = 2 + [process.exitcode for process in processes].index(0)
    assert moves.aliases(name) == Aliases(winner, 1)
    assert [m.version for m in moves.history(name)] == [1, winner]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whatever_is_killed_when_there_is_a_champion_and_no_move_is_lost(variables, name):
    """tests/test_team.py has the same on a server."""
    killed_while_promoting(variables, name, kills=50)
