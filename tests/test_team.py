"""A team's MLflow server: what members may do, two at once, claims that were left, and what the page about it promises."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import team as compose_file
import yaml
from command import call, refused
from killing import forked, killed_while_promoting, promote_once, versions_of

from backtests import moves, registry, tracking, versions
from backtests.moves import Aliases
from strategies import EqualWeight

ROOT = Path(__file__).parents[1]


# ---------------------------------------------------------------------------------------------------- the page


def test_the_compose_file_is_whole():
    """Its services wait for each other, every variable must be set, nothing is without a version, and the versions are ours."""
    text = compose_file.block("yaml")
    whole = yaml.safe_load(text)
    database, server = whole["services"]["database"], whole["services"]["mlflow"]
    assert re.fullmatch(r"postgres:\d+\.\d+-\w+", database["image"])
    assert server["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert all("healthcheck" in service for service in (database, server))
    assert "ports" not in database
    mounted = {volume.split(":")[0] for service in (database, server) for volume in service["volumes"]}
    assert mounted == set(whole["volumes"])
    assert {config["source"] for config in server["configs"]} == set(whole["configs"])
    variables, required = set(re.findall(r"\$\{(\w+)", text)), set(re.findall(r"\$\{(\w+):\?", text))
    assert variables == required
    listed = re.findall(r"^(\w+)=", compose_file.block("text"), re.MULTILINE)
    assert set(listed) == variables
    pinned = re.findall(r'"([\w-]+)(?:\[\w+\])?==([\d.]+)"', server["build"]["dockerfile_inline"])
    assert [name for name, _ in pinned] == ["mlflow", "psycopg"]
    for name, version in pinned:
        assert f"\n{name}=={version}\n" in (ROOT / "constraints.txt").read_text()


# ---------------------------------------------------------------------------------------------------- a real server


@pytest.fixture
def member(team, monkeypatch):
    """Be a member in this process."""

    def be(who):
        for key, value in team.variables(who).items():
            monkeypatch.setenv(key, value)

    return be


@pytest.fixture
def name(member, request):
    """A registered model of three versions, made by ada."""
    member("ada")
    with tracking.connected_to():
        return versions_of(request.node.name)


@pytest.mark.slow
@pytest.mark.process
def test_who_may_not_is_told_so_in_a_line(team, name, tmp_path):
    def run(who, *words, **variables):
        return call(*words, cwd=tmp_path, variables=team.variables(who) | variables)

    refused(run("bob", "history", name, MLFLOW_TRACKING_PASSWORD="wrong"), "does not know bob with this password")
    elsewhere = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": "", "HOME": str(tmp_path)}
    refused(run("bob", "history", name, **elsewhere), "wants an account")
    refused(run("carol", "rollback", name), "does not permit this to carol")
    assert run("carol", "history", name).returncode == 0


@pytest.mark.slow
@pytest.mark.process
def test_who_may_not_move_leaves_no_claim(name, member):
    member("carol")
    with tracking.connected_to():
        with pytest.raises(mlflow.exceptions.MlflowException, match="Permission denied"):
            moves.promote(name, 1, None)
        assert moves.aliases(name) == Aliases(None, None)
        assert mlflow.MlflowClient().search_registered_models(f"name = '{name}.moving'") == []


@pytest.mark.slow
@pytest.mark.process
def test_a_claim_of_a_dead_process_is_taken_away_by_who_may(name, member, monkeypatch):
    """A loop without end of a deletion that was not permitted, and then of waiting."""
    monkeypatch.setattr(moves, "PATIENCE", 0.5)
    with tracking.connected_to():
        mlflow.MlflowClient().create_registered_model(f"{name}.moving", {"token": "of a process of ada"})
        mlflow.MlflowClient().create_registered_model(f"{name}.of carol.moving", {"token": "of a process of ada"})
    member("carol")
    with tracking.connected_to():
        versions_of(f"{name}.of carol")
        with pytest.raises(moves.InputError, match=r"of carol.moving was left by a move .* carol@.* moved last"):
            moves.promote(f"{name}.of carol", 1, None)
    member("bob")
    with tracking.connected_to():
        assert moves.promote(name, 1, None).who.startswith("bob@")
        assert moves.promote(f"{name}.of carol", 2, None).version == 2
        assert mlflow.MlflowClient().search_registered_models(f"name LIKE '{name}%.moving'") == []


@pytest.mark.slow
@pytest.mark.process
def test_of_members_who_promote_at_once_one_wins(team, name, member):
    with tracking.connected_to():
        moves.promote(name, 1, None)
    context = forked()
    gate = context.Barrier(2)
    processes = [
        context.Process(target=promote_once, args=(team.variables(who), name, version, gate))
        for who, version in (("ada", 2), ("bob", 3))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert sorted(process.exitcode for process in processes) == [0, 3]
    winner = 2 + [process.exitcode for process in processes].index(0)
    with tracking.connected_to():
        assert moves.aliases(name) == Aliases(winner, 1)
        assert [(move.version, move.who.split("@")[0]) for move in moves.history(name)] == [
            (1, "ada"), (winner, {2: "ada", 3: "bob"}[winner]),
        ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.timeout(1800)
def test_whatever_is_killed_when_there_is_a_champion_and_no_move_is_lost(team, name, monkeypatch):
    """As tests/backtests/test_moves.py has it for a file: 50 kills by KILLS=50, else 10."""
    monkeypatch.setattr(moves, "PATIENCE", 2.0)
    with tracking.connected_to():
        killed_while_promoting(team.variables("ada"), name, int(os.environ.get("KILLS", "10")))


@pytest.mark.slow
@pytest.mark.process
def test_files_that_cannot_be_kept_are_a_line(team, member, bars):
    """Half a minute of retries, and no traceback; the server's folder is a file meanwhile."""
    member("ada")
    place = team.artifacts.rename(team.artifacts.with_name("aside"))
    team.artifacts.touch()
    try:
        start = time.monotonic()
        with pytest.raises(moves.InputError, match=rf"^MLflow at {team.address} fails \(.*\); its log says why"):
            registry.register("unkept", EqualWeight(), bars=bars)
        assert time.monotonic() - start < 90
    finally:
        team.artifacts.unlink()
        place.rename(team.artifacts)
    with tracking.connected_to():
        assert mlflow.MlflowClient().search_registered_models("name = 'unkept'") == []
    built = registry.register("unkept", EqualWeight(), bars=bars)
    assert built.number == 1
    model = versions.load("unkept/1")
    np.testing.assert_allclose(versions.target_weights(model, bars)["target_weight"], 1 / 3)


@pytest.mark.slow
@pytest.mark.process
def test_regression_copies_of_a_versions_files_are_gone_with_the_process(team, member, bars, tmp_path):
    """Each signal from a server left one in the temporary folder."""
    member("ada")
    registry.register("copied", EqualWeight(), bars=bars)
    code = "from backtests import versions; print(versions.load('copied/1').folder)"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
