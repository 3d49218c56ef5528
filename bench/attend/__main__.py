"""Times fovea.attend beside what else a user of PyTorch could call. Started by `scripts/bench attend`."""

import argparse
import json
import os
import pathlib
import sys

from attend import contest, machine, report
from attend.cases import all_cases
from attend.peers.registry import PEERS

QUICK_ROUNDS, ROUNDS = 5, 20
DOCS = pathlib.Path(__file__).parents[2] / "docs"


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench attend", description=__doc__)
    names = [case.name for case in all_cases()]
    parser.add_argument("--case", nargs="+", metavar="NAME", choices=names, help=f"some of: {', '.join(names)}")
    parser.add_argument("--peer", nargs="+", metavar="NAME", choices=PEERS, help=f"some of: {', '.join(PEERS)}")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="how many, 1 2 by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each, {ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds on one thread")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--page", metavar="FILE", help="write the table there instead of to stdout")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks.json and docs/benchmarks.md")
    parser.add_argument("--resume", action="store_true", help="measure only what that file of figures lacks")
    parser.add_argument("--from", dest="source", metavar="FILE", help="measure nothing: make the page of such a --json")
    parser.add_argument("--try", dest="trial", metavar="PEER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.publish:
        options.json, options.page = (str(DOCS / f"benchmarks.{kind}") for kind in ("json", "md"))
    return options


def measure(cases, options):
    threads, rounds = ([1], QUICK_ROUNDS) if options.quick else (options.threads, options.rounds)
    document = begun(options, rounds) or {"machine": machine.describe(), "rounds": rounds, "results": []}
    measured = {result["case"] for result in document["results"]}
    for case in cases:
        if case.name in measured:
            continue
        print(f"== {case.name}", file=sys.stderr, flush=True)
        document["results"].append(contest.run_case(case, threads, rounds, options.peer))
        if options.json:
            write(options.json, json.dumps(document, indent=1))
    return document


def begun(options, rounds):
    """What an interrupted run has measured; None where there is none. Figures of two machines are never mixed."""
    if not (options.resume and options.json and os.path.exists(options.json)):
        return None
    document = read(options.json)
    if document["rounds"] != rounds or not machine.same(document["machine"], machine.describe(measure=False)):
        raise SystemExit(
            f"[bench] --resume must go on with the same machine, packages and rounds; {options.json} is of others. "
            "Start again without --resume."
        )
    return document


def write(path, text):
    """An interruption leaves the file as it was."""
    with open(f"{path}.part", "w") as file:
        file.write(text + "\n")
    os.replace(f"{path}.part", path)


def read(path):
    with open(path) as file:
        document = json.load(file)
    for result in document["results"]:
        result["threads"] = {int(n): timings for n, timings in result["threads"].items()}
    return document


def main():
    options = arguments()
    cases = [case for case in all_cases() if not options.case or case.name in options.case]
    if options.trial:
        return contest.try_peer(cases[0], options.trial, options.threads[0])
    document = read(options.source) if options.source else measure(cases, options)
    text = report.page(cases, document)
    if options.page:
        write(options.page, text.rstrip())
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
