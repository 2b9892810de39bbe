"""What lies in a folder and below it: the files that may be embeddings, each with what stands beside it, and by what a change is known."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict

from msgspec import Struct

from embconv.converters.convert import Outcome
from embconv.converters.folders import PICTURES, is_candidate, walk

from .pictures import SUFFIXES
from .told import ENDINGS

OF_FOLDERS = ("token_identifier.txt", "special_params.json")  # what the converters read of a whole folder
SETTLED = 2_000_000_000  # nanoseconds; some file systems tell times no finer, so that a younger file may change unseen


class There(Struct, frozen=True, kw_only=True):
    """A file that may be an embedding. `key`: its path within the folder; `mark` changes with it or with what stands beside it.

    `told` are its sidecars, `shown` its pictures, the one named for that first.
    """

    path: str
    key: str
    mark: str
    told: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()


class Scan(Struct, frozen=True, kw_only=True):
    """What a folder holds: files by key, pictures before others; folders nobody may read; files whose names are no text."""

    files: dict[str, There]
    trouble: tuple[Outcome, ...] = ()
    odd: tuple[str, ...] = ()

    def hides(self, path: str) -> bool:
        """Is it in a folder that could not be read?"""
        return any(path.startswith(os.path.join(outcome.path, "")) for outcome in self.trouble)


def scan(root: str, *, but: str, before: int) -> Scan:
    """Look at `root`, without the folder `but`. A file that was written since shortly `before` has no mark: it is looked at again."""
    found, _, trouble = walk(root, recursive=True, but=but)
    names: dict[str, dict[str, str]] = defaultdict(dict)  # folder -> name, regardless of case -> path
    for path in found:
        folder, name = os.path.split(path)
        names[folder][name.lower()] = path
    files, odd = {}, []
    for path in sorted(filter(is_candidate, found), key=lambda path: (not is_picture(path), path)):
        key = os.path.relpath(path, root).replace(os.sep, "/")
        if not key.isprintable() and not is_text(key):
            odd.append(path)
            continue
        folder, name = os.path.split(path)
        beside, pictures = told_beside(name, names[folder]), pictures_beside(path, names[folder])
        watched = (path, *beside, *pictures, *(names[folder][each] for each in OF_FOLDERS if each in names[folder]))
        files[key] = There(path=path, key=key, mark=mark(watched, before - SETTLED), told=beside, shown=pictures)
    return Scan(files=files, trouble=tuple(trouble), odd=tuple(odd))


def is_picture(path: str) -> bool:
    """May it be a picture, by its name?"""
    return os.path.splitext(path)[1].lower() in PICTURES


def is_text(name: str) -> bool:
    """Can it be written down?"""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def told_beside(name: str, names: dict[str, str]) -> tuple[str, ...]:
    """The sidecars of a file, of those that there are."""
    stem = os.path.splitext(name)[0].lower()
    return tuple(names[stem + ending] for ending in ENDINGS if stem + ending in names)


def pictures_beside(path: str, names: dict[str, str]) -> tuple[str, ...]:
    """Its previews: `X.preview.png` before `X.png`. Whether one is an embedding itself is not known yet."""
    stem = os.path.splitext(os.path.basename(path))[0].lower()
    called = (f"{stem}{between}{suffix}" for between in (".preview", "") for suffix in SUFFIXES)
    return tuple(names[each] for each in called if each in names and names[each] != path)


def mark(paths: tuple[str, ...], settled: int) -> str:
    """Sizes and times of these files; nothing where one is so young that it may still be written."""
    facts = []
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            facts.append(f"{os.path.basename(path)} gone")
            continue
        if found.st_mtime_ns > settled:
            return ""
        facts.append(f"{os.path.basename(path)} {found.st_size} {found.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
