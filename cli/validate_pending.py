"""`embconv validate --pending`: everything in the registry that has no verdict yet, in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins
from msgspec.structs import replace

from embconv.converters.convert import Failure
from embconv.converters.display import quoted
from embconv.converters.errors import EmbconvError

from .app import as_json, progress
from .registries import local
from .validate_with import How, parted, protocol, tools
from .validate_words import GOOD, brief_words, counts

if TYPE_CHECKING:
    from embconv.registry.verdicts import KeptVerdict

    Outcome = KeptVerdict | EmbconvError


class Listener:
    """Hears how each job ended, and says it."""

    def __init__(self, style: str, name: Callable[[str], str]) -> None:
        self.style, self.name = style, name
        self.states: list[str] = []
        self.documents: list[dict[str, Any]] = []
        self.advance, self.stop = progress(0, "Validating")

    def asked(self, count: int) -> None:
        """So many are to be judged."""
        self.advance, self.stop = progress(count, "Validating")

    def heard(self, digest: str, outcome: Outcome) -> None:
        """One of them."""
        self.advance()
        self.states.append("refused" if isinstance(outcome, EmbconvError) else outcome.verdict.state)
        if self.style == "json":
            self.documents.append(document(digest, outcome))
        elif self.style == "nl":
            click.echo(as_json(document(digest, outcome)))
        elif self.style == "quiet":
            click.echo(self.states[-1])
        elif isinstance(outcome, EmbconvError):
            click.echo(f"Refused {digest}: {outcome.says}  [{outcome.code}]", err=True)
        else:
            click.echo("\n".join(brief_words(f"{quoted(self.name(digest))}  {digest[:16]}", outcome.verdict)))


def document(digest: str, outcome: Outcome) -> dict[str, Any]:
    """One of them as JSON."""
    if isinstance(outcome, EmbconvError):
        return {"digest": digest, "error": to_builtins(Failure(outcome.code, outcome.says, outcome.hint))}
    return {"digest": digest, **to_builtins(outcome.verdict)}


def pending(paths: Sequence[str], options: How, style: str, given: dict[str, Any]) -> int:
    """Judge everything that waits, and keep it; the exit code."""
    from embconv.registry.validation.worker import drain

    must_be_alone(paths, given)
    wanted = replace(options.wanted, checkpoint=named(given["checkpoints"], given["base"]))
    with closing(local(given["home"], create=False)) as registry:
        listener = Listener(style, lambda digest: str(json.loads(registry.document(digest))["name"]))
        try:
            drain(registry.where, partial(tools, options), wanted, base=given["base"], limit=given["limit"],
                  how=lambda checkpoint: protocol(checkpoint, options), heard=listener.heard, asked=listener.asked)  # fmt: skip
        except KeyboardInterrupt:
            listener.stop()
            click.echo(f"{len(listener.states):,} verdicts are kept; run the same command again to go on.", err=True)
            raise
        finally:
            listener.stop()
    if style == "json":
        click.echo(as_json(listener.documents, indent=2))
    elif style == "text":
        click.echo(counts(listener.states) or "Nothing waits: everything that can be rendered has a verdict.")
    return 0 if all(state in GOOD for state in listener.states) else 1


def must_be_alone(paths: Sequence[str], given: dict[str, Any]) -> None:
    """What makes no sense with --pending is a usage error."""
    if paths:
        raise click.UsageError("--pending is for what is in the registry; leave the files out, or leave --pending out.")
    for name, option in (("out", "-o"), ("role", "--role"), ("force", "--force")):
        if given[name]:
            raise click.UsageError(f"{option} is not for --pending: the registry keeps its verdicts and pictures.")


def named(texts: Sequence[str], base: str | None) -> str | None:
    """The checkpoint of the registry that is meant."""
    if len(texts) > 1:
        raise click.UsageError("Give --pending one --checkpoint, or none.")
    for text in texts:
        own, where = parted(text)
        if os.path.lexists(where):
            raise click.UsageError(f"--pending takes a checkpoint of the registry by its name: embconv checkpoints add {where}")
        if own and base and own != base:
            raise click.UsageError(f"--checkpoint is for {own}, --base says {base}.")
        return where
    return None
