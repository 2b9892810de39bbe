"""Models as Civitai told of them, kept in a registry that has their files: recorded answers, where they lie beside the repository, and made ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from stored import a1111, safetensors

from embconv.registry.blobs import Blobs
from embconv.registry.civitai import wire
from embconv.registry.civitai.provenance import told
from embconv.registry.ingest import ingest
from embconv.registry.store import Store
from embconv.registry.store.civitai import hear, hold, settle
from embconv.registry.times import now

Body = dict[str, Any]
RECORDED = Path(__file__).parents[2] / "shared" / "civitai"
MODELS = ("ti_16993_badhandv4", "ti_2032_model_plus_negative", "ti_20517_dup_sha_b", "ti_4499_no_trained_words", "ti_5218_bin_angle_brackets",
          "ti_7808_easynegative", "ti_8107_dup_sha_a", "checkpoint_3666", "lora_listitem_2851602_2026", "lora_model_2833924_2026")  # fmt: skip
RECORDINGS = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not there")
WITHOUT_FILES = "ti_99832_archived_mode"


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text("utf-8"))


def file(id_: int, name: str, **said: Any) -> Body:
    """A file as a list has it; its hashes are not those of any bytes here."""
    sha256 = f"{id_:064X}"
    return {"id": id_, "name": name, "sizeKB": 3.5, "type": "Model", "metadata": {"format": "PickleTensor"}, "hashes": {"SHA256": sha256, "AutoV2": sha256[:10]},
            "pickleScanResult": "Success", "virusScanResult": "Success", "scannedAt": "2026-08-11T21:20:28.450Z", "primary": True, **said}  # fmt: skip


def version(id_: int, *files: Body, **said: Any) -> Body:
    return {"id": id_, "name": "v1.0", "baseModel": "SD 1.5", "publishedAt": "2026-08-11T21:25:04.626Z", "trainedWords": ["paper"], "nsfwLevel": 1,
            "files": list(files) or [file(id_ * 10, "paper.pt")], "images": [], **said}  # fmt: skip


def model(id_: int, *versions: Body, **said: Any) -> Body:
    return {"id": id_, "name": f"Paper {id_}", "type": "TextualInversion", "nsfw": False, "nsfwLevel": 1, "tags": ["style"],
            "creator": {"username": "someone", "image": None}, "stats": {"downloadCount": 1, "thumbsUpCount": 1},
            "modelVersions": list(versions) or [version(id_ * 10)], **said}  # fmt: skip


SCARCE = {"id": 31, "modelVersions": [{"id": 32, "files": [{"id": 33}]}]}  # whatever may be absent is
HIDDEN = model(41, version(42, file(43, "x.pt", hashes=None, metadata=None), stats=None, trainedWords=None, images=None, description=None), creator=None,
               stats=dict.fromkeys(("downloadCount", "thumbsUpCount", "commentCount", "tippedAmountCount")), allowCommercialUse="{Image,RentCivit}",
               cosmetic={"id": 5}, tags=None, poi=None, minor=None)  # fmt: skip
MADE = {
    "scarce": SCARCE,
    "hidden": HIDDEN,
    "pending": model(51, version(52, file(53, "b4rbf3r.pt", hashes={}, scannedAt=None, pickleScanResult="Pending", virusScanResult="Pending"))),
    "gated": model(61, version(62, paidAccess={"permanent": False, "endsAt": "2026-08-23T20:55:59.248Z"}, earlyAccessDeadline="2026-08-23T20:55:59.248Z")),
    "pair": model(71, version(72, file(73, "By bad artist.pt"), file(74, "By bad artist -neg.pt", type="Negative", primary=None))),
    "odd": model(81, version(82, file(83, "..\\..\\<evil>:\u202egpj.exe"), name=None, publishedAt=None, createdAt="2025-05-19T02:43:46.31"), name="  \u732b  ",
                 allowCommercialUse="Sell", nsfwLevel=None, nsfw=True),
}  # fmt: skip


def bodies() -> Iterator[tuple[str, Body]]:
    """Every model: the made ones, and where the recorded answers lie those too."""
    yield from MADE.items()
    if not RECORDED.is_dir():
        return
    for name in MODELS:
        yield name, recorded(name)
    pending, gated, alone = recorded("file_pending_scan_no_hashes"), recorded("version_gated_2026_reconstructed"), recorded("lora_version_242807")
    yield "file_pending", model(901, version(902, pending))
    yield "version_gated", model(903, {**gated, "files": [file(904, "gated.safetensors")]})
    yield "lora_version", {"id": alone["modelId"], **alone["model"], "modelVersions": [alone]}


BODIES = dict(bodies())


def files_in(body: Body) -> Iterator[Body]:
    for each in body["modelVersions"]:
        yield from each.get("files") or ()


def bytes_of(told_of: Body) -> bytes:
    """An embedding in the form that its name says, another for each file."""
    seed = told_of["id"] % 100_003
    return safetensors(seed) if str(told_of.get("name", "")).endswith(".safetensors") else a1111(seed)


def keep(store: Store, blobs: Blobs, body: Body, *, only: set[int] | None = None, shown: str = "pg") -> dict[int, str]:
    """Remember what Civitai said, and bytes for each of its files; file -> sha256 of what is here."""
    heard = wire.model(msgspec.json.encode(body))
    store.write(lambda db: hear(db, [told(heard, shown)], 1, now()))
    here = {}
    for each in files_in(body):
        if only is None or each["id"] in only:
            name = Path(str(each.get("name") or "unnamed.pt")).name
            sha256 = here[each["id"]] = ingest(store, blobs, bytes_of(each), name=name).file.sha256
            attach(store, each["id"], sha256)
    return here


def attach(store: Store, file_id: int, sha256: str) -> None:
    """A file of Civitai's is here as that."""
    store.write(lambda db: settle(db, file_id, "held", got=sha256))
    store.write(lambda db: hold(db, file_id, sha256, now()))
