"""A file that programs misread made right: what would change is told first, then written and proven."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from .check import bad_rows, listed, mislabelled_key, named_tensors
from .convert import Options, Outcome, convert_one, open_input, put_now
from .display import quoted
from .errors import CannotHold, NotFinite
from .forms import infos_of
from .model import SIZES, Embedding, Tensor
from .names import trigger_of
from .read import Input, Reading, choose


class Change(Struct, frozen=True):
    """One thing that repair alters: where, what it was, what it becomes."""

    where: str
    was: str
    becomes: str


class Repaired(Struct, frozen=True, kw_only=True):
    """The changes and, once written, the outcome; None where nothing was wrong."""

    changes: tuple[Change, ...]
    outcome: Outcome | None = None


def repair(
    source: Input,
    dest: str | os.PathLike[str],
    options: Options | None = None,
    *,
    drop_bad_rows: bool = False,
    shown: Callable[[Change], None] = lambda change: None,
) -> Repaired:
    """Repair one file into `dest`. `shown` hears of each change before anything is written.

    Mends: vectors under the wrong encoder's key, `emp_params`, vectors of one or three axes, inner and lost names; and rows
    with NaN or infinity, which are dropped only with `drop_bad_rows`. Raises NotFinite where they are there without it.
    """
    options = options or Options()
    given = open_input(source)
    embedding = choose(given.reading.embeddings, given.reading.name, options.pick)
    changes = tuple(changes_of(embedding, given.reading, options, drop_bad_rows))
    for change in changes:
        shown(change)
    if not changes:
        return Repaired(changes=())
    mended = mend(embedding, given.reading.name, drop_bad_rows)
    return Repaired(changes=changes, outcome=convert_one(put_now, given, mended, os.fspath(dest), options))


def changes_of(embedding: Embedding, reading: Reading, options: Options, drop: bool) -> Iterator[Change]:
    """Everything that repair would alter."""
    for finding in mislabelled_key(embedding):
        encoder = next(key for key, written in embedding.keys.items() if written == finding.where)
        yield Change("key", finding.where, encoder)
    kept = embedding.output_vectors or (options.target and options.target.name == "onetrainer")
    if reading.layout.name == "emp_params" and not kept:
        yield Change("key", "emp_params", "emb_params")
    for info in infos_of(reading.outline):
        if len(info.shape) != 2:
            whole = (1, *info.shape) if len(info.shape) == 1 else info.shape[-2:]
            yield Change("shape", "x".join(map(str, info.shape)), "x".join(map(str, whole)))
    for key, bad in rows_to_drop(embedding).items():
        n = dict(named_tensors(embedding))[key].shape[0]
        was = f"{n} vectors, NaN or infinity in {listed(bad)}"
        yield Change(key, was, f"{n - len(bad)} vectors" if drop else "the same: give --drop-bad-rows")
    yield from name_changes(embedding)


def name_changes(embedding: Embedding) -> Iterator[Change]:
    """Names that would mislead: an inner name that is not the trigger, a trigger only a sidecar knows."""
    names, trigger = embedding.names, trigger_of(embedding.names)
    if names.inner_name and names.inner_name != trigger.strip("<>") and names.inner_name != trigger:
        yield Change("name inside", names.inner_name, trigger)
    if names.sidecar and not names.header and names.sidecar == trigger and names.file_stem != trigger:
        yield Change("trigger", "known to a sidecar only", trigger)


def mend(embedding: Embedding, name: str, drop: bool) -> Embedding:
    """The embedding with nothing wrong left."""
    trigger = trigger_of(embedding.names)
    inner = trigger if embedding.names.inner_name else None
    names = replace(embedding.names, inner_name=inner, header=embedding.names.header or embedding.names.sidecar)
    leave = rows_to_drop(embedding)
    vectors = {key: sound(tensor, leave.get(key, []), name, key, drop) for key, tensor in embedding.vectors.items()}
    left = {key: f"{key}_out" for key in embedding.output_vectors}
    outputs = {key: sound(embedding.output_vectors[key], leave.get(said, []), name, said, drop) for key, said in left.items()}
    return replace(embedding, names=names, vectors=vectors, output_vectors=outputs, keys={})


def rows_to_drop(embedding: Embedding) -> dict[str, list[int]]:
    """For each tensor its unsound rows. Where all have equally many, row by row they are one token: it goes from each."""
    bad = {key: bad_rows(tensor) for key, tensor in named_tensors(embedding)}
    if len({tensor.shape[0] for _, tensor in named_tensors(embedding)}) == 1:
        bad = dict.fromkeys(bad, sorted(set().union(*bad.values())))
    return {key: places for key, places in bad.items() if places}


def sound(tensor: Tensor, bad: list[int], name: str, key: str, drop: bool) -> Tensor:
    """The rows that are numbers throughout, `bad` being the others."""
    if not bad:
        return tensor
    if not drop:
        raise NotFinite(f"{quoted(name)} has NaN or infinity in {listed(bad)} of {key}.", "Leave them out with --drop-bad-rows.")
    if len(bad) == tensor.shape[0]:
        raise CannotHold(f"{quoted(name)} has no sound vector in {key}.", "There is nothing left to repair.")
    length = tensor.shape[1] * SIZES[tensor.dtype]
    kept = [tensor.data[place * length : (place + 1) * length] for place in range(tensor.shape[0]) if place not in bad]
    return Tensor(tensor.dtype, (len(kept), tensor.shape[1]), b"".join(kept))
