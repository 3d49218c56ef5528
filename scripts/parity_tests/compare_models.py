"""Compares `fovea run model` with timm and torchvision: the same random weights, the same input, every output.

  python scripts/parity_tests/compare_models.py PROGRAM [--large] [NAME...]

PROGRAM is build/release/fovea. Each reference network gets random weights with nothing left at 0 or 1 (norms, biases and
running statistics too), saved as safetensors. Prints max|a - b| / max|b| a network; exits 1 when one exceeds 1e-5.
--large adds the networks of more than 100 million parameters; NAMEs choose networks.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

LIMIT = 1e-5


def timm_case(name, size=None, batch=2, **config):
    size = size or config.get("img_size") or (384 if name.endswith("_384") else 224)
    height, width = (size, size) if isinstance(size, int) else size
    return name, config, (batch, config.get("in_chans", 3), height, width), lambda: timm.create_model(name, **config)


def torchvision_case(name, size=(224, 224), **config):
    return name, config, (2, 3, *size), lambda: getattr(torchvision.models, name)(**config)


def cases():
    yield timm_case("vit_tiny_patch16_224")
    yield timm_case("vit_tiny_patch16_224", img_size=96, num_classes=10, in_chans=1)
    yield timm_case("vit_tiny_patch16_384", num_classes=7)
    yield timm_case("vit_small_patch16_224")
    yield timm_case("vit_small_patch32_224")
    yield timm_case("vit_small_patch32_384")
    yield timm_case("vit_small_patch16_224", num_classes=5, class_token=False, global_pool="avg")
    yield timm_case("vit_small_patch8_224", img_size=64, num_classes=3)
    yield timm_case("vit_base_patch16_224", batch=1)
    yield timm_case("vit_tiny_patch16_224", num_classes=0)
    yield timm_case("vit_base_patch32_224")
    yield timm_case("vit_base_patch32_384")
    yield timm_case("vit_large_patch16_224", batch=1)
    yield timm_case("vit_large_patch14_224", batch=1)
    for depth in (18, 34, 50, 101, 152):
        yield timm_case(f"seresnet{depth}")
    yield timm_case("seresnet50", size=(97, 161), num_classes=10, in_chans=1)
    yield timm_case("resnet18", num_classes=0)
    for depth in (18, 34, 50, 101, 152):
        yield torchvision_case(f"resnet{depth}")
    yield torchvision_case("resnet50", size=(97, 161), num_classes=10)


def perturb(model, seed):
    """A trained network has no norm of weight 1 and no bias of 0; a swap of two of them would go unseen."""
    generator = torch.Generator().manual_seed(seed)
    names = set(model.state_dict())
    with torch.no_grad():
        for name, t in model.state_dict().items():
            if not t.is_floating_point():
                continue
            u = torch.rand(t.shape, generator=generator)
            if name.endswith("running_var"):
                t.copy_(0.5 + u)
            elif name.endswith(("running_mean", "bias")):
                t.copy_(0.2 * (u - 0.5))
            elif t.dim() == 1:
                # The last norm of a residual branch is small, or the output of 50 blocks would drown in the sum.
                last = name.endswith("bn3.weight") or ("bn2.weight" in name and name.replace("bn2", "bn3") not in names)
                t.copy_((0.2 if last else 0.75) + 0.5 * u)
            elif name in ("cls_token", "pos_embed"):
                t.copy_(u - 0.5)
    return model


def picture(shape):
    """Smooth shapes under noise: noise alone looks the same to a deep network whatever its values."""
    smooth = torch.nn.functional.interpolate(torch.randn(*shape[:2], 6, 6), shape[2:], mode="bicubic")
    return smooth + 0.5 * torch.randn(shape)


def compare(program, folder, case, seed):
    name, config, shape, build = case
    torch.manual_seed(seed)
    model = perturb(build(), seed).eval()
    x, y = picture(shape), picture(shape)
    with torch.no_grad():
        expected, other = model(x), model(y)
    spread = float((expected - other).abs().max() / expected.abs().max())
    assert spread > 0.01, f"{name}: the output hardly depends on the input ({spread:.1e}), so equality would mean nothing"
    paths = {part: str(folder / f"{part}.safetensors") for part in ("weights", "input", "output")}
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, paths["weights"])
    save_file({"input": x}, paths["input"])
    (folder / "config.json").write_text(json.dumps(config))
    command = [program, "run", "model", name, "--config", str(folder / "config.json")]
    for part, path in paths.items():
        command += [f"--{part}", path]
    subprocess.run(command, check=True)
    outputs = load_file(paths["output"])
    assert list(outputs) == ["output"] and outputs["output"].shape == expected.shape, {k: v.shape for k, v in outputs.items()}
    return float((outputs["output"] - expected).abs().max() / expected.abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}")
    worst, count = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for seed, case in enumerate(cases()):
            name, config, shape, _ = case
            if arguments.names and name not in arguments.names:
                continue
            if "large" in name and not (arguments.large or name in arguments.names):
                continue
            start = time.time()
            error = compare(arguments.program, pathlib.Path(folder), case, seed)
            verdict = "ok" if error <= LIMIT else "DIFFERS"
            settings = " ".join(f"{k}={v}" for k, v in config.items())
            print(f"{name:24} {str(tuple(shape)):22} {error:9.2e}  {verdict}  {time.time() - start:5.1f} s  {settings}", flush=True)
            worst, count = max(worst, error), count + 1
    print(f"{count} networks, worst {worst:.2e}, limit {LIMIT:.0e}")
    return 0 if count and worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
