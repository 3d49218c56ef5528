"""Writes tests/golden/safetensors: files by Python's safetensors, and hostile files, each named by its fault.

Run it with the environment that scripts/parity makes; the files are kept, so that tests need no Python.
"""
import json
import pathlib
import struct

import torch
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/safetensors"

# The test makes the same values: element i of each tensor has the bits that `pattern` gives.
DTYPES = ["bool", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu", "float8_e4m3fnuz",
          "float8_e5m2fnuz", "float4_e2m1fn_x2", "int16", "uint16", "float16", "bfloat16", "int32", "uint32",
          "float32", "complex64", "float64", "int64", "uint64"]
SHAPES = {"matrix": (3, 4), "scalar": (), "empty": (0, 5), "vector": (7,)}


def pattern(dtype, shape):
    count = int(torch.tensor(shape).prod()) if shape else 1
    size = torch.empty(0, dtype=dtype).element_size()
    raw = torch.tensor([(37 * i + 11) % 251 for i in range(count * size)], dtype=torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    return raw.view(dtype).reshape(shape) if count else torch.empty(shape, dtype=dtype)


def good():
    tensors = {}
    for name in DTYPES:
        for shape_name, shape in SHAPES.items():
            if name.startswith("float4") and shape_name == "scalar":
                continue  # two values share a byte along the last axis
            tensors[f"{name}.{shape_name}"] = pattern(getattr(torch, name), shape)
    save_file(tensors, ROOT / "all_dtypes.safetensors", metadata={"format": "pt"})
    save_file({}, ROOT / "nothing.safetensors")
    odd = {"": torch.tensor([1.0]), "a \"quoted\"\n\u00e9\u4e2d\U0001f600\x01": torch.tensor([2.0]),
           "a/b\\c": torch.tensor([3.0])}
    save_file(odd, ROOT / "odd_names.safetensors", metadata={"k\u00e9y\t": "v\x1f\"\\/"})


def shards():
    folder = ROOT / "sharded"
    folder.mkdir(exist_ok=True)
    parts = {"model-00001-of-00002.safetensors": {"a": torch.arange(4.0), "b": torch.arange(3)},
             "model-00002-of-00002.safetensors": {"c": torch.ones(2, 2, dtype=torch.bfloat16)}}
    weight_map = {}
    for file, tensors in parts.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in tensors})
    index = {"metadata": {"total_size": 48}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def entry(dtype="U8", shape="[4]", offsets="[0,4]", extra=""):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}{extra}}}'


def one(**fields):
    return f'{{"a":{entry(**fields)}}}'


def two(first, second):
    return f'{{"a":{entry(offsets=first)},"b":{entry(offsets=second)}}}'


DATA = b"\x01\x00\x01\x00"
DEEP = "[" * 3000
BOMB = 1 << 62

