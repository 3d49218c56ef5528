"""`attend`: what PyTorch's scaled_dot_product_attention does, with more in the kernel; and its kin."""

import numbers
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor
from torch.overrides import is_tensor_like
from typing_extensions import Unpack

import fovea.library  # noqa: F401 (registers torch.ops.fovea)
from fovea.observations import Observation, asked_for

_CAUSAL = {False: "none", True: "top_left", "bottom_right": "bottom_right"}
_WHOLE = (numbers.Integral, torch.SymInt)
_BOUND = (*_WHOLE, type(None))
# Options of several parts: what to write, and the parts' names in the schema with their types.
_PARTS = {
    "window": ("(left, right), whole numbers or None", {"window_left": _BOUND, "window_right": _BOUND}),
    "segment_ids": ("(of queries, of keys), tensors", {"query_segments": Tensor, "key_segments": Tensor}),
    "block_mask": ("(a tensor, the size of a block)", {"block_mask": Tensor, "block_size": _WHOLE}),
    "relative_grid": (
        "(table, height, width)",
        {"grid_table": Tensor, "grid_height": _WHOLE, "grid_width": _WHOLE},
    ),
}
# What the schema takes as it is, but for the name of the order.
_PLAIN = frozenset(("causal", "scale", "enable_gqa"))
# Numbers, or one for each head.
_PER_HEAD = ("cosine", "gaussian")


class AttendOptions(TypedDict, total=False):
    """Keyword arguments of `attend`, whose documentation tells what they do."""

    scale: float | None
    cosine: float | Tensor | None
    gaussian: float | Tensor | None
    causal: bool | str
    window: tuple[int | None, int | None] | None
    alibi_slopes: Tensor | None
    bias: Tensor | None
    mask: Tensor | None
    relative_table: Tensor | None
    relative_grid: tuple[Tensor, int, int] | None
    relative_keys: Tensor | None
    key_lengths: Tensor | None
    segment_ids: tuple[Tensor, Tensor] | None
    cu_seqlens_q: Tensor | None
    cu_seqlens_k: Tensor | None
    block_mask: tuple[Tensor, int] | None
    softcap: float | None
    normaliser: str
    sinks: Tensor | None
    sigmoid_bias: float | None
    dropout_p: float
    seed: int | None
    enable_gqa: bool
    return_lse: bool
    observe: Sequence[Observation]


_OPTIONS = frozenset(AttendOptions.__annotations__)
_TENSORS = frozenset(name for name, kind in AttendOptions.__annotations__.items() if kind == Tensor | None)


