"""What lies where in the folder of a registry."""

from __future__ import annotations

import os

DATABASE = "registry.db"


def database(home: str) -> str:
    """SQLite's file; its log stands beside it."""
    return os.path.join(os.path.abspath(home), DATABASE)


def blobs(home: str) -> str:
    """The folder of bytes: sha256/ab/<hex>, tmp for what is being written, rotten for what was set aside."""
    return os.path.join(os.path.abspath(home), "blobs")


def cache(home: str) -> str:
    """The folder of converted forms, which may be emptied at any time."""
    return os.path.join(os.path.abspath(home), "cache")


def spool(home: str) -> str:
    """The folder of files that were fetched and not yet taken in, so that no kill makes us fetch them again."""
    return os.path.join(os.path.abspath(home), "spool")


def sync_lock(home: str, source: str) -> str:
    """The file that is locked while a sync of a source runs."""
    return os.path.join(os.path.abspath(home), f"sync-{source}.lock")


def workers(home: str) -> str:
    """The folder in which each worker that lives has a locked file of its own."""
    return os.path.join(os.path.abspath(home), "workers")


def has_bytes(home: str) -> bool:
    """Are there bytes already? Then a database that is only now made does not name them."""
    try:
        with os.scandir(os.path.join(blobs(home), "sha256")) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
