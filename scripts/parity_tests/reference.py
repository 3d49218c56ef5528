"""Reference networks: the field's own where it has them, otherwise the paper's formulas in plain torch functions."""

import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from formula import tensor


class ChannelGate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(channels, channels // 16), nn.ReLU(), nn.Linear(channels // 16, channels)
        )

    def forward(self, x):
        gate = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        return x * gate.sigmoid()[:, :, None, None]


class SpatialGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial = nn.ModuleDict({"conv": nn.Conv2d(2, 1, 7, padding=3, bias=False), "bn": nn.BatchNorm2d(1, momentum=0.01)})

    def forward(self, x):
        pooled = torch.stack([x.max(dim=1).values, x.mean(dim=1)], dim=1)
        return x * self.spatial["bn"](self.spatial["conv"](pooled)).sigmoid()


class Cbam(nn.Module):
    """Woo et al. 2018, equations 1 to 3, under the authors' names."""

    def __init__(self, channels):
        super().__init__()
        self.ChannelGate = ChannelGate(channels)
        self.SpatialGate = SpatialGate()

    def forward(self, x):
        return self.SpatialGate(self.ChannelGate(x))


def cbam_resnet(depth, num_classes):
    """torchvision's ResNet whose blocks apply CBAM to the branch: the last norm is followed by it."""
    model = getattr(torchvision.models, f"resnet{depth}")(num_classes=num_classes)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            last = "bn3" if hasattr(block, "bn3") else "bn2"
            norm = getattr(block, last)
            block.cbam = Cbam(norm.num_features)
            # Not registered as a submodule of the norm, so that names stay the authors'.
            norm.register_forward_hook(lambda _m, _i, out, gate=block.cbam: gate(out))
    return model


class CifarResNet(nn.Module):
    """He et al. 2016, 4.2, from a state dict made by formula; option A shortcut, projection, or none; SE optional."""

    def __init__(self, layers, planes, in_chans, num_classes, stem_stride=1, shortcut="pad", se=0):
        super().__init__()
        self.layers, self.planes, self.stem_stride, self.shortcut, self.se = layers, planes, stem_stride, shortcut, se
        self.in_chans, self.num_classes = in_chans, num_classes
        self.w = {}

    def p(self, name, *shape):
        if name not in self.w:
            self.w[name] = tensor(name, shape).requires_grad_("running" not in name)
        return self.w[name]

    def conv(self, name, x, out, kernel, stride=1, bias=False):
        weight = self.p(name + ".weight", out, x.shape[1], kernel, kernel)
        return F.conv2d(x, weight, self.p(name + ".bias", out) if bias else None, stride, kernel // 2)

    def norm(self, name, x):
        c = x.shape[1]
        stats = self.p(name + ".running_mean", c).clone(), self.p(name + ".running_var", c).clone()
        return F.batch_norm(x, *stats, self.p(name + ".weight", c), self.p(name + ".bias", c), self.training)

    def block(self, name, x, out, stride):
        y = self.norm(name + ".bn1", self.conv(name + ".conv1", x, out, 3, stride)).relu()
        y = self.norm(name + ".bn2", self.conv(name + ".conv2", y, out, 3))
        if self.se:
            hidden = max(8, int(out / self.se + 4) // 8 * 8)
            gate = self.conv(name + ".se.fc1", y.mean((2, 3), keepdim=True), hidden, 1, bias=True).relu()
            y = y * self.conv(name + ".se.fc2", gate, out, 1, bias=True).sigmoid()
        if self.shortcut == "none":
            return y.relu()
        if x.shape != y.shape and self.shortcut == "pad":
            extra = out - x.shape[1]
            x = F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, extra // 2, extra - extra // 2))
        elif x.shape != y.shape:
            x = self.norm(name + ".downsample.1", self.conv(name + ".downsample.0", x, out, 1, stride))
        return (y + x).relu()

    def forward(self, x):
        x = self.norm("bn1", self.conv("conv1", x, self.planes[0], 3, self.stem_stride)).relu()
        for s, (count, planes) in enumerate(zip(self.layers, self.planes)):
            for i in range(count):
                x = self.block(f"layer{s + 1}.{i}", x, planes, 2 if s > 0 and i == 0 else 1)
        weight = self.p("fc.weight", self.num_classes, x.shape[1])
        return F.linear(x.mean((2, 3)), weight, self.p("fc.bias", self.num_classes))


def cifar(depth, in_chans=3, num_classes=10, **options):
    return CifarResNet([(depth - 2) // 6] * 3, [16, 32, 64], in_chans, num_classes, **options)


def timm_model(name, **config):
    return timm.create_model(name, **config)


def timm_vit(**config):
    return timm.models.vision_transformer.VisionTransformer(**config)


def torchvision_model(name, **config):
    return getattr(torchvision.models, name)(**config)
