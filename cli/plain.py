"""`embconv IN OUT`: the commonest command, with nothing imported that it does not need."""

from __future__ import annotations

import sys

from embconv.converters.convert import Options, convert
from embconv.converters.errors import EmbconvError

from .say import outcome_lines, say_error, say_notes


def convert_file(source: str, dest: str) -> int:
    """Convert one file; the exit code."""
    try:
        (outcome,) = convert(source, dest, Options())
    except EmbconvError as exc:
        say_error(exc)
        return 1
    say_notes(outcome)
    sys.stdout.write("\n".join(outcome_lines(outcome)) + "\n")
    return 0
