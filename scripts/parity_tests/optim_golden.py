"""Writes tests/golden/train/optim.safetensors: trajectories of torch.optim under given gradients.

A weight (4, 3), which decays, and a bias (4), which does not, take 12 steps; lr changes at each step. Tensors:
NAME.weight (13, 4, 3) and NAME.bias (13, 4), the values before and after each step; gradients weight_grads,
bias_grads; lrs. The metadata hold the settings of each NAME as flat training keys. Also clip.* for
torch.nn.utils.clip_grad_norm_.
"""
import json
import pathlib

import torch
from safetensors.torch import save_file

STEPS = 12
CASES = {
    "sgd": (torch.optim.SGD, {"momentum": 0.0, "weight_decay": 0.0}),
    "sgd_momentum": (torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.05}),
    "sgd_nesterov": (torch.optim.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.95), "weight_decay": 0.1}),
    "adamw": (torch.optim.AdamW, {"betas": (0.9, 0.99), "weight_decay": 0.2}),
}


def keys(name, options):
    flat = {"optimizer": name.split("_")[0]}
    for key, value in options.items():
        if key == "betas":
            flat["beta1"], flat["beta2"] = value
        else:
            flat[key] = value
    return flat


def run(kind, options, start, grads, lrs):
    weight = torch.nn.Parameter(start[0].clone())
    bias = torch.nn.Parameter(start[1].clone())
    decay = options["weight_decay"]
    groups = [{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = kind(groups, lr=0.1, foreach=False, **{k: v for k, v in options.items() if k != "weight_decay"})
    path = [[weight.detach().clone(), bias.detach().clone()]]
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = float(lrs[step])
        weight.grad, bias.grad = grads[0][step].clone(), grads[1][step].clone()
        optimizer.step()
        path.append([weight.detach().clone(), bias.detach().clone()])
    return torch.stack([p[0] for p in path]), torch.stack([p[1] for p in path])


def main():
    torch.manual_seed(7)
    start = [torch.randn(4, 3), torch.randn(4)]
    grads = [torch.randn(STEPS, 4, 3), torch.randn(STEPS, 4)]
    lrs = torch.linspace(0.1, 0.01, STEPS, dtype=torch.float64)
    tensors = {"weight_grads": grads[0], "bias_grads": grads[1], "lrs": lrs}
    metadata = {}
    for name, (kind, options) in CASES.items():
        weight, bias = run(kind, options, start, grads, lrs)
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
        metadata[name] = json.dumps(keys(name, options))
    clipped = [torch.nn.Parameter(s.clone()) for s in start]
    for p, g in zip(clipped, grads):
        p.grad = g[0].clone()
    tensors["clip.norm"] = torch.nn.utils.clip_grad_norm_(clipped, 0.5).reshape(1)
    tensors["clip.weight"], tensors["clip.bias"] = clipped[0].grad.clone(), clipped[1].grad.clone()
    out = pathlib.Path(__file__).parents[2] / "tests/golden/train/optim.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, metadata)


if __name__ == "__main__":
    main()
