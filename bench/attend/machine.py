"""What the figures were measured on, and its limits as measured in the same run."""

import datetime
import importlib.metadata
import os
import platform
import time

import torch

PACKAGES = ("torch", "openvino", "onnxruntime", "local-attention", "numpy")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16", "amx_fp16")


def cpu_fields():
    with open("/proc/cpuinfo") as text:
        fields = dict(line.split(":", 1) for line in text.read().split("\n\n")[0].splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in fields.items()}


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def best_seconds(run, rounds=20):
    times = []
    for _ in range(rounds):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def product_peak(dtype):
    """FLOP/s of one thread in torch's product of square matrices of 1024."""
    a, b, out = (torch.randn(1024, 1024).to(dtype) for _ in range(3))
    return 2 * 1024**3 / best_seconds(lambda: torch.mm(a, b, out=out))


def read_bandwidth():
    """Bytes/s of one thread that sums 512 MB."""
    numbers = torch.ones(128 << 20)
    return numbers.nbytes / best_seconds(lambda: numbers.sum())


def describe(measure=True):
    fields = cpu_fields()
    flags = fields.get("flags", "").split()
    found = {
        "cpu": fields.get("model name", "unknown"),
        "model": f"family {fields.get('cpu family')} model {fields.get('model')}",
        "features": [f for f in FEATURES if f in flags],
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {p: version(p) for p in PACKAGES},
        "date": datetime.date.today().isoformat(),
        "load": os.getloadavg()[0],
    }
    if measure:
        torch.set_num_threads(1)
        found["fp32_gflops"] = product_peak(torch.float32) / 1e9
        found["bf16_gflops"] = product_peak(torch.bfloat16) / 1e9
        found["read_gb_s"] = read_bandwidth() / 1e9
    return found


def same(one, other):
    """Whether figures of both may stand in one table."""
    return all(one[name] == other[name] for name in ("cpu", "model", "features", "cores", "python", "packages"))


def has_amx(machine):
    return "amx_bf16" in machine["features"]
