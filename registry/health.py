"""Is all well with the registry, and how much is there of everything: what /health and /metrics tell."""

from __future__ import annotations

import asyncio
import shutil
import time
from concurrent.futures import Executor
from importlib.metadata import version

from msgspec import Struct

from embconv.converters import EmbconvError
from embconv.converters.display import printable

from .settings import Settings
from .store import Store, check_writable, counts
from .uploads import in_thread

TRIED = 5.0      # seconds for which a try of the disk counts
OLD = 20.0       # after which it is waited for a new one
COUNTED = 10.0   # seconds for which counts of rows do
ENOUGH = 64 << 20  # bytes of free disk below which nothing is well


class Health(Struct, frozen=True, kw_only=True):
    """`status`: ok or failing. `writable`: a small write succeeded in the last seconds; `disk_free`: bytes left; `version`: embconv's."""

    status: str
    writable: bool
    disk_free: int
    says: str
    version: str


class Pulse:
    """The last try of whether the registry can write, and the try that runs. Used by the event loop only."""

    def __init__(self, settings: Settings, store: Store, threads: Executor) -> None:
        self._settings, self._store, self._threads = settings, store, threads
        self.last: Health | None = None
        self.at = 0.0
        self.running: asyncio.Task[Health] | None = None

    async def take(self) -> Health:
        """The last answer while it is young, and meanwhile a new one; a disk that hangs must not make this hang for ever."""
        age = time.monotonic() - self.at
        if self.last is None or age > TRIED:
            if self.running is None or self.running.done():
                self.running = asyncio.create_task(self.renew())
            if self.last is None or age > OLD:
                return await asyncio.shield(self.running)
        return self.last

    async def renew(self) -> Health:
        """Try now."""
        self.last = await in_thread(self._threads, tried, self._settings, self._store)
        self.at = time.monotonic()
        return self.last


def tried(settings: Settings, store: Store) -> Health:
    """Change something and nothing, and look how much room is left."""
    free, says = 0, ""
    try:
        free = shutil.disk_usage(settings.home).free
        store.write(check_writable)
    except (EmbconvError, OSError) as exc:
        says = exc.says if isinstance(exc, EmbconvError) else printable(exc.strerror or str(exc))
    writable = not says
    if writable and free < ENOUGH:
        says = "The disk is nearly full."
    return Health(status="failing" if says else "ok", writable=writable, disk_free=free, says=says, version=version("embconv"))


class Gauges:
    """How much there is of everything, counted anew every few seconds at most."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store, self._at = settings, store, -COUNTED
        self._found: dict[str, tuple[str, float]] = {}

    def __call__(self) -> dict[str, tuple[str, float]]:
        if time.monotonic() - self._at > COUNTED:
            found = counts(self._store.read)
            free = shutil.disk_usage(self._settings.home).free
            says = {"embeddings": "Embeddings.", "removed": "Tombstones of removed embeddings.", "blocked": "Tombstones of blocked ones.",
                    "files": "Files.", "bytes": "Bytes of all files.", "origins": "Lines of origin.", "refusals": "Lines of refusal.",
                    "keys": "Keys that were not revoked.", "verdicts": "Verdicts of test renders.",
                    "validations": "Test renders that wait or run."}  # fmt: skip
            self._found = {f"kept_{name}": (text, float(found[name])) for name, text in says.items()}
            self._found["disk_free_bytes"] = ("Bytes that the disk has left.", float(free))
            self._at = time.monotonic()
        return self._found
