"""What the fake Civitai's endpoints share: the catalogue, the faults, the log, and who is asking."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import time

from msgspec import Struct

from fakes.civitai_bodies import Place
from fakes.civitai_catalogue import LEVELS, Catalogue, Model, Version
from fakes.civitai_faults import Account, Faults, Log, Seen

SECRET = b"the fake's own"
FORMS = ("list", "string", "literal")
ALL_LEVELS = sum(LEVELS.values())


class World:
    """One fake site: what it has, how it misbehaves, what it was asked."""

    def __init__(self, catalogue: Catalogue, faults: Faults, storage_url: str, log: Log | None = None) -> None:
        self.catalogue, self.faults, self.storage_url = catalogue, faults, storage_url.rstrip("/")
        self.log = Log() if log is None else log
        self.stuck_hashes: set[str] = set()
        self.number_cursors: dict[int, str] = {}
        self.turns = itertools.count(1)
        self.orders: dict[str, tuple[int, list[Model]]] = {}

    def place(self, seen: Seen) -> Place:
        return Place(f"http://{seen.headers.get('host', 'localhost')}", self.storage_url)

    def account(self, seen: Seen) -> Account | None:
        """An unknown token is nobody's: the request goes on as anonymous."""
        return self.faults.tokens.get(seen.token or "")

    def model(self, model_id: int) -> Model | None:
        return None if model_id in self.faults.vanished else self.catalogue.models.get(model_id)

    def version(self, version_id: int) -> tuple[Version, Model] | None:
        version = self.catalogue.versions.get(version_id)
        model = self.model(version.model_id) if version else None
        return (version, model) if version and model else None

    def commercial_use(self, model: Model) -> str:
        wanted = self.faults.commercial_use_form or model.commercial_use_form
        return FORMS[next(self.turns) % 3] if wanted == "alternate" else wanted


class Signed(Struct, frozen=True):
    """What a signature in a storage address says."""

    file_id: int
    expires: float


_nonces = itertools.count()


def sign(file_id: int, seconds: float) -> str:
    """64 hex digits that hold file and time, so that the second host needs no table."""
    facts = f"{next(_nonces) % 16**8:08x}{file_id:012x}{int((time.time() + seconds) * 1000):012x}"
    return facts + hmac.new(SECRET, facts.encode(), hashlib.sha256).hexdigest()[:32]


def signed(signature: str) -> Signed | None:
    """None if it was never given out."""
    facts, mark = signature[:32], signature[32:]
    if not hmac.compare_digest(hmac.new(SECRET, facts.encode(), hashlib.sha256).hexdigest()[:32].encode(), mark.encode()):
        return None
    return Signed(int(facts[8:20], 16), int(facts[20:32], 16) / 1000)
