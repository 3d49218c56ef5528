"""Writes tests/golden/models/outputs.json: outputs and gradients of reference networks with weights by formula."""

import json
import pathlib
import sys

import timm
import torch
import torchvision

from formula import fill, tensor
from reference import CifarResNet, cbam_resnet, cifar, timm_model, timm_vit, torchvision_model

FASHION_VIT = dict(img_size=28, patch_size=7, in_chans=1, embed_dim=96, depth=4, num_heads=3, mlp_ratio=2.0, num_classes=10)
SMALL_VIT = dict(embed_dim=24, depth=2, num_heads=2, num_classes=5)
# Deep networks with squeeze-and-excitation, which blow up the last bits otherwise.
LAST_NORM = {"seresnet50": 0.25, "seresnet101": 0.25, "seresnet152": 0.25}


def cases():
    """(our name, our configuration, input shape, reference)"""
    yield "fashion_vit", {}, (3, 1, 28, 28), timm_vit(**FASHION_VIT)
    yield "vit_tiny", {"num_classes": 7, "img_size": 64}, (2, 3, 64, 64), timm_model("vit_tiny_patch16_224", img_size=64, num_classes=7)
    yield "vit_small_patch32_224", {"num_classes": 6}, (1, 3, 224, 224), timm_model("vit_small_patch32_224", num_classes=6)
    yield "vit_base_patch16_224", {"num_classes": 4}, (1, 3, 224, 224), timm_model("vit_base_patch16_224", num_classes=4)
    for extra in (
        {"global_pool": "avg", "img_size": 48},
        {"global_pool": "avg", "class_token": False, "img_size": [32, 64]},
        {"qkv_bias": False, "mlp_ratio": 3.0, "patch_size": [8, 16], "img_size": [40, 50], "in_chans": 2},
    ):
        config = {**SMALL_VIT, "img_size": 32, **extra}
        size = config["img_size"] if isinstance(config["img_size"], list) else [config["img_size"]] * 2
        reference = timm_vit(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()})
        yield "vit_base_patch16_224", config, (2, config.get("in_chans", 3), *size), reference
    for depth in (18, 34, 50, 101, 152):
        config = {"num_classes": 6}
        yield f"resnet{depth}", config, (2, 3, 65, 97), torchvision_model(f"resnet{depth}", **config)
        yield f"seresnet{depth}", config, (2, 3, 64, 64), timm_model(f"seresnet{depth}", **config)
    yield "resnet18", {"num_classes": 6, "in_chans": 1}, (2, 1, 64, 64), timm_model("resnet18", num_classes=6, in_chans=1)
    for depth in (18, 50):
        config = {"num_classes": 6, "attention_block": "cbam"}
        yield f"resnet{depth}", config, (2, 3, 64, 64), cbam_resnet(depth, 6)
    yield "resnet20", {}, (3, 3, 32, 32), cifar(20)
    yield "resnet110", {"num_classes": 4, "in_chans": 1}, (2, 1, 28, 28), cifar(110, in_chans=1, num_classes=4)
    yield "resnet26", {"attention_block": "se"}, (2, 3, 31, 33), cifar(26, se=16)
    yield "plain20", {}, (3, 3, 32, 32), cifar(20, shortcut="none")
    fashion = CifarResNet([1, 1, 1], [32, 64, 128], 1, 10, stem_stride=2, shortcut="projection", se=8)
    yield "fashion_se_resnet", {}, (3, 1, 28, 28), fashion


def numbers(t):
    return [float(f"{v:.9g}") for v in t.detach().flatten().tolist()]


def gradients(model, x, weights):
    """Of the sum of squared outputs in training mode, for the input and the first and last weight."""
    model.train()
    x = x.clone().requires_grad_()
    for w in weights.values():
        w.grad = None
    model(x).square().sum().backward()
    picked = {"input": x.grad} | {name: w.grad for name, w in weights.items()}
    return {name: {"norm": float(g.double().norm()), "first": numbers(g.flatten()[:6])} for name, g in picked.items()}


def golden(name, config, shape, model):
    last_norm = LAST_NORM.get(name, 1.0)
    if not isinstance(model, CifarResNet):
        fill(model, last_norm)
    x = tensor("input", shape)
    model.eval()
    with torch.no_grad():
        output = model(x)
    case = {"model": name, "config": config, "input": list(shape), "output": numbers(output)}
    if last_norm != 1.0:
        case["last_norm"] = last_norm
    if sum(p.numel() for p in model.parameters()) < 13e6:
        # torchvision's and timm's ReLUs write in place, which the hook of cbam_resnet does not mind.
        named = model.w if isinstance(model, CifarResNet) else dict(model.named_parameters())
        chosen = {n: named[n] for n in ("conv1.weight", "fc.weight", "patch_embed.proj.weight", "head.weight") if n in named}
        case["gradients"] = gradients(model, x, chosen)
    return case


def main(path):
    torch.manual_seed(0)
    made = [golden(*case) for case in cases()]
    versions = {"torch": torch.__version__, "timm": timm.__version__, "torchvision": torchvision.__version__}
    lines = ",\n".join(json.dumps(case) for case in made)
    path.write_text(f'{{"made_with": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')
    print(f"{path}: {len(made)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    root = pathlib.Path(__file__).resolve().parents[2]
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/golden/models/outputs.json")
