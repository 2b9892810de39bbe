"""How results and errors are put into words; names from files are always made printable."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from embconv.converters.display import printable, quoted
from embconv.converters.names import safe_stem
from embconv.converters.paths import stem_of

if TYPE_CHECKING:
    from embconv.converters.convert import Failure, Outcome
    from embconv.converters.errors import EmbconvError
    from embconv.converters.targets import Target

DONE = {"converted": "written", "already_there": "already there", "would_convert": "would be written", "repaired": "written"}

OWN_NAMES: dict[str, Callable[[str], str]] = {  # programs that make another name of a file's stem
    "sdcpp": str.lower,
    "sdkit": lambda stem: stem.lower().partition(".")[0].replace(" ", "_"),
}


def say_error(exc: EmbconvError) -> None:
    """One sentence, the code, and what to do, on stderr."""
    print("\n".join(error_lines(exc)), file=sys.stderr)


def error_lines(error: EmbconvError | Failure) -> list[str]:
    """An error in words."""
    return [f"Error: {error.says}  [{error.code}]", *([f"  {error.hint}"] if error.hint else [])]


def say_notes(outcome: Outcome, target: Target | None = None) -> None:
    """What the user should know although all went well, on stderr."""
    for note in (*outcome.notes, *stem_note(outcome, target)):
        print(f"Note: {printable(note, 600)}", file=sys.stderr)


def stem_note(outcome: Outcome, target: Target | None = None) -> tuple[str, ...]:
    """A word on the trigger where the file is called otherwise, for most programs go by the file."""
    trigger, path = outcome.trigger or "", outcome.written or ""
    stem = stem_of(path)
    own = OWN_NAMES.get(target.name) if target else None
    called = own(stem) if own else stem
    if called in (trigger, safe_stem(trigger), trigger.strip("<>")) or path.lower().endswith(".png"):
        return ()
    if target and own:
        return (f"The trigger is {quoted(trigger)}; {target.title} will call it {quoted(called)}.",)
    says = f"The trigger is {quoted(trigger)}; programs that go by the file's name, as A1111 and ComfyUI do, will call it {quoted(stem)}."
    return (says,)


def outcome_lines(outcome: Outcome) -> list[str]:
    """A conversion in words; the last line is the path."""
    proof = "" if outcome.status == "would_convert" else ", read back equal"
    return [
        f"{printable(outcome.path)}: {printable(outcome.about)}, trigger {quoted(outcome.trigger or '')}",
        f"{DONE[outcome.status]}: {outcome.layout}, {outcome.size:,} bytes{proof}, {outcome.digest}",
        shown(outcome.written or ""),
    ]


def shown(path: str) -> str:
    """A path written: as it is for a script that reads it, printable on a terminal."""
    return printable(path, len(path)) if sys.stdout.isatty() else path


def failure_lines(outcome: Outcome) -> list[str]:
    """A refusal in words."""
    assert outcome.error is not None
    hint = [f"  {outcome.error.hint}"] if outcome.error.hint else []
    says = without_name(outcome.error.says, outcome.path)
    return [f"{outcome.status.capitalize()} {printable(outcome.path)}: {says}  [{outcome.error.code}]", *hint]


def without_name(says: str, path: str) -> str:
    """A sentence about a file whose path was just said, without the file's name at its beginning."""
    return says.removeprefix(quoted(os.path.basename(path))).removeprefix(":").lstrip()
