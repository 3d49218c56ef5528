"""What `observe` asks for: names, and these where a size is needed."""

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class TopK:
    """The `count` largest weights of each query, falling, and their keys: "top_weights" and "top_keys", (B, H, N, count).
    Weight 0 and key -1 where it sees fewer."""

    count: int

    names = ("top_weights", "top_keys")

    def sizes(self):
        return {"top_k": self.count}


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Means of the weights over blocks of so many queries and keys: "blocks", (B, H, N / queries, M / keys), rounded up;
    at the edges of the pairs that exist."""

    queries: int
    keys: int

    names = ("blocks",)

    def sizes(self):
        return {"blocks": [self.queries, self.keys]}


@dataclasses.dataclass(frozen=True)
class Rows:
    """All weights of these queries, in their order: "rows", (B, H, len(queries), M)."""

    queries: Sequence[int]

    names = ("rows",)

    def sizes(self):
        return {"rows": list(self.queries)}


Observation = str | TopK | Blocks | Rows


def asked_for(observe: Sequence[Observation]) -> tuple[list[str], dict]:
    """The names of the results, and the arguments that say their sizes."""
    if isinstance(observe, (str, TopK, Blocks, Rows)):
        raise ValueError(f"[attend] observe must be a sequence; found {observe!r}. Write [{observe!r}].")
    names, sizes = [], {}
    for wish in observe:
        if isinstance(wish, str):
            names.append(wish)
            continue
        if not isinstance(wish, (TopK, Blocks, Rows)):
            raise ValueError(
                f"[attend] observe holds names, TopK, Blocks and Rows; found {wish!r}. help(fovea.attend) lists them."
            )
        names.extend(wish.names)
        sizes.update(wish.sizes())
    if len(set(names)) < len(names):
        raise ValueError(f"[attend] observe must name each result once; found {names}. Leave the others out.")
    return names, sizes