# fault -> {variant: (header, data)}; a bytes value is the whole file.
HOSTILE = {
    "file_too_small": {"empty": b"", "seven": b"\0" * 7},
    "header_too_large": {"limit": struct.pack("<Q", 100_000_001) + b"{}", "max": b"\xff" * 8 + b"{}"},
    "header_beyond_file": {"one": struct.pack("<Q", 3) + b"{}", "cut": (one(), None)},
    "header_not_utf8": {
        "latin1": (b'{"\xe9":' + entry().encode() + b"}", DATA), "overlong": (b'{"\xc0\x80":{}}', b""),
        "surrogate": (b'{"\xed\xa0\x80":{}}', b""), "cut_character": (b'{"\xe4\xb8', b""),
        "beyond": (b'{"\xf4\x90\x80\x80":{}}', b"")},
    "header_not_object": {"empty": ("", b""), "list": ("[]", b""), "blank": (" {}", b""),
                          "pickle": (b"\x80\x02}q\0.", b""), "deep": (DEEP, b"")},
    "header_not_json": {
        "cut": ('{"a":{"dtype":"U8"', b""), "zero_byte": (b"{}\0\0", b""), "after_end": ("{}x", b""),
        "comma": ("{" + f'"a":{entry()},' + "}", DATA), "comment": ("{/**/}", b""), "single": ("{'a':1}", b""),
        "control": ('{"a\nb":' + entry() + "}", DATA), "escape": ('{"\\x41":' + entry() + "}", DATA),
        "lone_surrogate": ('{"\\ud800":' + entry() + "}", DATA), "no_quote": ('{"aaaa', b""),
        "backslash_end": ('{"a\\', b""), "two_objects": ("{}{}", b""), "no_colon": ('{"a" 1}', b""),
        "half_pair": ('{"\\ud83d\\u0041":' + entry() + "}", DATA), "hex": ('{"\\u00g0":' + entry() + "}", DATA)},
    "duplicate_name": {
        "same": (f'{{"a":{entry()},"a":{entry()}}}', DATA),
        "escaped": (f'{{"a":{entry()},"\\u0061":{entry(offsets="[4,8]")}}}', DATA * 2),
        "metadata": ('{"__metadata__":{},"__metadata__":{}}', b"")},
    "duplicate_field": {"offsets": (one(extra=',"data_offsets":[0,4]'), DATA), "dtype": (one(extra=',"dtype":"U8"'), DATA)},
    "unknown_field": {"strides": (one(extra=',"strides":[1]'), DATA), "deep": (one(extra=',"x":' + DEEP), DATA)},
    "missing_field": {"none": ('{"a":{}}', b""), "dtype": ('{"a":{"shape":[],"data_offsets":[0,0]}}', b""),
                      "shape": ('{"a":{"dtype":"U8","data_offsets":[0,4]}}', DATA),
                      "offsets": ('{"a":{"dtype":"U8","shape":[4]}}', DATA)},
    "wrong_field_type": {"number": ('{"a":1}', b""), "null": ('{"a":null}', b""), "list": ('{"a":["U8",[4],[0,4]]}', DATA),
                         "dtype_number": ('{"a":{"dtype":8,"shape":[4],"data_offsets":[0,4]}}', DATA),
                         "dtype_object": ('{"a":{"dtype":{"U8":null},"shape":[4],"data_offsets":[0,4]}}', DATA),
                         "deep": ('{"a":' + DEEP, b"")},
    "unknown_dtype": {"f128": (one(dtype="F128"), DATA), "lower": (one(dtype="u8"), DATA), "empty": (one(dtype=""), DATA),
                      "longer": (one(dtype="U8 "), DATA)},
    "bad_shape": {
        "negative": (one(shape="[-4]"), DATA), "minus_zero": (one(shape="[-0]", offsets="[0,0]"), b""),
        "float": (one(shape="[4.0]"), DATA), "exponent": (one(shape="[4e0]"), DATA), "leading_zero": (one(shape="[04]"), DATA),
        "text": (one(shape='["4"]'), DATA), "scalar": (one(shape="4"), DATA), "null": (one(shape="null"), DATA),
        "nested": (one(shape="[[4]]"), DATA), "deep": (one(shape=DEEP), DATA), "open": (one(shape="[4"), DATA),
        "huge": (one(shape="[99999999999999999999999999]"), DATA), "plus": (one(shape="[+4]"), DATA),
        "hex": (one(shape="[0x4]"), DATA), "nan": (one(shape="[NaN]"), DATA)},
    "too_many_dimensions": {"65": (one(shape=f"[{','.join(['1'] * 65)}]", offsets="[0,1]"), b"\0")},
    "shape_overflow": {
        "product": (one(shape=f"[{BOMB},4]", offsets="[0,0]"), b""), "wraps_to_4": (one(shape=f"[{BOMB + 1},4]"), DATA),
        "bytes": (one(dtype="F64", shape=f"[{1 << 58}]", offsets="[0,0]"), b""),
        "one_size": (one(shape=f"[{1 << 63}]", offsets="[0,0]"), b""),
        "beside_zero": (one(shape=f"[0,{BOMB},{BOMB}]", offsets="[0,0]"), b"")},
    "partial_byte": {"f4": (one(dtype="F4", shape="[3]", offsets="[0,2]"), b"\0\0"),
                     "f6": (one(dtype="F6_E2M3", shape="[5]"), DATA)},
    "bad_offsets": {
        "one": (one(offsets="[4]"), DATA), "three": (one(offsets="[0,4,4]"), DATA), "none": (one(offsets="[]"), DATA),
        "negative": (one(offsets="[-4,4]"), DATA), "float": (one(offsets="[0,4.0]"), DATA), "text": (one(offsets='"0,4"'), DATA),
        "object": (one(offsets='{"0":4}'), DATA), "overflow": (one(offsets="[0,18446744073709551616]"), DATA)},
    "reversed_offsets": {"swapped": (one(offsets="[4,0]"), DATA), "wraps": (one(offsets="[18446744073709551612,0]"), DATA)},
    "bad_metadata": {
        "null": ('{"__metadata__":null}', b""), "list": ('{"__metadata__":[]}', b""), "number": ('{"__metadata__":{"a":1}}', b""),
        "nested": ('{"__metadata__":{"a":{"b":"c"}}}', b""), "null_value": ('{"__metadata__":{"a":null}}', b""),
        "key_twice": ('{"__metadata__":{"a":"1","a":"2"}}', b""), "tensor": (f'{{"__metadata__":{entry()}}}', DATA),
        "deep": ('{"__metadata__":{"a":' + DEEP, b"")},
    "out_of_range": {"cut": (one(), DATA[:3]), "no_data": (one(), b""), "far": (one(offsets=f"[{1 << 63},{(1 << 63) + 4}]"), DATA),
                     "max": (one(offsets="[18446744073709551611,18446744073709551615]"), DATA)},
    "size_mismatch": {"short": (one(offsets="[0,3]"), DATA[:3]), "long": (one(shape="[3]"), DATA), "scalar": (one(shape="[]"), DATA),
                      "dtype": (one(dtype="F32"), DATA), "empty": (one(shape="[0]"), DATA)},
    "overlap": {"same": (two("[0,4]", "[0,4]"), DATA), "partly": (two("[0,4]", "[2,6]"), DATA * 2),
                "zero_size": (f'{{"a":{entry()},"b":{entry(shape="[0]", offsets="[2,2]")}}}', DATA)},
    "hole": {"between": (two("[0,4]", "[8,12]"), DATA * 3), "front": (one(offsets="[4,8]"), DATA * 2),
             "zero_size": (f'{{"a":{entry(shape="[0]", offsets="[4,4]")}}}', DATA)},
    "trailing_bytes": {"one": (one(), DATA + b"\0"), "only": ("{}", DATA), "zip": (one(), DATA + b"PK\3\4")},
}

