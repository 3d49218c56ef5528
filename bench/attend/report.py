"""The results as a Markdown page."""

from attend.cases import target
from attend.machine import has_amx

HEAD = """# Attention: speed against others

Made by `scripts/bench attend`; do not edit. {machine}

- {note}
- All run in one process, in turns, on the same operands in the layout (B, H, T, D); each round begins with another one, and operands
  change from run to run. ONNX Runtime gets its own layout. What is done once (compiling, block masks, layouts) is not timed.
- **ms** is the best CPU time of {runs} runs on one thread, then the median; with 2 threads it is wall time. **x** is that time over Fovea's
  (above 1: Fovea is quicker). **GFLOP/s** counts 4 D a pair of query and key that is not masked, and 3.5 times that with the backward.
- **MB** is the peak of memory beyond operands and results. **Error** is against float64, relative to the norm: of the result, and the
  largest of the gradients.
- Windows are (256, 0): 257 keys. `sdpa causal` leaves the window out, which is quicker than PyTorch's mask but another result.
- `observe` returns the 8 largest weights of each query, received attention and entropy beside the result: `fovea plain` is the call without,
  and `mha weights`, after the same projections as Fovea, returns the weights themselves.
- `composed` is the definition in PyTorch's operations; forward and backward it can be quicker than `sdpa`.
- A T5 table is made into a bias in every call but Fovea's, which needs none: the dense cases are those where it stands ready. Swin's is made in
  every call.
- `sdpa folded` is `sdpa` with the query heads of a key head as queries of one head; OpenVINO gets the same.
"""


def number(value, digits=3):
    if value is None:
        return ""
    return f"{value:.{digits}g}" if value < 1000 else f"{value:.0f}"


def megabytes(value):
    return "" if value is None else f"{value / 1e6:.0f}"


def machine_text(machine):
    packages = ", ".join(f"{name} {found}" for name, found in machine["packages"].items() if found)
    limits = ""
    if "fp32_gflops" in machine:
        limits = (
            f" One thread multiplies matrices of 1024 with torch at {machine['fp32_gflops']:.0f} (fp32) and "
            f"{machine['bf16_gflops']:.0f} (bf16) GFLOP/s and reads {machine['read_gb_s']:.1f} GB/s."
        )
    return (
        f"{machine['date']}, {machine['cpu']} ({machine['model']}, {machine['cores']} cores; "
        f"{' '.join(machine['features'])}), {packages}.{limits}"
    )


def load_text(machine):
    if machine["load"] < 0.5:
        return "Nothing else ran on the machine."
    return (
        f"Other programs ran beside (load {machine['load']:.1f}): CPU times count, wall times and those of 2 threads less."
    )


def ordered(names):
    return sorted(names, key=lambda name: (name != "fovea", name))


def case_rows(case, result, amx):
    one, two = (result["threads"].get(n, {}) for n in (1, 2))
    ours = one.get("fovea")
    for name in ordered(one):
        timing, more = one[name], result["properties"].get(name, {})
        ratio = timing["best_cpu_ms"] / ours["best_cpu_ms"] if ours else None
        yield [
            name,
            f"{number(timing['best_cpu_ms'])}, {number(timing['median_cpu_ms'])}",
            "" if name == "fovea" else number(ratio),
            "" if name == "fovea" else number(target(case, name, amx)),
            number(result["flops"] / timing["best_cpu_ms"] / 1e6),
            number(two[name]["best_ms"]) if name in two else "",
            megabytes(more.get("peak_extra_bytes")),
            ", ".join(number(more[k], 2) for k in ("error", "gradient_error") if more.get(k) is not None),
        ]


def table(header, rows):
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def described(case):
    heads = f"H {case.h}" if case.h == case.hkv else f"H {case.h} / {case.hkv}"
    length = f"N {case.n}" if case.n == case.m else f"N {case.n}, M {case.m}"
    more = [f"window {case.window}"] if case.window is not None else ["causal"] if case.causal else []
    more += [f"{case.bias} bias with gradient" if case.backward else f"{case.bias} bias"] if case.bias else []
    more += [f"dropout {case.dropout_p}"] if case.dropout_p else []
    ways = "forward and backward" if case.backward else "forward"
    return ", ".join([f"B {case.b}", heads, length, f"d {case.d}", case.precision, *more, ways])


def summary_rows(cases, results, amx):
    """Fovea against each peer with a target."""
    for case in cases:
        one = results[case.name]["threads"].get(1, {})
        for peer in case.targets:
            aim = target(case, peer, amx)
            if "fovea" in one and peer in one:
                ratio, middle = (one[peer][key] / one["fovea"][key] for key in ("best_cpu_ms", "median_cpu_ms"))
                found = [number(ratio), number(middle), "yes" if ratio >= aim else "**no**"]
            else:
                failures = results[case.name]["failures"]
                reason = next((f"{name}: {failures[name]}" for name in ("fovea", peer) if name in failures), "not asked")
                found = ["", "", reason]
            yield [case.name, peer, number(aim), *found]


def bandwidth_line(case, result, machine):
    """For a single query: what its keys and values say of memory."""
    ours = result["threads"].get(1, {}).get("fovea")
    if not (case.cold and ours and "read_gb_s" in machine):
        return
    rate = 2 * case.b * case.hkv * case.m * case.d * case.dtype.itemsize / ours["best_cpu_ms"] / 1e6
    share = rate / machine["read_gb_s"]
    yield ""
    yield f"Fovea reads keys and values at {rate:.1f} GB/s, {share:.0%} of what the machine reads."


def page(cases, document):
    machine = document["machine"]
    amx = has_amx(machine)
    results = {r["case"]: r for r in document["results"]}
    missing = [c.name for c in cases if c.name not in results]
    cases = [c for c in cases if c.name in results]
    lines = [HEAD.format(machine=machine_text(machine), note=load_text(machine), runs=document["rounds"])]
    if missing:
        lines += [f"Not measured: {', '.join(missing)}.", ""]
    lines += ["## Targets", ""]
    if amx:
        lines += ["This machine has AMX: plain attention in bf16 aims at 1.3 against `sdpa`, 2 with the backward.", ""]
    lines += table(["case", "peer", "aim", "x, best", "x, median", "met"], summary_rows(cases, results, amx))
    for case in cases:
        result = results[case.name]
        lines += ["", f"## {case.name}", "", described(case), ""]
        header = ["", "ms: best, median", "x", "aim", "GFLOP/s", "ms, 2 threads", "MB", "error"]
        lines += table(header, case_rows(case, result, amx))
        lines += bandwidth_line(case, result, machine)
        if result["failures"]:
            lines += [""] + [f"- {name}: {reason}" for name, reason in result["failures"].items()]
    return "\n".join(lines).rstrip() + "\n"
