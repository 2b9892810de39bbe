"""What the fake Civitai has: models, their versions, files and pictures, as plain facts that a test can filter."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from blake3 import blake3
from msgspec import Struct
from msgspec.structs import replace

Content = Callable[[int], bytes]

NOW = "2026-08-12T00:00:00.000Z"  # the day the fake lives in: `period` counts back from it
LEVELS = {"PG": 1, "PG13": 2, "R": 4, "X": 8, "XXX": 16}
WIDTH = 768


class File(Struct, frozen=True, kw_only=True):
    """One uploaded file; `sha256` and `hashes` are what the site says of it, `content()` is what its storage sends."""

    id: int
    model_id: int
    version_id: int
    raw_name: str
    make: Content
    sha256: str  # lower-case, of make(id)
    hashes: dict[str, str]
    size: int
    override_name: str | None = None
    type: str = "Model"
    metadata: dict[str, str | None] = {}
    pickle_scan: str = "Success"
    pickle_message: str | None = "No Pickle imports"
    virus_scan: str = "Success"
    scanned_at: str | None = "2026-08-01T02:43:46.310Z"
    visibility: str = "Public"
    replaced: bool = False  # an older upload, which only /model-versions/{id} still shows
    served: Content | None = None  # other bytes than the hashes are of

    def content(self) -> bytes:
        return (self.served or self.make)(self.id)


class Image(Struct, frozen=True, kw_only=True):
    """One example picture."""

    id: int
    nsfw_level: int = 1
    width: int = 32
    height: int = 48
    hash: str = "U00000fQfQfQfQfQfQfQfQfQfQfQ"
    type: str = "image"
    meta: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.id}.{'jpeg' if self.id % 2 else 'png'}"

    def content(self) -> bytes:
        return picture(self.id % 64, self.width, self.height, "JPEG" if self.id % 2 else "PNG")


class PaidAccess(Struct, frozen=True, rename="camel"):
    """The early-access signal of 2026."""

    permanent: bool = False
    ends_at: str | None = None


class Version(Struct, frozen=True, kw_only=True):
    """One version of a model."""

    id: int
    model_id: int
    index: int
    name: str
    files: tuple[File, ...]
    images: tuple[Image, ...] = ()
    base_model: str = "SD 1.5"
    base_model_type: str | None = "Standard"
    published_at: str | None = "2026-08-01T00:00:00.000Z"
    created_at: str = "2026-07-31T00:00:00.000Z"
    updated_at: str = "2026-08-01T00:00:00.000Z"
    status: str = "Published"
    availability: str = "Public"
    nsfw_level: int = 1
    description: str | None = None
    trained_words: tuple[str, ...] | None = ()
    vae_id: int | None = None
    usage_control: str = "Download"
    require_auth: bool = False
    paid_access: PaidAccess | None = None
    early_access_ends_at: str | None = None  # 2024-08 to 2026, with availability EarlyAccess
    early_access_time_frame: int | None = None  # days after published_at, to 2024
    covered: bool = True
    downloads: int = 0
    thumbs_up: int = 0
    hidden_stats: bool = False


class Creator(Struct, frozen=True):
    """Who uploaded it."""

    username: str | None
    image: str | None = None


class Model(Struct, frozen=True, kw_only=True):
    """One model with all its versions, newest first."""

    id: int
    name: str
    versions: tuple[Version, ...]
    type: str = "TextualInversion"
    description: str | None = None
    allow_no_credit: bool = True
    allow_commercial_use: tuple[str, ...] = ("Image", "RentCivit")
    commercial_use_form: str = "list"
    allow_derivatives: bool = True
    allow_different_license: bool = True
    minor: bool = False
    sfw_only: bool = False
    poi: bool = False
    nsfw: bool = False
    nsfw_level: int = 1
    availability: str = "Public"
    user_id: int = 1
    mode: str | None = None
    status: str = "Published"
    creator: Creator | None = None
    tags: tuple[str, ...] = ()
    last_version_at: str | None = None
    supports_generation: bool = True
    downloads: int = 0
    thumbs_up: int = 0
    thumbs_down: int = 0
    comments: int = 0
    collected: int = 0
    image_count: int = 0
    hidden_stats: bool = False

    @property
    def files(self) -> tuple[File, ...]:
        return tuple(file for version in self.versions for file in version.files)


class Catalogue:
    """All there is on the fake site; tests may change it while the servers run, and `odd` names the models of odd shape."""

    def __init__(self, models: Iterator[Model] | list[Model] = (), *, odd: dict[str, int] | None = None) -> None:  # type: ignore[assignment]
        self.models: dict[int, Model] = {}
        self.versions: dict[int, Version] = {}
        self.files: dict[int, File] = {}
        self.images: dict[int, Image] = {}
        self.odd = dict(odd or {})
        self.featured_tags: set[str] | None = None
        self.blocked_tags: set[str] = set()
        self.revision = 0
        self._by_hash: tuple[int, dict[str, list[File]]] = (-1, {})
        for model in models:
            self.put(model)

    def put(self, model: Model) -> Model:
        """Add a model, or put this one in its place."""
        self.take(model.id)
        self.models[model.id] = model
        for version in model.versions:
            self.versions[version.id] = version
            self.files |= {file.id: file for file in version.files}
            self.images |= {image.id: image for image in version.images}
        self.revision += 1
        return model

    def take(self, model_id: int) -> None:
        """Forget a model, if it is there."""
        for version in getattr(self.models.pop(model_id, None), "versions", ()):
            del self.versions[version.id]
            for file in version.files:
                del self.files[file.id]
        self.revision += 1

    def change_model(self, model_id: int, **changes: Any) -> Model:
        return self.put(replace(self.models[model_id], **changes))

    def change_version(self, version_id: int, **changes: Any) -> Version:
        model = self.models[self.versions[version_id].model_id]
        versions = tuple(replace(old, **changes) if old.id == version_id else old for old in model.versions)
        self.change_model(model.id, versions=versions)
        return self.versions[version_id]

    def change_file(self, file_id: int, **changes: Any) -> File:
        """Change facts of a file; with `make` its hashes and its size follow, so that it is a replaced file: same id, new hash."""
        old = self.files[file_id]
        if "make" in changes:
            data = changes["make"](file_id)
            changes = {"sha256": hashlib.sha256(data).hexdigest(), "hashes": hashes(data), "size": len(data)} | changes
        files = tuple(replace(file, **changes) if file.id == file_id else file for file in self.versions[old.version_id].files)
        self.change_version(old.version_id, files=files)
        return self.files[file_id]

    def by_hash(self, value: str) -> list[File]:
        """Every file which has it as a hash of any kind."""
        if self._by_hash[0] != self.revision:
            found: dict[str, list[File]] = {}
            for file in self.files.values():
                for digest in set(file.hashes.values()):
                    found.setdefault(digest, []).append(file)
            self._by_hash = (self.revision, found)
        return self._by_hash[1].get(value.upper(), [])

    def model_of(self, version: Version) -> Model:
        return self.models[version.model_id]


def api_name(file: File, version: Version, model: Model) -> str:
    """The name that the site gives a file: contract 1.7, unsanitised."""
    extension = file.raw_name.rpartition(".")[2]
    words = version.trained_words or ()
    if file.override_name:
        return file.override_name
    if not any(sign.isascii() and sign.isalnum() for sign in model.name.lower()) or model.type in {"LORA", "LoCon", "VAE"}:
        return file.raw_name
    if file.type == "Training Data":
        return f"{_camel(model.name)}_{_camel(version.name)}_trainingData.zip"
    if model.type == "TextualInversion":
        return unquote(f"{words[0]}{'-neg' if file.type == 'Negative' else ''}.{extension}") if words else file.raw_name
    return unquote(f"{_camel(model.name)}_{_camel(version.name)}.{extension}")


def _camel(name: str) -> str:
    """As in a download name: words joined, at most 20 signs."""
    words = "".join(sign if sign.isascii() and sign.isalnum() else " " for sign in name).split() or ["_"]
    return (words[0][:1].lower() + words[0][1:] + "".join(word.capitalize() for word in words[1:]))[:20]


def now() -> str:
    """The clock on the wall, as the site writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def gated(version: Version) -> bool:
    """Whether it is in early access today, by whichever era's signal."""
    paid, days = version.paid_access, version.early_access_time_frame or 0
    if paid is not None and (paid.permanent or paid.ends_at is None or paid.ends_at > now()):
        return True
    if days and version.published_at:
        return datetime.fromisoformat(version.published_at) + timedelta(days=days) > datetime.now(UTC)
    return bool(version.early_access_ends_at and version.early_access_ends_at > now())


