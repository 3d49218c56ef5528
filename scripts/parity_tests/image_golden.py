"""Writes tests/golden/image: small JPEG and PNG files of every kind, and what Pillow decodes them to.

`expected.txt` has a line a file: name, width, height, channels of Pillow's convert("RGB") or ("L") (chosen as fovea
does: L for files without colour) after ImageOps.exif_transpose, and the zlib CRC-32 of those pixels.
"""
import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/image"
WIDTH, HEIGHT = 37, 21  # no multiples of 8 or 16: edges of blocks show


def picture(channels):
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    noise = np.random.default_rng(5).normal(0, 12, (HEIGHT, WIDTH, channels))
    waves = [128 + 100 * np.sin(x / (3 + c) + y / (5 - c % 3)) for c in range(channels)]
    return np.clip(np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def exif(orientation, big_endian, kind=3):
    order = ">" if big_endian else "<"
    value = struct.pack(order + ("HH" if kind == 3 else "I"), *([orientation, 0] if kind == 3 else [orientation]))
    entries = [struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0"), struct.pack(order + "HHI", 0x0112, kind, 1) + value]
    start = (b"MM" if big_endian else b"II") + struct.pack(order + "HI", 42, 8)
    return start + struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", 0)


def jpegs():
    rgb = Image.fromarray(picture(3))
    grey = Image.fromarray(picture(1)[..., 0])
    cmyk = Image.fromarray(picture(4), mode="CMYK")
    yield "420.jpg", rgb, {"subsampling": "4:2:0", "quality": 85}
    yield "422.jpg", rgb, {"subsampling": "4:2:2", "quality": 60}
    yield "444.jpg", rgb, {"subsampling": "4:4:4", "quality": 95}
    yield "progressive.jpg", rgb, {"progressive": True, "quality": 75}
    yield "progressive_grey.jpg", grey, {"progressive": True, "quality": 75}
    yield "restart.jpg", rgb, {"restart_marker_rows": 1}
    yield "grey.jpg", grey, {"quality": 85}
    yield "rgb_stored.jpg", rgb, {"keep_rgb": True}
    yield "cmyk.jpg", cmyk, {"quality": 85}
    yield "one_pixel.jpg", Image.fromarray(picture(3)[:1, :1]), {}
    for orientation in range(1, 9):
        small = Image.fromarray(picture(3)[:6, :9])
        yield f"exif_{orientation}.jpg", small, {"exif": b"Exif\0\0" + exif(orientation, orientation % 2 == 0)}
    yield "exif_long.jpg", small, {"exif": b"Exif\0\0" + exif(6, False, kind=4)}
    yield "exif_9.jpg", small, {"exif": b"Exif\0\0" + exif(9, True)}


def ycck(cmyk_jpeg):
    """The same scan, said to be YCCK by Adobe's marker (transform 2)."""
    at = cmyk_jpeg.index(b"Adobe")
    return cmyk_jpeg[: at + 11] + b"\2" + cmyk_jpeg[at + 12:]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(bits, color, interlace=False, extra=b"", late=b"", width=WIDTH, height=HEIGHT, limit=None):
    """A PNG from random samples; with `interlace` Adam7, which Pillow cannot write."""
    random = np.random.default_rng(bits * 8 + color)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    samples = random.integers(0, limit or 1 << bits, (height, width, channels))
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    raw = b""
    for x0, y0, dx, dy in passes if interlace else [(0, 0, 1, 1)]:
        part = samples[y0::dy, x0::dx]
        if part.size == 0:
            continue
        for row in part.reshape(part.shape[0], -1):
            text = "".join(f"{value:0{bits}b}" for value in row)
            text += "0" * (-len(text) % 8)
            raw += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlace))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + late +
            chunk(b"IEND", b""))


def pngs():
    palette = chunk(b"PLTE", np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    size = {"width": 11, "height": 9}
    for bits in (1, 2, 4, 8, 16):
        yield f"grey_{bits}.png", png(bits, 0, **size)
        yield f"grey_{bits}_interlaced.png", png(bits, 0, interlace=True, **size)
    yield "grey_16_dark.png", png(16, 0, limit=300, **size)
    for bits in (1, 2, 4, 8):
        part = chunk(b"PLTE", palette[8:8 + 3 * (1 << bits)])
        yield f"palette_{bits}.png", png(bits, 3, extra=part, **size)
    part = chunk(b"PLTE", palette[8:8 + 48])
    yield "palette_transparent.png", png(4, 3, extra=part + chunk(b"tRNS", bytes(range(0, 160, 10))), **size)
    yield "palette_interlaced.png", png(4, 3, interlace=True, extra=part, **size)
    for bits in (8, 16):
        yield f"rgb_{bits}.png", png(bits, 2, **size)
        yield f"rgba_{bits}.png", png(bits, 6, **size)
        yield f"grey_alpha_{bits}.png", png(bits, 4, **size)
    yield "rgb_interlaced.png", png(8, 2, interlace=True, **size)
    yield "rgba_16_interlaced.png", png(16, 6, interlace=True, **size)
    yield "rgb_gamma.png", png(8, 2, extra=chunk(b"gAMA", struct.pack(">I", 100000)), **size)
    yield "rgb_transparent.png", png(8, 2, extra=chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3)), **size)
    yield "exif.png", png(8, 2, extra=chunk(b"eXIf", exif(6, True)), **size)
    yield "exif_late.png", png(8, 0, late=chunk(b"eXIf", exif(8, False)), **size)
    yield "one_pixel.png", png(8, 2, width=1, height=1)


def files():
    for name, image, options in jpegs():
        out = io.BytesIO()
        image.save(out, "JPEG", **options)
        yield name, out.getvalue()
        if name == "cmyk.jpg":
            yield "ycck.jpg", ycck(out.getvalue())
    yield from pngs()


def main():
    ROOT.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, content in files():
        (ROOT / name).write_bytes(content)
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
        grey = image.mode in ("1", "L", "LA", "I", "I;16") or name.startswith("grey")
        pixels = image.convert("L" if grey else "RGB").tobytes()
        lines.append(f"{name} {image.width} {image.height} {1 if grey else 3} {zlib.crc32(pixels):08x}\n")
        rgb = image.convert("RGB")
        lines.append(f"{name}:L {image.width} {image.height} 1 {zlib.crc32(rgb.convert('L').tobytes()):08x}\n")
    (ROOT / "expected.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
