#!/usr/bin/env python3
"""Writes tests/golden/explain: what captum, pytorch-grad-cam and matplotlib answer for a small network.

Needs: torch==2.11.0, safetensors, captum==0.9.0, grad-cam==1.5.7, matplotlib.
Usage: python scripts/parity_tests/explain_golden.py
"""
import json
import pathlib

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, Occlusion, Saliency
from matplotlib._cm_listed import _inferno_data, _magma_data, _viridis_data
from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "explain"
TARGET = 2


class Net(torch.nn.Module):
    """The test's own network: convolution, tanh, convolution, tanh, flatten, linear."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.head = torch.nn.Linear(6 * 6 * 6, 4)

    def forward(self, x):
        x = torch.tanh(self.conv1(x))
        x = torch.tanh(self.conv2(x))
        return self.head(x.flatten(1))


def cam_values(method, model, image):
    """The weighted sum of channels, before pytorch-grad-cam's own normalisation."""
    cam = method(model=model, target_layers=[model.conv2])
    targets = [ClassifierOutputTarget(TARGET)]
    cam(input_tensor=image, targets=targets)
    acts = cam.activations_and_grads.activations[-1].cpu().numpy()
    grads = cam.activations_and_grads.gradients[-1].cpu().numpy()
    values = cam.get_cam_image(image, model.conv2, targets, acts, grads, eigen_smooth=False)
    return torch.from_numpy(np.maximum(values, 0)).float()[0]


def attributions():
    torch.manual_seed(7)
    model = Net().eval()
    with torch.no_grad():
        # Large gradients, so that pytorch-grad-cam's 1e-6 in a denominator does not show.
        model.head.weight.mul_(40)
    image = torch.randn(1, 3, 12, 12)
    baseline = torch.zeros_like(image)
    tensors = {k: v.detach().clone() for k, v in model.state_dict().items()}
    tensors["image"] = image
    tensors["gradcam"] = cam_values(GradCAM, model, image)
    tensors["gradcam++"] = cam_values(GradCAMPlusPlus, model, image)
    tensors["saliency"] = Saliency(model).attribute(image.clone().requires_grad_(), target=TARGET)[0].amax(0)
    tensors["input_x_gradient"] = InputXGradient(model).attribute(image.clone().requires_grad_(), target=TARGET)[0].sum(0).abs()
    ig, delta = IntegratedGradients(model).attribute(image, baseline, target=TARGET, n_steps=50,
                                                     method="riemann_middle", return_convergence_delta=True)
    tensors["integrated_gradients"] = ig[0].sum(0).abs()
    tensors["integrated_gradients_delta"] = delta
    occlusion = Occlusion(model).attribute(image, sliding_window_shapes=(3, 4, 4), strides=(3, 2, 2),
                                           target=TARGET, baselines=0)
    tensors["occlusion"] = occlusion[0, 0]
    tensors = {k: v.detach().float().contiguous() for k, v in tensors.items()}
    save_file(tensors, OUT / "attributions.safetensors")


def colour_maps():
    maps = {"viridis": _viridis_data, "inferno": _inferno_data, "magma": _magma_data}
    table = {name: [[round(255 * c) for c in data[i]] for i in range(0, 256, 5)] for name, data in maps.items()}
    (OUT / "colormaps.json").write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    attributions()
    colour_maps()
