"""safetensors_mutants.py OUTPUT [COUNT]: damaged files with the verdict of Python's (Rust's) safetensors on each.

OUTPUT is a row of records: 4 bytes little-endian length, 1 byte verdict (1 = accepted), the file's bytes.
"""
import pathlib
import random
import re
import struct
import sys

from safetensors import deserialize

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/safetensors"

TOKENS = [b"0", b"1", b"-1", b"4", b"3.0", b"1e2", b"007", b"18446744073709551615", b"9223372036854775808", b"null",
          b"true", b"[]", b"{}", b'""', b'"U8"', b'"F4"', b'"F64"', b'"dtype"', b'"shape"', b'"data_offsets"',
          b'"__metadata__"', b'"a"', b",", b":", b"[", b"]", b"{", b"}", b" ", b"\n", b"\0", b"\xff", b"\\u0061"]


def mutate(rng, header, data):
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        pieces = re.findall(rb'"[^"]*"|\d+|.', header, re.DOTALL)
        at = rng.randrange(len(pieces)) if pieces else 0
        kind = rng.randrange(7)
        if kind == 0 and pieces:
            pieces[at] = rng.choice(TOKENS)
        elif kind == 1:
            pieces.insert(at, rng.choice(TOKENS))
        elif kind == 2 and pieces:
            del pieces[at]
        elif kind == 3 and pieces:
            pieces.insert(at, pieces[rng.randrange(len(pieces))])
        elif kind == 4:
            numbers = [i for i, piece in enumerate(pieces) if piece.isdigit()]
            if numbers:
                i = rng.choice(numbers)
                pieces[i] = str(max(0, int(pieces[i]) + rng.choice([-1, 1, 4, -4]))).encode()
        elif kind == 5:
            data = data[: rng.randrange(len(data) + 1)] if rng.random() < 0.5 else data + b"\0" * rng.randrange(1, 9)
        else:
            spans = [m.span() for m in re.finditer(rb'"[^"]*":\{[^{}]*\},?', header)]
            if spans:
                begin, end = rng.choice(spans)
                where = rng.choice(spans)[0]
                return header[:where] + header[begin:end].rstrip(b",") + b"," + header[where:], data
        header = b"".join(pieces)
    return header, data


def files(rng, count):
    def seeds_of(folder):
        contents = [path.read_bytes() for path in sorted((ROOT / folder).glob("*.safetensors"))]
        return [content for content in contents if 10 < len(content) < 700]

    good, bad = seeds_of(".") + seeds_of("odd") + seeds_of("sharded"), seeds_of("hostile")
    for _ in range(count):
        seed = rng.choice(good if rng.random() < 0.8 else bad)
        size = struct.unpack("<Q", seed[:8])[0]
        header, data = mutate(rng, seed[8:8 + size], seed[8 + size:])
        length = len(header) if rng.random() < 0.97 else rng.choice([0, 1, len(header) + 1, 1 << 40, len(header) - 1])
        yield struct.pack("<Q", max(0, length)) + header + data


def verdict(content):
    try:
        deserialize(content)
        return 1
    except Exception:  # of Rust: SafetensorError; a panic is no acceptance either
        return 0


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with open(sys.argv[1], "wb") as out:
        for content in files(random.Random(20), count):
            out.write(struct.pack("<IB", len(content), verdict(content)) + content)


if __name__ == "__main__":
    main()
