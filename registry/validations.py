"""Test renders that are asked for: a question is answered once, and until then it is a job that workers lease."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from embconv.converters.convert import Failure

from .blobs import Blobs
from .errors import BadParameter, RegistryError, UnknownFile
from .ingest import drop
from .model import Job
from .render_errors import CannotRender, NoCheckpoint, UnknownRender, UnknownValidation
from .store import Store, digest_of, resolve
from .store.checkpoints import checkpoint_of
from .store.jobs import job_of
from .store.leases import Lease, add_waiting, finish
from .store.validations import (
    Asked,
    base_of,
    defaults_of,
    is_whole,
    judged_of,
    keep_verdict,
    render_by_id,
    settle,
    unjudged,
    verdict_by_key,
)
from .times import now
from .verdicts import PROFILES, RENDERED, SHEETS, KeptVerdict, Protocol, Render, protocol_for, protocol_id, protocol_summary, summary_of

if TYPE_CHECKING:
    from sqlite_utils import Database

    from .verdicts import Checkpoint, Judged

T = TypeVar("T")

KIND = "validation"
PROMPTS, LONGEST = 8, 1_000  # of a person's own, and characters of each
SLOT = "{T}"
PROMPT = r"^[^\x00-\x1f\x7f]*\{T\}[^\x00-\x1f\x7f]*$"
TIMES = 4                    # the embedding in one of them: each may have 75 vectors, and the UNet hears every chunk at every step
AT_ONCE = 1_000              # jobs that are written together
WAITING = 10_000             # jobs after which nobody may ask one by one; `pending` is the operator's own


class Wanted(Struct, frozen=True, kw_only=True):
    """How something is to be validated. `checkpoint`: a name; without one the default of the embedding's base.

    `sheets` and `prompts` (with {T} for the embedding) add pictures.
    """

    checkpoint: str | None = None
    profile: str = "standard"
    sheets: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()


class Validation(Struct, frozen=True, kw_only=True):
    """A job. `state`: waiting, running, done (then it has a verdict, unless the embedding was removed since) or failed (then it says why).

    `attempt`: how often a worker began it. `checkpoint` and `protocol`: as a verdict has them.
    """

    id: int
    digest: str
    state: str
    asked: str
    changed: str
    attempt: int
    checkpoint: dict[str, Any]
    protocol: dict[str, Any]
    verdict: KeptVerdict | None = None
    failed: Failure | None = None


class Given(Struct, frozen=True):
    """The input of a job."""

    checkpoint: dict[str, Any]
    protocol: Protocol


def checked(wanted: Wanted) -> Wanted:
    """The same with its sheets in one order, so that the same question looks the same. BadParameter for what means nothing."""
    if wanted.profile not in PROFILES:
        raise BadParameter("profile", wanted.profile, f"one of {', '.join(PROFILES)}", PROFILES)
    for sheet in wanted.sheets:
        if sheet not in SHEETS:
            raise BadParameter("sheets", sheet, f"some of {', '.join(SHEETS)}", SHEETS)
    if len(wanted.prompts) > PROMPTS:
        raise BadParameter("prompts", f"{len(wanted.prompts)} of them", f"at most {PROMPTS}")
    for prompt in wanted.prompts:
        if len(prompt) > LONGEST or not re.fullmatch(PROMPT, prompt):
            raise BadParameter("prompts", prompt, f"a line of at most {LONGEST:,} characters with {{T}} where the embedding is to stand")
        if prompt.count(SLOT) > TIMES:
            raise BadParameter("prompts", prompt, f"a prompt with the embedding at most {TIMES} times")
    sheets = {*wanted.sheets, *(("prompts",) if wanted.prompts else ())}
    return replace(wanted, sheets=tuple(sheet for sheet in SHEETS if sheet in sheets), prompts=tuple(dict.fromkeys(wanted.prompts)))


def checkpoint_for(db: Database, base: str | None, name: str | None) -> Checkpoint:
    """The checkpoint of that name, or the default of a base. UnknownCheckpoint, CannotRender, NoCheckpoint."""
    if name is not None:
        return checkpoint_of(db, name)
    if base is None or base not in RENDERED:
        raise CannotRender(base, RENDERED)
    found = defaults_of(db).get(base)
    if found is None:
        raise NoCheckpoint(base)
    return found


def protocol_of(checkpoint: Checkpoint, wanted: Wanted) -> Protocol:
    """How a checkpoint judges what is asked so."""
    return protocol_for(checkpoint.base, checkpoint.size, name=wanted.profile, sheets=wanted.sheets, prompts=wanted.prompts)


def batch_of(asked: Asked) -> str:
    """Jobs with the same can share a batch: the checkpoint first, since loading another takes long."""
    return f"{asked.fingerprint}:{protocol_id(asked.protocol)}"


def question(db: Database, ref: str, wanted: Wanted) -> Asked:
    """What is meant. Raises what `resolve` and `checkpoint_for` do, and BadParameter."""
    wanted = checked(wanted)
    id_ = resolve(db, ref)
    checkpoint = checkpoint_for(db, base_of(db, id_), wanted.checkpoint)
    return Asked(digest_of(db, id_), summary_of(checkpoint), protocol_of(checkpoint, wanted))


def ask(store: Store, ref: str, wanted: Wanted) -> KeptVerdict | Validation:
    """The answer, where there is one; else the job that is to find it, a new one only where none waits or runs.

    What ended in an error, or has lost pictures since, may be asked again. Raises TooManyWaiting, and what `question` does.
    """
    asked = question(store.read, ref, wanted)
    found = answer(store.read, asked) or store.write(partial(enqueue, asked=asked, at=now(), most=WAITING))
    return found if isinstance(found, KeptVerdict) else one(store, found)


def answer(db: Database, asked: Asked) -> KeptVerdict | None:
    """The verdict that answers a question; an error does not, nor one that has lost pictures."""
    known = verdict_by_key(db, asked.key)
    return known if known is not None and known.verdict.state != "error" and is_whole(db, known) else None


def asked_in(ref: str, given: Any) -> Asked:
    """The question of a job, from its reference and its input."""
    found = msgspec.convert(given, Given)
    return Asked(ref, found.checkpoint, found.protocol)


def enqueue(db: Database, asked: Asked, at: str, most: int | None = None) -> KeptVerdict | int:
    """The number of the job, or the answer, which a worker may have found since anybody looked. Raises TooManyWaiting beyond `most`."""
    given = Given(asked.summary, asked.protocol)
    return answer(db, asked) or add_waiting(db, KIND, asked.digest, given, at, key=asked.key, batch=batch_of(asked), most=most)


How = Callable[["Checkpoint"], Protocol]


def pending(store: Store, wanted: Wanted, *, base: str | None = None, limit: int | None = None, how: How | None = None) -> list[int]:
    """Ask for everything of a base, or of all bases that have a checkpoint, that has no verdict yet; the numbers of the jobs.

    Behind that comes what ended in an error. `how` is the protocol for a checkpoint, where it is another than `protocol_of` makes.
    """
    wanted = checked(wanted)
    numbers: list[int] = []
    for again, (each, checkpoint) in product((False, True), bases(store.read, base, wanted.checkpoint).items()):
        protocol = how(checkpoint) if how else protocol_of(checkpoint, wanted)
        left = None if limit is None else limit - len(numbers)
        digests = unjudged(store.read, each, checkpoint.fingerprint, protocol, left, again=again)
        for start in range(0, len(digests), AT_ONCE):
            some = [Asked(digest, summary_of(checkpoint), protocol) for digest in digests[start : start + AT_ONCE]]
            numbers += store.write(partial(enqueue_all, some=some, at=now()))
    return numbers


def enqueue_all(db: Database, some: Sequence[Asked], at: str) -> list[int]:
    """The jobs of several."""
    return [found for asked in some if isinstance(found := enqueue(db, asked, at), int)]


def changing(store: Store, work: Callable[[Database], T]) -> T:
    """Change which checkpoints there are. Where a base has another default then, its embeddings show that one's verdicts."""

    def both(db: Database) -> tuple[T, list[str]]:
        before, made, after = defaults_of(db), work(db), defaults_of(db)
        return made, [base for base in {*before, *after} if fingerprint(before.get(base)) != fingerprint(after.get(base))]

    made, others = store.write(both)
    for base in others:
        ids = judged_of(store.read, base)
        for start in range(0, len(ids), AT_ONCE):
            store.write(partial(settle, ids=ids[start : start + AT_ONCE], at=now()))
    return made


