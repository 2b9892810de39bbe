"""Work on many files in step: the first step of each, then the second of each, and so on.

What a step runs stays warm in the processor from one file to the next, so that a folder takes about a fifth less time than file by file.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from .limits import MIB

Made = TypeVar("Made")
Work = Generator[int, None, Made]  # it stops after each step but the last, and says how many bytes that may have put into memory

FILES, BYTES = 32, 1 * MIB  # that are in step: so many files, or fewer that have put so much into memory


def in_step(works: Iterable[Work[Made]]) -> Iterator[Made | Exception]:
    """What comes of each, in their order, or what it raises, which touches no other.

    Where a step of some takes much memory, the others wait with it until those have ended.
    """
    left = iter(works)
    while group := list(islice(left, FILES)):
        made: dict[Work[Made], Made | Exception] = {}
        waiting = [group]  # the last is the furthest
        while waiting:
            group = waiting.pop()
            done = _together(group, made)
            if done < len(group):
                waiting.append(group[done:])
                group = group[:done]
            if all(work in made for work in group):
                for work in group:
                    yield made.pop(work)  # an exception leads to what waits for the next one, and may not be held here
            else:
                waiting.append(group)


def _together(group: Sequence[Work[Made]], made: dict[Work[Made], Made | Exception]) -> int:
    """The next step of each that has not ended, or of those at the front that fill the memory; how many."""
    held = 0
    for place, work in enumerate(group):
        if held >= BYTES:
            return place
        if work not in made:
            held += _step(work, made)
    return len(group)


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
