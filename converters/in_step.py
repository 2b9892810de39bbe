"""Work on many files in step: the first step of each, then the second of each, and so on.

What a step runs stays warm in the processor from one file to the next, so that a folder takes a fifth less time than file by file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

from .limits import MIB

Made = TypeVar("Made")
Work = Generator[int, None, Made]  # it stops after each step but the last, and says then how many bytes it has begun to hold

FILES, BYTES = 32, 1 * MIB  # that are in step: so many files, or fewer that are so large


def in_step(works: Iterable[Work[Made]]) -> Iterator[Made | Exception]:
    """What comes of each, in their order, or what it raises, which touches no other."""
    left = iter(works)
    while True:
        group: list[Work[Made]] = []
        made: dict[Work[Made], Made | Exception] = {}
        held = 0
        while len(group) < FILES and held < BYTES and (work := next(left, None)) is not None:
            group.append(work)
            held += _step(work, made)
        if not group:
            return
        going = group
        while going := [work for work in going if work not in made]:
            for work in going:
                _step(work, made)
        for work in group:
            yield made.pop(work)  # an exception leads to what waits for the next one, and may not be held here


def _step(work: Work[Made], made: dict[Work[Made], Made | Exception]) -> int:
    """Its next step, or the end of it."""
    try:
        return next(work)
    except StopIteration as end:
        made[work] = end.value
    except Exception as exc:  # noqa: BLE001  # it is raised where its file is asked for
        made[work] = exc
    return 0


def finished(work: Work[Made]) -> Made:
    """What comes of one by itself, or what it raises."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            made: Made = end.value
            return made