def fingerprint(checkpoint: Checkpoint | None) -> str:
    """Of a checkpoint, if there is one."""
    return checkpoint.fingerprint if checkpoint else ""


def bases(db: Database, base: str | None, name: str | None) -> dict[str, Checkpoint]:
    """The bases that are to be validated with the checkpoint of each."""
    if name is not None:
        named = checkpoint_of(db, name)
        return {base or named.base: named}
    if base is not None:
        return {base: checkpoint_for(db, base, None)}
    found = defaults_of(db)
    if not found:
        raise NoCheckpoint("any base")
    return found


def one(store: Store, number: int) -> Validation:
    """A job by its number; UnknownValidation."""
    job = job_of(store.read, KIND, number)
    if job is None:
        raise UnknownValidation(str(number))
    return shown(store.read, job)


def shown(db: Database, job: Job) -> Validation:
    """A job with its verdict, or why it has none."""
    asked = asked_in(job.ref, job.input)
    return Validation(
        id=job.id, digest=job.ref, state=job.state, asked=job.created, changed=job.changed, attempt=job.attempt, checkpoint=asked.summary,
        protocol=protocol_summary(asked.protocol),
        verdict=verdict_by_key(db, job.key or asked.key) if job.state == "done" else None,
        failed=msgspec.convert(job.result, Failure) if job.state == "failed" else None,
    )  # fmt: skip