def gate_ends(version: Version) -> str | None:
    """When a gate opens, where the site says so."""
    if version.paid_access is not None:
        return version.paid_access.ends_at
    return version.early_access_ends_at


PREFERRED = {"format": "SafeTensor", "size": "pruned", "fp": "fp16", "quantType": "Q4_K_M"}
WEIGHTS = {"format": 100, "size": 10, "fp": 1, "quantType": 0.5}


def best_file(files: list[File], wanted: dict[str, str | None]) -> File | None:
    """The file with the highest score, the first of equals: contract 1.7."""
    preferred = PREFERRED | {key: value for key, value in wanted.items() if value and key in WEIGHTS}

    def score(file: File) -> float:
        told = 1000 * (file.type in {"Model", "Pruned Model", "Diffusion Model", "UNet"})
        signs = (WEIGHTS[key] * (1 if value == preferred[key] else -1) for key, value in file.metadata.items() if key in WEIGHTS)
        return 1000 + told + sum(signs)

    return max(files, key=score, default=None)


def primary(version: Version) -> File | None:
    """Chosen among all files, those that are not public too: a version may show no primary file."""
    return best_file([file for file in version.files if not file.replaced], {})


def hashes(data: bytes) -> dict[str, str]:
    """All that the site's scanner tells: contract 1.6."""
    sha256 = hashlib.sha256(data).hexdigest().upper()
    header = int.from_bytes(data[:8], "little")
    rest = data[8 + header :] if header < 16 << 20 else data[8:]
    told = {"AutoV1": hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8].upper()} if len(data) >= 0x200000 else {}
    return told | {
        "AutoV2": sha256[:10],
        "SHA256": sha256,
        "CRC32": zlib.crc32(data).to_bytes(4, "little").hex().upper(),  # .NET: byte-swapped
        "BLAKE3": blake3(data).hexdigest().upper(),
        "AutoV3": hashlib.sha256(rest).hexdigest()[:12].upper(),
    }


