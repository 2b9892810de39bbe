"""`embconv validate REF --registry URL`: a server's queue is asked, one of its workers renders, and the verdict is told as one of ours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from embconv.converters import EmbconvError
from embconv.converters.bases import counted
from embconv.converters.convert import Failure, failure

from .app import progress
from .registries import COULD_NOT_RUN
from .validate_given import Given, looks_like_a_path, refused
from .validate_sheets import Sheets, must_be_free, places
from .validate_with import SUFFIXES, How, parted
from .validate_words import Told

if TYPE_CHECKING:
    from embconv.registry.registry import Registry
    from embconv.registry.validation.parts import Subject
    from embconv.registry.validations import Validation, Wanted
    from embconv.registry.verdicts import Judged, KeptVerdict, Picture

    Answer = KeptVerdict | Validation

EVERY = 1.0     # seconds between looks at a job
PATIENCE = 8.0  # seconds that the first may wait before it is said what it waits for


def where(paths: Sequence[str], given: dict[str, Any]) -> str | None:
    """The server that is asked: one that is named, or that of EMBCONV_REGISTRY for references. None: all is done on this machine."""
    told = given["registry"]
    if told and given["home"]:
        raise click.UsageError("Choose one of --home and --registry.")
    url: str | None = told or (None if given["home"] else os.environ.get("EMBCONV_REGISTRY"))
    files = [path for path in paths if os.path.lexists(path) or looks_like_a_path(path)]
    if told and given["pending"]:
        raise click.UsageError("--pending renders in this process, for a registry of this machine; a server has `embconv worker`.")
    if given["pending"] or (not told and len(files) == len(paths)):
        url = None
    elif url and files:
        raise click.UsageError(f"{files[0]!r} is a file; a server renders what it has. Add the file, or give --home to render it here.")
    if given["key_file"] and not url:
        raise click.UsageError("--key-file is for a --registry.")
    return url


def validated(registry: Registry, refs: Sequence[str], options: How, given: dict[str, Any]) -> Iterator[Told]:
    """What became of each, in their order, as it is known. What only this machine could do is a usage error."""
    wanted = replace(options.wanted, checkpoint=checkpoint(given["checkpoints"]))
    must_be_plain(options, given)
    if given["out"]:
        from embconv.registry.validation import extra

        extra.need()  # what lays a sheet out knows samplers by diffusers
    found = [looked_up(registry, ref) for ref in dict.fromkeys(refs)]
    sheets = Sheets(places(found, given["out"], folder=len(found) != 1), given["force"])
    must_be_free(sheets)
    asked = [(each, each.error or asking(registry, each, wanted)) for each in found]
    advance, stop = progress(len(asked), "Validating")
    try:
        with staying([answer for _, answer in asked]):
            for each, answer in asked:
                yield told(registry, each, answer, sheets)
                advance()
    finally:
        stop()


def checkpoint(texts: Sequence[str]) -> str | None:
    """The name of a checkpoint of the server."""
    if len(texts) > 1:
        raise click.UsageError("Give --registry one --checkpoint, or none.")
    for text in texts:
        name = parted(text)[1]
        if os.sep in name or "/" in name or name.lower().endswith(SUFFIXES):
            raise click.UsageError(f"{name!r} is a path; a server renders with its own checkpoints, which are meant by their names.")
        return name
    return None


def must_be_plain(options: How, given: dict[str, Any]) -> None:
    """A usage error for what a server does not let a caller choose."""
    chosen = {**options.changes, "size": options.size, "device": options.device, "compile": options.compiled, "role": given["role"],
              "base": given["base"], "limit": given["limit"]}  # fmt: skip
    wrong = [f"--{name.replace('_', '-')}" for name, value in chosen.items() if value is not None and value is not False]
    if wrong:
        raise click.UsageError(f"{', '.join(wrong)}: not with --registry. A server renders by its profiles: --profile, --sheet, --prompt.")


def looked_up(registry: Registry, ref: str) -> Given:
    """What the server knows of it; refused where that is nothing."""
    from embconv.registry.model import Entry

    try:
        entry = msgspec.json.decode(registry.document(ref), type=Entry)
    except EmbconvError as exc:
        return unless_fatal(ref, exc)
    return Given(path=ref, digest=entry.digest, base=entry.base, trigger=entry.trigger, role=entry.role, entry=entry)


def unless_fatal(ref: str, exc: EmbconvError) -> Given:
    """A refusal of one; what every other would meet too is raised."""
    if exc.code in COULD_NOT_RUN - {"no_checkpoint"}:
        raise exc
    return refused(ref, exc)


def asking(registry: Registry, given: Given, wanted: Wanted) -> Answer | Failure:
    """The verdict or the job, or why there is neither."""
    try:
        return registry.ask_validation(given.digest, wanted)
    except EmbconvError as exc:
        unless_fatal(given.path, exc)
        return Failure(exc.code, exc.says, exc.hint)


@contextmanager
def staying(answers: Sequence[Answer | Failure]) -> Iterator[None]:
    """Ctrl-C ends nothing on the server, and that is said."""
    from embconv.registry.validations import Validation

    try:
        yield
    except KeyboardInterrupt:
        jobs = counted(sum(isinstance(answer, Validation) for answer in answers), "job")
        click.echo(f"What was asked for stays with the server ({jobs}); the same command shows the verdicts.", err=True)
        raise


def told(registry: Registry, given: Given, answer: Answer | Failure, sheets: Sheets) -> Told:
    """What became of one, once it is known."""
    from embconv.registry.verdicts import Judged

    from .validate import finished

    kept = answer if isinstance(answer, Failure) else followed(registry, answer)
    if isinstance(kept, Failure):
        return Told(given, error=None if given.error else kept)
    try:
        pictures = drawn(registry, kept) if given.digest in sheets.paths else ()
    except EmbconvError as exc:
        return Told(given, Judged(digest=given.digest, verdict=kept.verdict), error=failure(given.path, exc).error)
    judged = Judged(digest=given.digest, verdict=kept.verdict, pictures=pictures)
    return finished(given, shape(given), judged, sheets, partial(nothing))


def nothing(verdict: Judged) -> None:
    """The server has kept it."""


def followed(registry: Registry, answer: Answer) -> KeptVerdict | Failure:
    """The verdict, waited for."""
    from embconv.registry.validations import Validation

    waited, said = 0.0, False
    while isinstance(answer, Validation) and answer.state in ("waiting", "running"):
        if answer.state == "waiting" and waited >= PATIENCE and not said:
            click.echo("No worker has begun yet. Beside the server `embconv worker` does what is asked.", err=True)
            said = True
        time.sleep(EVERY)
        waited, answer = waited + EVERY, registry.validation(answer.id)
    if not isinstance(answer, Validation):
        return answer
    return answer.verdict or answer.failed or Failure("gone", "It was removed from the registry meanwhile.", "")


def drawn(registry: Registry, kept: KeptVerdict) -> tuple[Picture, ...]:
    """The pictures of a verdict."""
    from embconv.registry.verdicts import Picture

    return tuple(Picture(cell=each.cell, webp=registry.render(each.id)) for each in kept.renders)


def shape(given: Given) -> Subject:
    """A subject as a sheet shows it: how many vectors and how wide, not what they are."""
    import numpy as np

    from embconv.registry.validation.parts import Subject

    assert given.entry is not None
    vectors = {key: np.zeros((one.vectors, one.width), np.float32) for key, one in given.entry.encoders.items()}
    return Subject(digest=given.digest, name=given.entry.name, trigger=given.trigger, vectors=vectors, base=given.base, role=given.role)