def attend(
    q: Tensor, k: Tensor, v: Tensor, **options: Unpack[AttendOptions]
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """Attention: a weighted sum of values.   out = normalise(mask(bias + ALiBi + relative + softcap(scale q k^T))) v

    q (B, H, N, D), k (B, Hkv, M, D), v (B, Hkv, M, Dv) -> (B, H, N, Dv); float32, bfloat16, float16, or float64 by the
    definition. A query that may see no key gives 0. What a query may not see has no influence on it, NaN included.

    scale=None          factor on q.k; 1 / sqrt(D) when None
    cosine=None         a number or (H): scores are cosine_h q.k / (|q| |k|), as in Swin v2; has a gradient
    gaussian=None       a number or (H), the width: scores are -|q - k|^2 / (2 gaussian_h^2); has a gradient
    causal=False        True: key j <= query i; "bottom_right": j <= i + M - N
    window=None         (left, right), both inclusive: i - left <= j <= i + right; None is no bound
    alibi_slopes=None   (H) or (B, H): adds -slope |i - j|; has a gradient
    bias=None           added to the scores, broadcastable to (B, H, N, M); has a gradient
    mask=None           boolean, broadcastable to (B, H, N, M): True = may attend
    relative_table=None (H|1, 2R + 1): adds table[h, R + clamp(j - i, -R, R)]; has a gradient
    relative_grid=None  (table, height, width), N = M = height width, table (H|1, (2 height - 1)(2 width - 1)): a number for
                        each difference of rows and columns, as Swin's transposed; has a gradient
    relative_keys=None  (H|1, 2R + 1, D): adds scale q_i.relative_keys[h, R + clamp(j - i, -R, R)]; has a gradient
    key_lengths=None    (B), integers: keys before the length of their batch entry
    segment_ids=None    (B, N) and (B, M), integers: keys of the query's own segment, such as a document
    cu_seqlens_q=None, cu_seqlens_k=None
                        (S + 1), integers: offsets of sequences behind each other; q, k, v are (total, H, D)
    block_mask=None     boolean (B|1, H|1, blocks of queries, blocks of keys) and the size of a block
    softcap=None        c: c tanh(s / c)
    normaliser="softmax"
                        how scores s become weights. "softmax"; "softmax_sink": e^s_j / (e^sinks_h + sum_j e^s_j);
                        "sigmoid": 1 / (1 + e^(-s - sigmoid_bias)); "sparsemax"; "entmax15"
    sinks=None          (H), of softmax_sink; has a gradient; 0 when None
    sigmoid_bias=None   of sigmoid; -log(M) when None
    dropout_p=0.0       probability that a weight is dropped (and the rest scaled by 1 / (1 - p)), in [0, 1)
    seed=None           of the dropout; drawn from torch's generator when None
    enable_gqa=False    H may be a multiple of Hkv: groups of queries share keys
    return_lse=False    also "lse", (B, H, N), float32 (float64 of float64): the logarithm of each query's sum of
                        exponentials; has a gradient
    observe=()          what else to return, by its name, told in O(N + M) memory of a softmax's weights before dropout:
                        "entropy", "distance" (the mean |i - j|), "argmax" (-1 where a query sees no key), (B, H, N);
                        "received" (B, H, M), what each key gets of all queries; fovea.TopK(count),
                        fovea.Blocks(queries, keys), fovea.Rows([query, ...]); and "weights" (B, H, N, M) themselves,
                        after dropout, which alone have a gradient and cost O(N M)

    Returns out, or (out, {name: tensor}) when return_lse or observe ask for more.
    Raises ValueError for arguments that do not fit.
    """
    return _call("attend", (q, k, v), options)


def additive_attend(
    q: Tensor, k: Tensor, v: Tensor, w: Tensor, **options: Unpack[AttendOptions]
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """Attention by a small network instead of products.   s_ij = sum_e w_e tanh(q_ie + k_je)

    q (B, H, N, E), k (B, H, M, E), both projected to the hidden size E already, v (B, H, M, Dv), w (H, E) or (E)
    -> (B, H, N, Dv). `w` has a gradient. Options, results and errors are those of `attend`, but for scale, cosine,
    gaussian, relative_keys, enable_gqa, cu_seqlens_q, cu_seqlens_k, and of observe all but "weights" and "lse".
    Source: Bahdanau et al. 2015, A.1.2.
    """
    return _call("additive_attend", (q, k, v, w), options)


def attend_paged(
    q: Tensor,
    k_pages: Tensor,
    v_pages: Tensor,
    table: Tensor,
    lengths: Tensor,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention of the newest positions to a cache in pages, in causal order.

    Key j of sequence b is row j % page of page table[b, j // page]; query n of N is position lengths[b] - N + n, whose
    key the cache holds already.

    q (B, H, N, D), k_pages (P, Hkv, page, D), v_pages (P, Hkv, page, Dv) -> (B, H, N, Dv)
    table          (B, pages of the longest), int32; entries that a length does not need are not read
    lengths        (B), int32
    scale          factor on q.k; 1 / sqrt(D) when None
    enable_gqa     H may be a multiple of Hkv: groups of queries share keys

    Raises ValueError for arguments that do not fit. Source: PagedAttention (Kwon et al. 2023), section 4.
    """
    given = {"q": q, "k_pages": k_pages, "v_pages": v_pages, "table": table, "lengths": lengths}
    _require_tensors("attend_paged", given)
    return torch.ops.fovea.attend_paged(
        q, k_pages, v_pages, table, lengths, scale=scale, enable_gqa=enable_gqa
    )[0]


def _require_tensors(name, given):
    for key, value in given.items():
        if not is_tensor_like(value):
            raise ValueError(
                f"[{name}] {key} must be a tensor; found {type(value).__name__}. Convert it with torch.as_tensor()."
            )


def _parts_of(name, option, given):
    """The arguments of the schema that an option of several parts stands for."""
    wanted, parts = _PARTS[option]
    if not isinstance(given, Sequence) or len(given) != len(parts) or not all(map(isinstance, given, parts.values())):
        found = tuple(type(g).__name__ for g in given) if isinstance(given, Sequence) else type(given).__name__
        raise ValueError(f"[{name}] {option} must be {wanted}; found {found}. Give all parts, or leave it out.")
    return zip(parts, given)


def _is_plain(tensors, options):
    """Whether there is nothing to check or to translate: on short sequences that takes as long as the operator."""
    return (
        options.keys() <= _PLAIN
        and isinstance(options.get("causal", False), bool)
        and all(isinstance(t, Tensor) for t in tensors)
    )


def _call(name, tensors, options):
    """The operator of that name, with Python's options as its schema has them."""
    operator = getattr(torch.ops.fovea, name)
    if _is_plain(tensors, options):
        causal = _CAUSAL[options.pop("causal", False)]
        return operator(*tensors, causal=causal, **options)[0]
    for option in options:
        if option not in _OPTIONS:
            raise TypeError(f"{name}() got an unexpected keyword argument {option!r}")
    _require_tensors(name, dict(zip("qkvw", tensors)))
    _require_tensors(name, {o: given for o, given in options.items() if o in _TENSORS and given is not None})
    arguments = dict(options)
    causal = arguments.pop("causal", False)
    if causal not in _CAUSAL:
        raise ValueError(
            f'[{name}] causal must be False, True or "bottom_right"; found {causal!r}. Leave it out for no order.'
        )
    # The operator takes no dropout without one: its backward under torch.compile runs the forward again.
    if arguments.get("dropout_p", 0.0) > 0.0 and arguments.get("seed") is None:
        arguments["seed"] = int(torch.randint(2**62, ()))
    for option in _PARTS:
        if (given := arguments.pop(option, None)) is not None:
            arguments.update(_parts_of(name, option, given))
    for option in _PER_HEAD:
        if isinstance(number := arguments.get(option), (int, float)):
            arguments[option] = torch.tensor(float(number), dtype=torch.float64)
    observed, sizes = asked_for(arguments.pop("observe", ()))
    if arguments.pop("return_lse", False) and "lse" not in observed:
        observed.insert(0, "lse")
    out, *found = operator(*tensors, causal=_CAUSAL[causal], observe=observed, **sizes, **arguments)
    return (out, dict(zip(observed, found))) if observed else out
