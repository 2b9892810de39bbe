"""One file to another: read, checked against what it is wanted for, written in the form that loads there, proven."""

from __future__ import annotations

import os
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from .bases import described
from .check import finite, mislabelled_key, mismatch, sizes, width
from .display import printable, quoted
from .encoders import fits
from .errors import BaseMismatch, CannotHold, EmbconvError, MislabelledKey, NotFinite, SeveralEmbeddings, TargetExists
from .forms import form_of
from .hashes import Hashes, autov1, digest, hashes
from .in_step import Work, finished
from .limits import HASHED_SOURCE
from .model import Embedding, SourceFile
from .names import LAYOUT_KEYS, safe_stem, trigger_of
from .paths import stem_of, suffix_of, with_stem
from .read import Input, Reading, called, choose, examine, nbytes
from .source import Source
from .targets import Plan, Target, default_plans, keeping, plan_for, planned, plans_with_outputs, refusal
from .write import CONTAINERS, Written, encode, write

Put = Callable[[Written, str, bool], None]


class Options(Struct, frozen=True, kw_only=True):
    """How to convert. `target` picks the form, `base` refuses what does not fit it, `dtype` narrows or widens.

    `pick` and `split` are for files that hold several; `name` is the new trigger; `force` overwrites. `new` says that
    somebody has looked and nothing stands at the target, which saves looking; a file that comes meanwhile stays all the same.
    """

    target: Target | None = None
    base: str | None = None
    dtype: str | None = None
    name: str | None = None
    pick: str | None = None
    split: bool = False
    force: bool = False
    dry_run: bool = False
    new: bool = False


class Failure(Struct, frozen=True, gc=False):
    """An error as data."""

    code: str
    says: str
    hint: str = ""


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of one embedding. `status`: converted, already_there, would_convert, refused (the input) or failed (the output)."""

    path: str
    status: str
    written: str | None = None
    size: int | None = None
    layout: str | None = None
    about: str = ""
    trigger: str | None = None
    digest: str | None = None
    hashes: Hashes | None = None
    notes: tuple[str, ...] = ()
    error: Failure | None = None


class Opened(Struct, frozen=True):
    """A reading with what the output will say of its file."""

    reading: Reading
    origin: SourceFile
    hashes: Hashes | None


def convert(source: Input, dest: str | os.PathLike[str], options: Options | None = None) -> list[Outcome]:
    """Convert one file to `dest`, a file, or with `split` each of its embeddings to a file of its own in that folder.

    Raises an EmbconvError that says what was given, what was wanted and what to do; nothing is written then.
    """
    return converted_by(put_now, open_input(source), os.fspath(dest), options or Options())


def converted_by(put: Put, given: Opened, dest: str, options: Options) -> list[Outcome]:
    """`convert` for what was read already, with the way in which files are put in place."""
    if options.split:
        work = list(zip(given.reading.embeddings, split_paths(given.reading.embeddings, dest), strict=True))
        for embedding, path in work:  # whatever would stop one of them stops them all before anything is written
            convert_one(put, given, embedding, path, replace(options, dry_run=True))
        return [convert_one(put, given, embedding, path, options) for embedding, path in work]
    return [convert_one(put, given, choose(given.reading.embeddings, given.reading.name, options.pick), dest, options)]


def open_input(source: Input, *, sidecars: bool = True) -> Opened:
    """Read a file, what stands beside it, and its hashes; above limits.HASHED_SOURCE only AutoV1: one row of 151 MB costs one row."""
    return finished(opening(source, sidecars=sidecars))


def opening(source: Input, *, sidecars: bool = True) -> Work[Opened]:
    """`open_input` in steps: its bytes, what they are, their hashes."""
    with Source(source) as file:
        yield file.size
        reading = examine(file, sidecars=sidecars)
        yield nbytes(reading)
        found = hashes(file) if file.size <= HASHED_SOURCE else None
        origin = SourceFile(
            name=file.name,
            container=reading.outline.container,
            layout=reading.layout.name,
            sha256=found.sha256 if found else None,
            autov1=None if found else autov1(file),
        )
    return Opened(reading, origin, found)


def joined(first: Input, second: Input) -> Opened:
    """The two files of diffusers' SDXL example as one input: the same token, another encoder in each."""
    one, two = open_input(first), open_input(second)
    left, right = (choose(given.reading.embeddings, given.reading.name, None) for given in (one, two))
    if left.names.key != right.names.key or set(left.vectors) & set(right.vectors):
        names = [f"{called(e)} ({described(e)})" for e in (left, right)]
        raise SeveralEmbeddings(f"{one.reading.name} and {two.reading.name}", names)
    both = replace(left, vectors={**left.vectors, **right.vectors}, keys={}, sources=(*left.sources, *right.sources, two.origin))
    return Opened(replace(one.reading, embeddings=(both,)), one.origin, one.hashes)


