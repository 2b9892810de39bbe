"""What stands in folders: the files that may be embeddings, each with the name its output gets by a stated rule."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from .convert import Outcome, failure
from .display import quoted
from .errors import EmbconvError
from .paths import beside, name_of, stem_of, suffix_of
from .sidecars import ENDINGS as SIDECAR_ENDINGS

CANDIDATES = (".pt", ".bin", ".safetensors", ".pti", ".ckpt", ".pth", ".npy", ".emb", ".embedding")
PICTURES = (".png", ".webp", ".avif", ".jxl")
KINDS = (*CANDIDATES, *PICTURES)
SECOND = re.compile(r"learned_embeds_2((-steps-\d+)?)", re.IGNORECASE)


class Unit(Struct, frozen=True, kw_only=True, gc=False):
    """Files that want the same target, in the order in which they get it; `pair` are two halves of one embedding.

    `told`: there may be sidecars beside them. `new`: nothing had the target's name, in any case of letters.
    """

    sources: tuple[str, ...]
    target: str
    pair: bool = False
    told: bool = True
    new: bool = False


class Found(Struct, frozen=True, kw_only=True):
    """What a folder holds: the units to convert, how many other files there are, and the folders nobody may read."""

    units: list[Unit]
    others: int
    trouble: list[Outcome]


def find(folder: str, *, suffix: str, recursive: bool, out: str | None) -> Found:
    """Every candidate below `folder`, by name, with its target: beside it, or in the same place below `out`.

    Symbolic links to folders are not followed, so that no loop catches us; what we wrote into `out` before is no input.
    """
    found, special, trouble = walk(folder, recursive=recursive, but=out)
    files = [path for path in found if is_candidate(path)]
    halves = pairs_in(files)
    seconds, homes = set(halves.values()), dict[str, str]()
    wanted: dict[str, str] = {}
    for path in files:
        if path in seconds:
            continue
        name = name_of(path)
        here = path[: -len(name)]
        if here not in homes:
            homes[here] = os.path.join(home_of(os.path.dirname(path), folder, out), "")
        wanted[path] = homes[here] + os.path.splitext(name)[0] + suffix
    telling = {os.path.dirname(path) for path in found if path.lower().endswith(SIDECAR_ENDINGS)}
    there = standing(homes.values())
    units = [unit(files, target, halves, telling, new=is_new(target, there)) for target, files in meeting(wanted)]
    return Found(units=units, others=special + len(found) - len(files), trouble=trouble)


def standing(folders: Iterable[str]) -> set[str] | None:
    """The paths in these folders, all letters small; None where one of them cannot be listed."""
    found: set[str] = set()
    for folder in folders:
        try:
            found.update(os.path.join(folder, name).casefold() for name in os.listdir(folder))
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return found


def is_new(target: str, there: set[str] | None) -> bool:
    """Is there surely nothing at `target`?"""
    return there is not None and target.casefold() not in there


def meeting(wanted: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Each target with its sources; names that differ in case only are one, as most people's file systems have it."""
    if len({target.casefold() for target in wanted.values()}) == len(wanted):
        yield from ((target, [path]) for path, target in wanted.items())
        return
    alike: dict[tuple[str, str], dict[str, list[str]]] = {}
    for path, target in wanted.items():
        here, name = os.path.split(target)
        alike.setdefault((here, name.casefold()), {}).setdefault(target, []).append(path)
    for spelled in alike.values():
        if len(spelled) == 1:
            yield from spelled.items()
            continue
        there = [target for target, paths in spelled.items() if target in paths]
        if len(there) > 1:  # several that stand there already are told apart by this file system
            yield from spelled.items()
        else:
            yield next(iter(there or spelled)), [path for paths in spelled.values() for path in paths]


def home_of(here: str, folder: str, out: str | None) -> str:
    """Where the outputs for the files in `here` go: there, or the same place below `out`."""
    return os.path.normpath(os.path.join(out, os.path.relpath(here, folder))) if out else here


def pairs_in(files: list[str]) -> dict[str, str]:
    """For each first half of a diffusers SDXL pair its second."""
    second = {half: path for path in files if (half := first_half(path))}
    return {path: second[path] for path in files if path in second} if second else {}


def is_candidate(path: str) -> bool:
    """May this be an embedding, by its name? Hidden files are somebody's own business."""
    return path.lower().endswith(KINDS) and not name_of(path).startswith(".")


def unit(sources: list[str], target: str, halves: dict[str, str], telling: set[str] | None = None, *, new: bool = False) -> Unit:
    """The files of one target; with the other half where there is one. `telling` are the folders with sidecars, if that is known."""
    if len(sources) == 1 and sources[0] in halves:
        return Unit(sources=(sources[0], halves[sources[0]]), target=target, pair=True)
    told = telling is None or (bool(telling) and any(os.path.dirname(path) in telling for path in sources))
    several = len(sources) > 1
    return Unit(sources=tuple(sorted(sources, key=precedence) if several else sources), target=target, told=told, new=new and not several)


def precedence(path: str) -> tuple[int, str]:
    """Who gets a name that several files want: .pt before .bin before .safetensors and so on, pictures last."""
    suffix = suffix_of(path).lower()
    return (KINDS.index(suffix) if suffix in KINDS else len(KINDS)), path


def first_half(path: str) -> str | None:
    """For diffusers' `learned_embeds_2.safetensors` the path of `learned_embeds.safetensors`."""
    match = "earned_embeds_2" in path and SECOND.fullmatch(stem_of(path))
    return beside(path, f"learned_embeds{match[1]}{suffix_of(path)}") if match else None


def walk(folder: str, *, recursive: bool, but: str | None = None) -> tuple[list[str], int, list[Outcome]]:
    """All files below a folder by name, `but` one folder left out; how many pipes and devices; folders that cannot be read."""
    found: list[str] = []
    special, trouble, waiting = 0, [], [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as exc:
            trouble.append(failure(here, CannotRead(here, exc.strerror or str(exc))))
            continue
        kinds = [(kind_of(entry), entry.path) for entry in entries]
        found += [path for kind, path in kinds if kind == "file"]
        special += sum(kind == "special" for kind, _ in kinds)
        if recursive:
            folders = [path for kind, path in kinds if kind == "folder"]
            waiting += [path for path in reversed(folders) if but is None or os.path.abspath(path) != os.path.abspath(but)]
    return found, special, trouble


def kind_of(entry: os.DirEntry[str]) -> str:
    """file, folder, link to a folder (not followed, so that no loop catches us), or special: pipes and devices."""
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "link"
        entry.stat()
    except OSError:
        return "file"  # a broken link: reading it says why
    return "special"


class CannotRead(EmbconvError):
    """A folder that the system does not let us read."""

    code = "unreadable_file"

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"The folder {quoted(name)} cannot be read: {why}.", "Check its rights.")