def tensor_file(file_id: int, vectors: int = 2) -> bytes:
    """A small safetensors file: `emb_params`, F32, (vectors, 768), small numbers that follow from the id."""
    size = vectors * WIDTH * 4
    about = {"emb_params": {"dtype": "F32", "shape": [vectors, WIDTH], "data_offsets": [0, size]}}
    header = json.dumps(about, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + _floats(file_id, size)


def _floats(seed: int, size: int) -> bytes:
    """Noise with its exponents set, so that each number is ±[2^-7, 2^-6): quicker than drawing 1,536 numbers."""
    noise = int.from_bytes(hashlib.shake_128(seed.to_bytes(8, "little", signed=True)).digest(size), "little")
    keep, exponents = _masks(size)
    return (noise & keep | exponents).to_bytes(size, "little")


@lru_cache
def _masks(size: int) -> tuple[int, int]:
    keep, exponent = (0x807FFFFF).to_bytes(4, "little"), (0x3C000000).to_bytes(4, "little")
    return int.from_bytes(keep * (size // 4), "little"), int.from_bytes(exponent * (size // 4), "little")


def training_file(file_id: int) -> bytes:
    """A zip with one caption, as people upload what they trained on."""
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("caption.txt"), f"sample caption {file_id}\n")
    return packed.getvalue()


def config_file(file_id: int) -> bytes:
    """The yaml beside a model."""
    return f"sample: {file_id}\n".encode()


@lru_cache(maxsize=256)
def picture(number: int, width: int, height: int, form: str) -> bytes:
    """A real picture of one colour."""
    from PIL import Image as Pillow

    out = io.BytesIO()
    Pillow.new("RGB", (width, height), (number * 4, 255 - number * 4, number * 37 % 256)).save(out, form)
    return out.getvalue()