def convert_one(put: Put, given: Opened, embedding: Embedding, path: str, options: Options) -> Outcome:
    """One embedding to one file."""
    embedding = renamed(embedding, options.name) if options.name else embedding
    must_fit(embedding, given.reading, path, options)
    plan = plan_of(embedding, path, options)
    written = encode(embedding, plan, dtype=options.dtype, source=given.origin)
    as_given = plan.dtype != "keep" and all(tensor.dtype == plan.dtype for tensor in embedding.vectors.values())
    notes = (*written.notes, *((plan.note,) if plan.note and not as_given else ()))
    outcome = Outcome(
        path=given.reading.path or given.reading.name,
        status="would_convert" if options.dry_run else "converted",
        written=path,
        size=len(written.data),
        layout=plan.layout,
        about=f"{given.reading.layout.title}, {described(embedding)}",
        trigger=written.trigger,
        digest=written.digest,
        hashes=given.hashes,
        notes=notes,
    )
    known_new = options.new and not options.dry_run
    if not known_new and os.path.lexists(path) and not options.force:
        if not holds(path, written, plan, named=options.name is not None):
            raise TargetExists(path)
        return replace(outcome, status="already_there")
    if not options.dry_run:
        put(written, path, options.force)
    return outcome


def put_now(written: Written, path: str, overwrite: bool) -> None:
    """Write one file at once, durably."""
    write(written, path, overwrite=overwrite)


def must_fit(embedding: Embedding, reading: Reading, path: str, options: Options) -> None:
    """Stop for what would not work where it is wanted, with the reason and what would."""
    name = reading.name
    for finding in mislabelled_key(embedding):
        raise MislabelledKey(f"{quoted(name)}: {finding.says}", f"Repair it: {repair_command(reading)}")
    for finding in finite(embedding):
        raise NotFinite(f"{quoted(name)}: {finding.says}", f"Leave those out: {repair_command(reading)} --drop-bad-rows")
    for finding in width(embedding):
        raise BaseMismatch(f"{quoted(name)}: {finding.says}")
    if options.base and not fits(options.base, set(embedding.vectors)):
        raise BaseMismatch(f"{quoted(name)} {mismatch(embedding, options.base)}")
    if not embedding.vectors:
        raise CannotHold(f"{quoted(name)} holds output vectors only, which no program renders with.")
    must_load(embedding, path, options.target)


def repair_command(reading: Reading) -> str:
    """The command that repairs a file, to be pasted as it stands but for OUT."""
    import shlex  # for a mistake only

    return f"embconv repair {shlex.quote(printable(reading.path or reading.name, 4096))} OUT"


def must_load(embedding: Embedding, path: str, target: Target | None) -> None:
    """Stop for a program that cannot load the embedding in any form, or not from a file of that name."""
    says, hint = refusal(target, sizes(embedding), stem_of(path)) if target else ("", "")
    if says:
        raise CannotHold(says, hint)


def plan_of(embedding: Embedding, path: str, options: Options) -> Plan:
    """The form to write: what the program really reads, or else the form that loads in the most programs."""
    suffix = suffix_of(path).lower()
    if suffix not in CONTAINERS:
        says = f"{quoted(os.path.basename(path))} is no kind of file embconv writes."
        raise CannotHold(says, f"End its name with one of {', '.join(CONTAINERS)}.")
    vectors = sizes(embedding)
    if embedding.output_vectors:
        return plan_with_outputs(embedding, suffix, options.target)
    if options.target is None:
        return default_plans(vectors, suffix)
    plan = plan_for(options.target, vectors, suffix)
    if plan is None:
        best = plan_for(options.target, vectors)
        says = f"{options.target.title} does not load this embedding from a {suffix} file."
        raise CannotHold(says, f"Write a {best.suffix} file." if best else "")
    return plan


