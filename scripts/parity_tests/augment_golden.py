"""Writes tests/golden/data/augment.safetensors: what torchvision and Pillow make of small images.

Names are `operation|arguments as JSON|image`; `crc|IMAGE` holds rows (height, width, crc32) of Pillow's resize.
"""
import json
import pathlib
import zlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import RandAugment, _apply_op
from torchvision.transforms.functional import InterpolationMode

NEAREST = InterpolationMode.NEAREST


def picture(channels, height, width):
    """Smooth colours, noise, grey and saturated patches: every branch of every operation."""
    rng = np.random.default_rng(channels * 10000 + height * 100 + width)
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (3.0 + c) + y / (5.0 - c)) + rng.normal(0, 20, (height, width)) for c in range(channels)]
    image = np.stack(planes).clip(0, 255).astype(np.uint8)
    image[:, : height // 3, : width // 3] = image[:1, : height // 3, : width // 3]
    image[:, -3:, -4:] = 255
    image[:, -5:-3, -4:] = 0
    return torch.from_numpy(image)


def formula(channels, height, width):
    """An image that the C++ test computes too."""
    c, y, x = np.mgrid[0:channels, 0:height, 0:width]
    return ((x * x * 3 + y * 7 * x + y * y + c * 4000) // 32 + (x * y) % 13 * 5) % 256


def pillow_resize(image, height, width):
    hwc = np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8)
    resized = Image.fromarray(hwc[:, :, 0] if len(image) == 1 else hwc).resize((width, height), Image.BILINEAR)
    return np.ascontiguousarray(np.asarray(resized).reshape(height, width, -1).transpose(2, 0, 1))


def crc_rows(image, sizes):
    return torch.tensor([[h, w, zlib.crc32(pillow_resize(image, h, w).tobytes())] for h, w in sizes])


def colour_cases(image):
    for factor in (0.0, 0.3, 1.0, 1.7):
        for name in ("brightness", "contrast", "saturation", "sharpness"):
            yield f"adjust_{name}", [factor], getattr(F, f"adjust_{name}")(image, factor)
    for factor in (-0.5, -0.2, 0.1, 0.45):
        yield "adjust_hue", [factor], F.adjust_hue(image, factor)
    for bits in (1, 4, 8):
        yield "posterize", [bits], F.posterize(image, bits)
    for threshold in (0.0, 100.5, 255.0):
        yield "solarize", [threshold], F.solarize(image, threshold)
    for name in ("invert", "autocontrast", "equalize"):
        yield name, [], getattr(F, name)(image)
    for channels in (1, 3):
        if channels == 1 or len(image) == 3:
            yield "rgb_to_grayscale", [channels], F.rgb_to_grayscale(image, channels)


def geometry_cases(image):
    yield "horizontal_flip", [], F.hflip(image)
    yield "vertical_flip", [], F.vflip(image)
    for region in ([2, 3, 9, 7], [-4, -2, 15, 12], [10, 8, 20, 25], [-30, 2, 5, 5]):
        yield "crop", region, F.crop(image, *region)
    for size in ([8, 8], [9, 12], [40, 11], [31, 30]):
        yield "center_crop", size, F.center_crop(image, size)
    for mode in ("constant", "edge", "reflect", "symmetric"):
        fill = 77 if mode == "constant" else 0
        yield "pad", [3, 1, 2, 5, fill, mode], F.pad(image, [3, 1, 2, 5], fill, mode)
    fill = [10.0, 200.0, 30.0][: len(image)]
    for angle, tx, ty, scale, sx, sy in ([30, 0, 0, 1, 0, 0], [-12.5, 3, -2, 1.3, 8, -5], [0, 0, 0, 0.6, 20, 10]):
        out = F.affine(image, angle, [tx, ty], scale, [sx, sy], NEAREST, fill)
        yield "affine", [angle, tx, ty, scale, sx, sy, *fill], out
    for angle in (-100.0, 17.0, 90.0):
        yield "rotate", [angle], F.rotate(image, angle, NEAREST)


def rand_augment_cases(image):
    space = RandAugment()._augmentation_space(31, tuple(image.shape[-2:]))
    for name, (magnitudes, signed) in space.items():
        for m in (9, 30) if magnitudes.ndim else (0,):
            for sign in (1, -1) if signed else (1,):
                strength = sign * (float(magnitudes[m]) if magnitudes.ndim else 0.0)
                yield "apply_operation", [name, strength], _apply_op(image, name, strength, NEAREST, None)


def strengths():
    for bins in (31, 11):
        for name, (magnitudes, _) in RandAugment()._augmentation_space(bins, (40, 33)).items():
            if magnitudes.ndim:
                yield f"strength|{json.dumps([name, bins])}|40x33", magnitudes.double()


def main():
    golden = {}
    for name, image in (("grey", picture(1, 18, 21)), ("rgb", picture(3, 24, 20)), ("flat", picture(3, 2, 9) // 4 * 0 + 60)):
        golden[name] = image
        cases = list(colour_cases(image))
        if name != "flat":
            cases += list(geometry_cases(image)) + list(rand_augment_cases(image))
        for operation, arguments, out in cases:
            golden[f"{operation}|{json.dumps(arguments)}|{name}"] = out.contiguous().clone()
    golden.update(strengths())
    sides = (1, 2, 5, 13, 31, 47, 61, 64, 100)
    for channels, height, width in ((1, 47, 61), (3, 47, 61), (3, 64, 5)):
        sizes = [(h, w) for h in sides for w in sides]
        golden[f"crc|{channels}x{height}x{width}"] = crc_rows(formula(channels, height, width), sizes)
    golden["crc|3x500x375"] = crc_rows(formula(3, 500, 375), [(224, 224), (298, 224), (37, 500), (501, 374), (32, 32)])
    golden["crc|1x28x28"] = crc_rows(formula(1, 28, 28), [(32, 32), (14, 14), (224, 224), (28, 9)])
    path = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/data/augment.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(golden, path)
    print(path, path.stat().st_size, len(golden))


if __name__ == "__main__":
    main()
