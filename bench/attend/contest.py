"""Runs one case: everyone who can, in turns, at each number of threads."""

import os
import subprocess
import sys

import torch

from attend import exact, timing
from attend.operands import make_operands
from attend.peers.registry import contest, preparer

# Ends the process in some versions, so it is tried in another one first.
CRASHERS = ("flex",)
WRONG = {"fp32": 1e-4, "bf16": 2e-2}


def text_of(error):
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def use_threads(threads):
    """As many cores as threads, so that one thread does not wander."""
    cores = sorted(all_cores)
    os.sched_setaffinity(0, cores[-threads:] if threads < len(cores) else cores)
    torch.set_num_threads(threads)


all_cores = os.sched_getaffinity(0)


def try_elsewhere(case, name, threads):
    """None, or how it ended in a process of its own."""
    command = [sys.executable, "-m", "attend", "--try", name, "--case", case.name, "--threads", str(threads)]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode < 0:
        return f"ended the process by signal {-ended.returncode}"
    return (ended.stderr.strip().splitlines() or ["failed"])[-1] if ended.returncode else None


def prepare(case, operands, threads, names, failures):
    """(contestant, bytes that it holds from its making on) for those who can; the others' reasons go to `failures`."""
    ready = []
    for name in names:
        if name in failures:
            continue
        before = timing.resident()
        try:
            if name in CRASHERS and (ending := try_elsewhere(case, name, threads)):
                raise RuntimeError(ending)
            contestant = preparer(name)(case, operands, threads)
            contestant.run(0)
            ready.append((contestant, timing.resident() - before if contestant.keeps_memory else 0))
        except Exception as error:  # whatever a peer throws is a result of its own
            failures[name] = text_of(error)
    return ready


def properties(case, operands, ready):
    """Errors and memory of each contestant, by its name."""
    found = {}
    expected = exact.exact_results(case, operands[0]) if any(c.exact for c, _ in ready) else None
    for contestant, held in ready:
        results = contestant.run(0)
        returned = sum(t.nbytes for t in contestant.outputs(results))
        extra = timing.peak_extra(lambda: contestant.run(0), 0 if contestant.keeps_memory else returned)
        found[contestant.name] = {"peak_extra_bytes": held + extra}
        if contestant.exact:
            found[contestant.name] |= exact.errors(case, expected, contestant.outputs(results))
    return found


def wrong(case, properties):
    """Why a contestant's time means nothing, or None: the operands are unit normal, so only mistakes are this far off."""
    limit = WRONG[case.precision]
    largest = max(properties.get("error") or 0, properties.get("gradient_error") or 0)
    return None if largest <= limit else f"wrong by {largest:.1e}"  # NaN is wrong too


def run_case(case, thread_counts, rounds, peers=None):
    """A row of the results: {"case", "threads": {n: {name: timing}}, "properties", "failures"}. `peers` names the only
    ones to ask."""
    torch.manual_seed(0)
    operands = make_operands(case)
    result = {"case": case.name, "flops": case.flops, "threads": {}, "properties": {}, "failures": {}}
    for threads in thread_counts:
        use_threads(threads)
        names = [name for name in contest(case) if peers is None or name in peers]
        ready = prepare(case, operands, threads, names, result["failures"])
        if not result["properties"]:
            result["properties"] = properties(case, operands, ready)
            for name, found in result["properties"].items():
                if reason := wrong(case, found):
                    result["failures"][name] = reason
        contestants = [c for c, _ in ready if c.name not in result["failures"]]
        result["threads"][threads] = timing.run_in_turns(contestants, rounds, len(operands))
    return result


def try_peer(case, name, threads):
    """What try_elsewhere() starts."""
    use_threads(threads)
    operands = make_operands(case)
    contestant = preparer(name)(case, operands, threads)
    for at in (0, 1, 0):
        contestant.run(at)