def plan_with_outputs(embedding: Embedding, suffix: str, target: Target | None) -> Plan:
    """The form that keeps OneTrainer's output vectors, under the kind of keys they had; for a program one that it loads right."""
    vectors, outputs = sizes(embedding), tuple(embedding.output_vectors)
    plans = plans_with_outputs(vectors, outputs, suffix, target)
    if not plans:
        raise CannotHold(f"A {suffix} file has no place for output vectors.", "Write a .safetensors file.")
    plans.sort(key=lambda plan: plan.layout != ("emp_params" if embedding.layout == "emp_params" else "per_encoder"))
    if target is None:
        return plans[0]
    says = [target.reads(planned(plan, vectors, outputs=outputs)) for plan in plans]
    if "" in says:
        return plans[says.index("")]
    kept = keeping(plan_with_outputs(embedding, suffix, None), vectors, outputs)
    raise CannotHold(f"{target.title} cannot take the output vectors of this embedding: it {says[0]}.", kept)


def holds(path: str, written: Written, plan: Plan, *, named: bool) -> bool:
    """Is the file at `path` this embedding in this form already? Where a trigger was `named`, under the same names too."""
    try:
        with Source(path) as source:
            reading = examine(source, sidecars=False)
    except EmbconvError:
        return False
    if len(reading.embeddings) != 1 or digest(reading.embeddings[0]) != written.digest:
        return False
    if named and names_in(reading) != names_in(examine(Source(written.data))):
        return False
    form = form_of(reading, reading.embeddings[0])
    dtypes = set(form.dtype) if plan.container == "png" else {t.dtype for t in written.embedding.vectors.values()}  # JSON has numbers
    return (form.container, form.layout, set(form.dtype)) == (plan.container, plan.layout, dtypes)


def names_in(reading: Reading) -> list[tuple[str | None, ...]]:
    """The names that a file itself says, whatever it is called."""
    return [(each.names.header, each.names.key, each.names.inner_name) for each in reading.embeddings]


def renamed(embedding: Embedding, name: str) -> Embedding:
    """The embedding under a new trigger: in the header, as the key and inside."""
    inner = name if embedding.names.inner_name is not None else None
    metadata = {key: value for key, value in embedding.metadata.items() if key not in ("modelspec.trigger_phrase", "modelspec.title")}
    return replace(embedding, names=replace(embedding.names, header=name, inner_name=inner), metadata=metadata)


def split_paths(embeddings: tuple[Embedding, ...], dest: str) -> list[str]:
    """A file for each: the stem of DEST (nothing for a folder), then its key or trigger; a number where two would meet."""
    if os.path.isdir(dest) or not suffix_of(dest):
        return [os.path.join(dest, f"{stem}.safetensors") for stem in own_stems(embeddings)]
    return [with_stem(dest, stem) for stem in own_stems(embeddings, f"{stem_of(dest)}-")]


def own_stems(embeddings: tuple[Embedding, ...], prefix: str = "") -> list[str]:
    """A file stem for each of several embeddings: its key, or its trigger where programs give that key to all; no two alike."""
    taken: set[str] = set()
    stems = []
    for embedding in embeddings:
        key = embedding.names.key
        stem = free = safe_stem(prefix + (trigger_of(embedding.names) if key is None or key in LAYOUT_KEYS else key))
        count = 1
        while free.lower() in taken:
            count += 1
            free = f"{stem}-{count}"
        taken.add(free.lower())
        stems.append(free)
    return stems


def failure(path: str, exc: EmbconvError) -> Outcome:
    """An error as an outcome: failed where the output was the trouble, refused where the input was."""
    output = exc.code in ("cannot_write", "not_equal")
    return Outcome(path=path, status="failed" if output else "refused", error=Failure(exc.code, exc.says, exc.hint))