# Unusual, yet right: Python accepts these too.
ODD = {"white_space": ('{ "a" :\t' + entry(shape="[ 4 ]", offsets="[ 0 , 4 ]") + '\n}  \r\n', DATA),
       "not_in_order": (two("[4,8]", "[0,4]"), DATA * 2),
       "zero_sizes_share": (f'{{"a":{entry(shape="[0]", offsets="[0,0]")},"b":{entry(shape="[2,0]", offsets="[0,0]")},'
                            f'"c":{entry()}}}', DATA),
       "escapes": ('{"\\u00e9\\ud83d\\ude00\\/\\b":' + entry() + "}", DATA),
       "f6": (one(dtype="F6_E3M2", shape="[4]", offsets="[0,3]"), b"\1\2\3"),
       "no_tensors": ('{"__metadata__":{}}', b"")}


def write(path, content):
    if isinstance(content, tuple):
        header, data = content
        header = header if isinstance(header, bytes) else header.encode()
        content = struct.pack("<Q", len(header)) + (header[:-5] if data is None else header + data)
    path.write_bytes(content)


def main():
    for folder in ("hostile", "odd"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
        for old in (ROOT / folder).glob("*.safetensors"):
            old.unlink()
    good()
    shards()
    for fault, variants in HOSTILE.items():
        for variant, content in variants.items():
            write(ROOT / "hostile" / f"{fault}-{variant}.safetensors", content)
    for name, content in ODD.items():
        write(ROOT / "odd" / f"{name}.safetensors", content)


if __name__ == "__main__":
    main()
