"""A protocol is its content, and opens a test span only as it was committed."""

import json
import subprocess

import pytest
from scipy.special import ndtr

from backtests.significance import CertaintyEquivalent
from backtests.significance.interval import NORMAL, POWER
from benchmarks.real_market.contenders import CONTENDERS, descriptions
from benchmarks.real_market.protocol import FILE, Protocol
from markets import InputError
from markets.data.universes.fx import PEGGED

ONE = {"one": {"role": "adapted"}}


@pytest.fixture
def repository(tmp_path):
    """A git repository that holds the protocol, committed."""
    for command in (["init", "-q"], ["config", "user.email", "a@b.c"], ["config", "user.name", "a"]):
        subprocess.run(["git", "-C", tmp_path, *command], check=True)
    protocol = Protocol.read()
    entries = protocol.entries | {"primary": {"variance": "one", "certainty": "one"}, "contenders": ONE}
    (tmp_path / "protocol.json").write_text(json.dumps(entries))
    commit(tmp_path)
    return tmp_path


def commit(folder):
    subprocess.run(["git", "-C", folder, "add", "-A"], check=True)
    subprocess.run(["git", "-C", folder, "commit", "-qm", "protocol"], check=True)


def test_the_hash_is_of_the_content(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    entries = json.loads(FILE.read_bytes())
    one.write_text(json.dumps(entries))
    entries["universes"]["stocks"]["costs"] = "9bp"
    other.write_text(json.dumps(entries))
    assert len({Protocol.read(path).sha256 for path in (FILE, one, other)}) == 3
    assert Protocol.read(FILE).sha256 == Protocol.read(FILE).sha256


def test_a_committed_protocol_is_submitted(repository):
    Protocol.read(repository / "protocol.json").check_submitted(ONE)


def test_other_contenders_are_refused(repository):
    with pytest.raises(InputError, match="not about these contenders \\(one, two\\)"):
        Protocol.read(repository / "protocol.json").check_submitted({"two": {}})


def test_an_uncommitted_change_is_refused(repository):
    path = repository / "protocol.json"
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(InputError, match="is not committed"):
        Protocol.read(path).check_submitted(ONE)
    commit(repository)
    Protocol.read(path).check_submitted(ONE)


def test_code_that_is_not_committed_opens_no_span(repository):
    """The hash covers settings; the commit beside it must be the code that runs."""
    file = repository / "strategies" / "rules" / "new.py"
    file.parent.mkdir(parents=True)
    for content in ("a = 1\n", "a = 2\n"):
        file.write_text(content)
        with pytest.raises(
            InputError, match=r"strategies/.* is not committed, and the commit that is recorded must be"
        ):
            Protocol.read(repository / "protocol.json").check_submitted(ONE)
        commit(repository)
    (repository / "strategies" / "notes.md").write_text("no code")
    Protocol.read(repository / "protocol.json").check_submitted(ONE)


def test_the_momentum_blend_is_what_returns_must_beat_and_figures_are_by_the_fixed_power():
    statistics = Protocol.read().statistics
    assert "momentum blend" in statistics["momentum"]
    assert statistics["power"] == pytest.approx(ndtr(POWER))
    assert statistics["level"] == pytest.approx(2 * ndtr(NORMAL) - 1)
    assert statistics["risk_aversion"] == CertaintyEquivalent().risk_aversion


def test_an_untracked_protocol_is_refused(repository):
    path = repository / "mine.json"
    path.write_bytes((repository / "protocol.json").read_bytes())
    with pytest.raises(InputError, match="is not committed"):
        Protocol.read(path).check_submitted(ONE)


def test_outside_a_repository_no_span_is_opened(tmp_path):
    path = tmp_path / "protocol.json"
    path.write_bytes(FILE.read_bytes())
    with pytest.raises(InputError, match="is not in a git repository"):
        Protocol.read(path).check_submitted(descriptions())


def test_a_primary_contender_that_is_not_adapted_is_refused_before_a_look(repository):
    path = repository / "protocol.json"
    entries = json.loads(path.read_text())
    path.write_text(json.dumps(entries | {"primary": {"variance": "one", "certainty": "two"}}))
    commit(repository)
    with pytest.raises(InputError, match="primary names 'two', which is no adapted contender"):
        Protocol.read(path).check_submitted(ONE)


def test_who_is_judged_for_returns_is_who_is_for_certainty_unless_it_is_named(tmp_path):
    entries = json.loads(FILE.read_bytes())
    path = tmp_path / "p.json"
    path.write_text(json.dumps(entries | {"primary": {"variance": "v", "certainty": "c"}}))
    assert Protocol.read(path).primary == {"variance": "v", "certainty": "c", "returns": "c"}
    path.write_text(json.dumps(entries | {"primary": {"variance": "v", "certainty": "c", "returns": "r"}}))
    assert Protocol.read(path).primary["returns"] == "r"
    path.write_text(json.dumps(entries | {"primary": {"variance": "v"}}))
    with pytest.raises(InputError, match="not a protocol"):
        Protocol.read(path)


@pytest.mark.parametrize("content", ["", "{}", '{"universes": {"stocks": {}}}'])
def test_what_is_no_protocol_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "p.json").write_text(content)
    with pytest.raises(InputError) as caught:
        Protocol.read(tmp_path / "p.json")
    assert "not a protocol" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_protocol_agrees_with_the_table():
    """What `--write-protocol` would write is what is there."""
    protocol = Protocol.read()
    assert protocol.contenders == json.loads(json.dumps(descriptions()))


def test_spans_are_those_of_the_issue_and_do_not_overlap():
    universes = Protocol.read().universes
    ends = {name: rules.development[1] for name, rules in universes.items()}
    assert ends == {"stocks": "2007", "futures": "1999", "fx": "2007", "us74": "2009", "nyse_o": "1974"}
    assert all(int(rules.test[0]) == int(rules.development[1]) + 1 for rules in universes.values())


def test_pegged_currencies_and_stocks_of_two_sets_are_left_out():
    universes = Protocol.read().universes
    assert {*PEGGED, "DKK"} <= universes["fx"].excluded.keys()
    assert universes["fx"].execution.delisting_haircut == 0  # what becomes the euro is paid out in full
    assert universes["stocks"].execution.delisting_haircut > 0
    assert len(universes["us74"].excluded) == 16


def test_every_adapted_contender_has_a_control_and_a_base():
    names = {c.name: c for c in CONTENDERS}
    tried = [c for c in CONTENDERS if c.role == "adapted"]
    assert tried
    for contender in tried:
        assert names[contender.control].role == "control", contender.name
        assert contender.base in names, contender.name
    assert {*Protocol.read().primary.values()} <= {c.name for c in tried}


def test_the_pool_of_mean_variance_is_to_be_beaten_at_the_most_risk_and_at_the_risk_that_the_learner_begins_with():
    """Rung 3 is by certainty equivalent too, and a pool with too much risk for its investor would be an easy opponent."""
    found = descriptions()
    targets = {
        n: d["settings"]["policy"]["settings"]["target"] for n, d in found.items() if n.startswith("mean-var, pool")
    }
    learner = found["adaptive mean-var"]["settings"]["policy"]
    assert learner["target"] in targets.values()
    assert max(targets.values()) >= learner["volatility"]
    assert all(found[name]["role"] == "pool" for name in targets)


def test_descriptions_hold_settings_and_no_functions():
    text = json.dumps(descriptions())
    assert "lambda" not in text
    assert '"steps": 80' in text
