"""``python -m benchmarks.real_market``: the fair trial of adaptation on real prices. It prints tables, a ladder and JSON.

Without options it opens the test spans of all universes of the committed protocol, and records that in
``benchmarks/results/looks.csv`` first. ``--development`` runs the same on the spans that choices are made on, as often as you
like. ``--universe FILE`` runs it on your own bars. Trained models are kept (``--models``), so that a run that was stopped goes on
where it was, and prints again in minutes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from backtests.provenance import git_commit
from benchmarks.common import RESULTS, finish
from benchmarks.real_market import looks, models, page, pictures, text, verdict
from benchmarks.real_market.comparison import Comparison
from benchmarks.real_market.contenders import CONTENDERS, descriptions
from benchmarks.real_market.protocol import FILE, Protocol, UniverseRules
from benchmarks.real_market.trial import Running, Traded, trade
from benchmarks.real_market.universes import Part, Universe, across, missing, of_protocol, of_user
from markets import InputError
from markets.data import cache
from metalearner import KnownAcross

SHOWN = "equal weight"  # certainty beside who is judged by certainty equivalent, its control and its base


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_market", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the same code on less work, in development, in a minute")
    parser.add_argument("--seed", type=int, default=0, help="of trainings, added to the protocol's")
    parser.add_argument("--development", action="store_true", help="run on the development spans; no look is recorded")
    parser.add_argument(
        "--universe", action="append", metavar="PATH|NAME", help="a universe of the protocol, or your own bars; may be repeated"
    )  # fmt: skip
    parser.add_argument("--costs", default="10bp", help="per side, for your own bars")
    parser.add_argument("--leverage", type=float, default=1.0, help="largest gross weight, for your own bars")
    parser.add_argument("--jobs", type=int, help="trainings and walk-forwards at a time")
    parser.add_argument("--models", type=Path, help="folder of trained models (benchmarks/results/models/real_market)")
    parser.add_argument("--out", type=Path, help="folder for the page and its pictures (benchmarks/results)")
    parser.add_argument(
        "--write-protocol", action="store_true", help="write the settings of all contenders into the protocol, and end"
    )
    return parser.parse_args()


def main() -> None:
    """Run, and end with one line where something is wrong."""
    chosen = options()
    try:
        protocol = Protocol.read()
        if chosen.write_protocol:
            FILE.write_bytes(protocol.with_contenders(descriptions()))
            print(f"{FILE}: {Protocol.read().sha256}; commit it before a test span is opened")
            return
        with tempfile.TemporaryDirectory() as folder:
            run(chosen, protocol, Path(folder))
    except (InputError, KeyboardInterrupt) as error:
        sys.exit(f"real_market: {error or 'stopped; what was finished is kept'}")


def run(chosen: argparse.Namespace, protocol: Protocol, folder: Path) -> None:
    """Trade every universe, compare, print, draw."""
    head, universes, across = opened(chosen, protocol)
    print("\n".join(line for entry in head for line in text.wrapped(entry, "  ")), flush=True)
    kept = chosen.models or (folder if chosen.quick else RESULTS / "models" / "real_market")
    running = Running(
        protocol.walk_forward["every"], kept, None if chosen.quick else cache.root() / "backtests", chosen.jobs,
        protocol.entries["seeds"]["training"] + chosen.seed, chosen.quick,
    )  # fmt: skip
    traded: dict[str, Traded] = {}
    for universe in universes:
        members = [c for c in CONTENDERS if c.trades(universe.name, [*protocol.universes]) and (across or not c.across)]
        found = trade(universe, members, running, across)
        traded[universe.name] = found
        folds = max(len(b.folds) for b in found.backtests.values())
        table = Comparison({universe.name: found}, {}, {}).table(universe.name)
        lines = [*text.about(universe, folds), "", *text.table(table), *text.seeds(found.seeds)]
        print("\n".join(["", *lines]), flush=True)
    statistics = protocol.statistics | ({"resamples": 300} if chosen.quick else {})
    comparison = Comparison(traded, {c.name: c for c in CONTENDERS}, statistics)
    conclude(chosen, protocol, comparison, head, kept)


def opened(chosen: argparse.Namespace, protocol: Protocol) -> tuple[list[str], list[Universe], KnownAcross | None]:
    """Lines on what a run is, its universes, and the tasks across all of them.

    Looks are recorded before any bars of a test span are loaded.

    Raises
    ------
    InputError
        When a universe is missing, or the protocol is not what is committed.
    """
    names = chosen.universe or list(protocol.universes)[: 2 if chosen.quick else None]
    ours = [name for name in names if name in protocol.universes]
    theirs = [name for name in names if name not in protocol.universes]
    if ours and theirs:
        raise InputError(f"{theirs[0]} is not of the protocol, and {ours[0]} is: run your own bars by themselves")
    head = [f"protocol {protocol.sha256}", f"commit {git_commit()}", f"configurations tried before: {protocol.tried}"]
    if theirs:
        head.append("your own bars: the first half is known at the start, and the rest is traded; no look is recorded")
        head.append("contenders that are trained across universes are left out")
        return head, [of_user(name, chosen.costs, chosen.leverage, protocol) for name in theirs], None
    absent = {name: missing(name) for name in ours if missing(name)}
    if absent and not chosen.quick:
        raise InputError(next(iter(absent.values())))
    rules = [protocol.universes[name] for name in ours if name not in absent]
    if chosen.development or chosen.quick:
        head += ["development spans: choices are made on these, so nothing here is evidence", *absent.values()]
        return head, *both(rules, protocol, "development", chosen.quick)
    protocol.check_submitted(descriptions())
    computed = f"the trial: {len(CONTENDERS)} contenders, seed {chosen.seed}"
    looks.record({each.name: each.test for each in rules}, protocol.sha256, git_commit(), computed)
    if others := {n: r.test for n, r in protocol.universes.items() if n not in ours and not lacking(protocol)}:
        read = f"read to train one policy across universes, which traded {', '.join(ours)}; no figure of it"
        looks.record(others, protocol.sha256, git_commit(), read)
    past = looks.recorded()
    for each in rules:
        every, same = looks.count_of(past, each.name, protocol.sha256)
        head.append(f"look {every} at the test span of {each.name}, {same} with this protocol")
    return head, *both(rules, protocol, "test")


def lacking(protocol: Protocol) -> list[str]:
    """Universes that are not in the cache; then nothing is trained across them."""
    return [name for name in protocol.universes if missing(name)]


def both(
    rules: Sequence[UniverseRules], protocol: Protocol, part: Part, quick: bool = False
) -> tuple[list[Universe], KnownAcross | None]:
    """The universes to trade, and the tasks of all universes of the protocol that a fold's start knows.

    They are of all, whichever are traded, so that a model is the same; None if one is not in the cache.
    """
    universes = [of_protocol(each, protocol, part, quick) for each in rules]
    traded = {universe.name: universe for universe in universes}
    if quick:
        return universes, across(universes)
    if lacking(protocol):
        return universes, None
    return universes, across([traded.get(n) or of_protocol(r, protocol, part) for n, r in protocol.universes.items()])


def conclude(
    chosen: argparse.Namespace, protocol: Protocol, comparison: Comparison, head: list[str], kept: Path
) -> None:
    """Print differences and ladders, write the page, end with the JSON object."""
    print("\n".join(["", *text.wrapped(text.NOTE)]))
    for contender in verdict.adapted(comparison):
        print("\n".join(text.differences(comparison, contender, verdict.opponents(comparison, contender))))
    alone, judged = verdict.alone(comparison, protocol), verdict.climbed(comparison, protocol.primary, protocol)
    for name, rungs in alone.items():
        reached = ", ".join(str(rung.number) for rung in rungs if rung.reached)
        print(f"\n{name}: {f'reaches rung {reached}' if reached else 'reaches no rung'}")
    first = [comparison.contenders[name] for name in dict.fromkeys(protocol.primary.values()) if name in alone]
    print("\n".join(["", *text.wrapped(f"The ladder. {text.judged(protocol.primary)}")]))
    print("\n".join(text.ladder(judged, comparison.universes)), flush=True)
    for contender in first if len(first) > 1 else ():
        print(f"\nThe ladder of {contender.name} alone")
        print("\n".join(text.ladder(alone[contender.name], comparison.universes)), flush=True)
    many, other = models.kept(kept)
    print("\n".join(text.wrapped(f"{many} models in {kept}" + (f", {other} by other code" if other else ""))))
    unsaved = chosen.quick or chosen.development or bool(chosen.universe)
    out = chosen.out or (None if unsaved else RESULTS)
    if out and first:
        certainty = comparison.contenders[protocol.primary["certainty"]]
        names = [certainty.name, certainty.control, certainty.base, SHOWN]
        note = text.under(head[:2], [t.universe for t in comparison.traded.values()])
        files = [
            pictures.forest(comparison, first, out / "real_market_differences.png", note),
            pictures.paths(comparison, names, out / "real_market_paths.png", note),
        ]
        ladders = {text.judged(protocol.primary): judged}
        ladders |= {f"{c.name} alone:": alone[c.name] for c in first} if len(first) > 1 else {}
        page.write(out / "real_market.md", head, comparison, first, ladders, files)
    spans = {u: t.universe.span for u, t in comparison.traded.items()}
    about = {"protocol": protocol.sha256, "spans": spans, "models": many, "models_by_other_code": other}
    finish("real_market", verdict.rounded(verdict.figures(comparison, protocol, about)), unsaved)


if __name__ == "__main__":
    main()
