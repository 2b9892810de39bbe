"""GET /api/download/models/{versionId} of the fake Civitai: its checks in their order, then a signed address on the second host."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fakes.civitai_catalogue import File, Model, Version, api_name, best_file, gate_ends, gated
from fakes.civitai_faults import Account, Reply, Seen, error, html
from fakes.civitai_params import FILE_TYPES, FORMATS, one_of, parse, prettified, scalar, to_number
from fakes.civitai_world import World, sign

UNCACHED = {"Cache-Control": "no-store, max-age=0"}
TOO_MANY = "We've noticed an unusual amount of downloading from your account. Contact support@civitai.com or come back later."
DISABLED = "The creator of this asset has disabled downloads on this file"
LOGIN = "The creator of this asset requires you to be logged in to download it"
EARLY = "This asset is in Early Access. You can use Buzz access it now!"

RULES = {
    "type": one_of(*FILE_TYPES),
    "format": one_of(*FORMATS),
    "size": one_of("full", "pruned"),
    "fp": scalar,
    "quantType": scalar,
    "fileId": lambda values: int(to_number(scalar(values))),
}


def download(world: World, seen: Seen, version_id: str) -> Reply:
    """One row of the contract's table after the other; the first that holds answers."""
    reply = _before_lookup(world, seen) or _found(world, seen, version_id)
    plain = seen.browser and reply.status >= 400 and isinstance(reply.body, dict)
    body, media = (reply.body.get("message") or reply.body["error"], "text/plain; charset=utf-8") if plain else (reply.body, reply.media)
    return Reply(reply.status, body.encode() if isinstance(body, str) else body, UNCACHED | reply.headers, media)


def _before_lookup(world: World, seen: Seen) -> Reply | None:
    faults = world.faults
    if faults.fires("forbidden_403", seen):
        return error(403, "Forbidden")
    if faults.fires("download_counter_429", seen):
        return error(429, TOO_MANY, **({"Retry_After": faults.retry_after} if faults.retry_after else {}))
    return None


def _found(world: World, seen: Seen, version_id: str) -> Reply:
    wanted, issues = parse(seen.query, RULES)
    if issues or not version_id.isdecimal():
        issue = issues[0] if issues else {"message": "Invalid input: expected number, received NaN", "path": ["modelVersionId"]}
        return prettified(issue["message"], ".".join(map(str, issue["path"])))
    pair = world.version(int(version_id))
    if pair is None or pair[1].poi:
        return error(404, "File not found")
    account = None if seen.method == "HEAD" else world.account(seen)  # with HEAD the token is not seen
    return _refused(world, seen, *pair, account) or _file(world, seen, *pair, wanted)


def _refused(world: World, seen: Seen, version: Version, model: Model, account: Account | None) -> Reply | None:
    """Rows 5 to 9."""
    if model.mode == "Archived":
        return error(410, "Model archived, not available for download")
    if model.status != "Published" or version.status != "Published":
        return error(404, "File not found")
    if version.usage_control != "Download":
        return Reply(401, {"error": "Unauthorized", "message": DISABLED})
    if account is None and (version.require_auth or world.faults.site_login):
        place = f"/login?returnUrl=%2Fmodel-versions%2F{version.id}&reason=download-auth"
        return Reply(307, b"", {"Location": place}) if seen.browser else Reply(401, {"error": "Unauthorized", "message": LOGIN})
    if gated(version) and (account is None or version.id not in account.bought):
        if seen.browser:
            return Reply(307, b"", {"Location": f"/model-versions/{version.id}"})
        ends = gate_ends(version)
        return Reply(403, {"error": "Early Access"} | ({"deadline": ends} if ends else {}) | {"message": EARLY})
    return None


def _choose(version: Version, wanted: dict[str, Any]) -> File | None:
    """`fileId` decides alone; else the best file, which then must be as it was asked for."""
    if "fileId" in wanted:
        return next((file for file in version.files if file.id == wanted["fileId"]), None)
    files = [file for file in version.files if file.visibility == "Public" and not file.replaced and wanted.get("type", file.type) == file.type]
    chosen = best_file(files, wanted)
    differs = chosen and any(wanted[key] != chosen.metadata.get(key) for key in ("format", "size", "fp", "quantType") if key in wanted)
    return None if differs else chosen


def _file(world: World, seen: Seen, version: Version, model: Model, wanted: dict[str, Any]) -> Reply:
    """Rows 11 to 14."""
    file, faults = _choose(version, wanted), world.faults
    if file is None:
        return error(404, "File not found")
    if faults.fires("download_404", seen):
        return error(404, "File not found", Cache_Control="private, no-store")
    if faults.fires("download_500", seen):
        return error(500, "storage resolve failed")
    return Reply(307, b"", {"Location": _location(world, seen, file, version, model)})


def _location(world: World, seen: Seen, file: File, version: Version, model: Model) -> str:
    """Where the file lies, or where a fault sends the client."""
    faults, api = world.faults, world.place(seen).api
    if faults.fires("redirect_loop", seen):
        return f"{api}{seen.path}"
    if faults.fires("redirect_to_private", seen):
        return faults.private_location
    if faults.fires("redirect_to_login", seen):
        return f"{api}/login?returnUrl=%2Fmodel-versions%2F{version.id}&reason=download-auth"
    place = storage_address(world, file, api_name(file, version, model), model.user_id)
    if faults.redirect_hops:
        place = f"{world.storage_url}/hop/{faults.redirect_hops}?to={quote(place, safe='')}"
    if faults.redirect_to is None:
        return place
    return faults.redirect_to if isinstance(faults.redirect_to, str) else faults.redirect_to(place)


def storage_address(world: World, file: File, name: str, user_id: int) -> str:
    """As R2's presigned ones: the raw name with a tag in the path, what it is called and until when in the query."""
    stem, _, extension = file.raw_name.rpartition(".")
    raw = quote(f"{stem}.{file.id % 16**4:04x}.{extension}", safe="")
    shown = quote(f'attachment; filename="{name}"', safe="")
    facts = f"X-Amz-Expires=86400&response-content-disposition={shown}&X-Amz-Algorithm=AWS4-HMAC-SHA256"
    return f"{world.storage_url}/{user_id}/model/{raw}?{facts}&X-Amz-Signature={sign(file.id, world.faults.signature_seconds)}"


def login_page(world: World, seen: Seen) -> Reply:
    return html(200, "Sign in")
