"""Times contestants in turns, and what memory they take beyond what they return."""

import ctypes
import gc
import statistics
import time


def run_in_turns(contestants, rounds, sets):
    """{name: timing} in milliseconds. Each round gives everyone one run; who begins and which operands one gets move on
    with the rounds, so that nobody always meets warm caches. CPU time is the process's: all its threads together."""
    for number, contestant in enumerate(contestants):
        for warm_up in range(2):
            contestant.run((number + warm_up) % sets)
    wall, cpu = ({c.name: [] for c in contestants} for _ in range(2))
    for turn in range(rounds):
        for step in range(len(contestants)):
            number = (turn + step) % len(contestants)
            contestant = contestants[number]
            gc.collect(0)
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            contestant.run((turn + number) % sets)
            cpu[contestant.name].append((time.process_time() - cpu_start) * 1e3)
            wall[contestant.name].append((time.perf_counter() - wall_start) * 1e3)
    return {c.name: summary(wall[c.name], cpu[c.name]) for c in contestants}


def summary(wall, cpu):
    return {
        "best_cpu_ms": min(cpu),
        "median_cpu_ms": statistics.median(cpu),
        "best_ms": min(wall),
        "median_ms": statistics.median(wall),
        "runs": len(wall),
    }


def status_bytes(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


def resident():
    """Bytes resident after freed memory has been given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return status_bytes("VmRSS")


def peak_extra(run, results_bytes):
    """Bytes that a run takes at its peak beyond what it returns."""
    start = resident()
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")  # forgets the highest mark
    kept = run()
    extra = status_bytes("VmHWM") - start - results_bytes
    del kept
    return max(0, extra)