def picture(store: Store, blobs: Blobs, id: str) -> bytes:  # noqa: A002  # as a Render has it
    """The WebP of a render; UnknownRender for whatever is none, or is lost."""
    wanted = id.lower()
    if len(wanted) != 64 or render_by_id(store.read, wanted) is None:
        raise UnknownRender(id)
    try:
        return blobs.read(wanted)
    except UnknownFile as exc:
        raise UnknownRender(id) from exc


def keep(store: Store, blobs: Blobs, asked: Asked, judged: Judged, held: Lease | None = None) -> KeptVerdict | None:
    """Keep a verdict and its pictures, bytes before rows. With a lease: None, and nothing is kept, where another has the job by now.

    Raises Gone where the embedding was removed meanwhile.
    """
    writers = [blobs.writer() for _ in judged.pictures]
    names: list[str] = []
    try:
        renders = []
        for writer, picture in zip(writers, judged.pictures, strict=True):
            writer.write(picture.webp)
            names.append(writer.keep())
            renders.append(Render(id=names[-1], size=len(picture.webp), cell=picture.cell))

        def work(db: Database) -> tuple[KeptVerdict, list[str]] | None:
            at = now()
            if held is not None and not finish(db, held, "done", {"verdict": asked.key}, at):
                return None
            for writer in writers:
                writer.again()  # a removal may have taken the same bytes away meanwhile
            return keep_verdict(db, asked, judged.verdict, renders, at)

        done = store.write(work)
    except BaseException:
        drop(store, blobs, names)
        raise
    finally:
        for writer in writers:
            writer.discard()
    with contextlib.suppress(RegistryError):  # the verdict is kept; bytes that stay are swept at the next start
        drop(store, blobs, done[1] if done else names)
    return done[0] if done else None
