"""Makes up the models of the fake Civitai from a seed: plain ones by the thousand, and one of each odd shape of the contract."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from fakes.civitai_catalogue import (
    Catalogue,
    Content,
    Creator,
    File,
    Image,
    Model,
    PaidAccess,
    Version,
    config_file,
    hashes,
    tensor_file,
    training_file,
)

COLOURS = ("amber", "azure", "crimson", "ivory", "jade", "ochre", "russet", "silver", "umber", "violet")
THINGS = ("brook", "cedar", "ember", "fern", "harbor", "lantern", "meadow", "orchid", "pebble", "willow")
BASES = ("SD 1.5", "SD 1.5", "SD 1.5", "SDXL 1.0", "SD 2.1 768", "Pony", "Illustrious", "Other")
PICKLE = {"format": "PickleTensor", "size": "full", "fp": "fp16"}
SAFE = {"format": "SafeTensor", "size": None, "fp": None}
IMPORTS = "**Detected Pickle imports (3)**\n```\ncollections.OrderedDict\ntorch._utils._rebuild_tensor_v2\ntorch.FloatStorage\n```"
START = datetime(2024, 1, 1, 12, 0, 0, 626000, UTC)
LONG_AGO, FAR = "2024-02-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"


class Maker:
    """Numbers that run on, and dice of one seed: what making a catalogue needs."""

    def __init__(self, seed: int, content: Content, tied: int) -> None:
        self.dice, self.content, self.tied = random.Random(seed), content, max(tied, 1)
        self.model_ids, self.version_ids = itertools.count(1001, 7), itertools.count(5001, 3)
        self.file_ids, self.image_ids = itertools.count(9001), itertools.count(20001)
        self.made = 0

    def file(self, model_id: int, version_id: int, raw_name: str, *, make: Content | None = None, **facts: object) -> File:
        identity, make = next(self.file_ids), make or self.content
        data = make(identity)
        told = {"metadata": SAFE if raw_name.endswith(".safetensors") else PICKLE, "hashes": hashes(data)} | facts
        return File(id=identity, model_id=model_id, version_id=version_id, raw_name=raw_name, make=make,
                    sha256=hashlib.sha256(data).hexdigest(), size=len(data), **told)  # type: ignore[arg-type]  # fmt: skip

    def another(self, version: Version, raw_name: str, **facts: object) -> File:
        return self.file(version.model_id, version.id, raw_name, **facts)  # type: ignore[arg-type]

    def version(self, model_id: int, index: int, count: int, word: str, moment: str) -> Version:
        identity, named = next(self.version_ids), word if count == 1 else f"{word}-v{count - index}"
        return Version(
            id=identity, model_id=model_id, index=index, name=f"v{count - index}.0", published_at=moment, created_at=moment, updated_at=moment,
            files=(self.file(model_id, identity, f"{named}.safetensors"),), images=(self.image(),), trained_words=(named,),
            base_model=self.dice.choice(BASES), downloads=self.dice.randrange(500), thumbs_up=self.dice.randrange(50),
        )  # fmt: skip

    def image(self, level: int = 1) -> Image:
        identity = next(self.image_ids)
        meta = {"prompt": f"sample prompt {identity}", "steps": 20, "seed": identity}
        return Image(id=identity, nsfw_level=level, meta=meta if identity % 3 else None)

    def model(self, versions: int) -> Model:
        """A plain one: public, PG, one safetensors file in each version."""
        identity, turn = next(self.model_ids), self.made
        self.made += 1
        word = f"{self.dice.choice(COLOURS)}-{self.dice.choice(THINGS)}-{identity}"
        moment = _iso(START + timedelta(hours=turn // self.tied))
        made = tuple(self.version(identity, index, versions, word, moment) for index in range(versions))
        who = f"sample_{self.dice.choice(THINGS)}"
        counts = {name: self.dice.randrange(30) for name in ("thumbs_up", "thumbs_down", "comments", "collected", "image_count")}
        return Model(id=identity, name=word.replace("-", " ").title(), versions=made, description=f"<p>Sample of <em>{word}</em></p>",
                     creator=Creator(who, None), tags=("style", word.partition("-")[0]), last_version_at=moment, user_id=1 + THINGS.index(who[7:]),
                     downloads=sum(version.downloads for version in made), **counts)  # fmt: skip


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def generate(
    models: int = 80, files_per_model: tuple[int, int] = (1, 3), seed: int = 0, *, oddities: bool = True, files: int | None = None,
    tied: int = 7, content: Content = tensor_file,
) -> Catalogue:  # fmt: skip
    """So many models, the odd ones first; `tied` of them share each moment, and with `files` there are exactly so many."""
    maker, odd = Maker(seed, content, tied), {}
    catalogue = Catalogue()
    for number in range(models):
        count = maker.dice.randint(*files_per_model) if files is None else files // models + (number < files % models)
        name = ODD_NAMES[number] if oddities and number < len(ODDITIES) else None
        model = maker.model(1 if name else count)
        if name:
            odd[name] = model.id
            model = ODDITIES[number](model, maker, catalogue)
        catalogue.put(model)
    catalogue.odd = odd
    return catalogue


# odd shapes: each takes a plain model of one version and gives it its oddity


def _version(model: Model, **changes: object) -> Model:
    return replace(model, versions=(replace(model.versions[0], **changes), *model.versions[1:]))


def _file(model: Model, **changes: object) -> Model:
    file = replace(model.files[0], **changes)
    return _version(model, files=(file, *model.versions[0].files[1:]))


def _with(model: Model, *files: File) -> Model:
    return _version(model, files=(*model.versions[0].files, *files))


def _named(model: Model, word: str, raw_name: str) -> Model:
    changed = _version(model, trained_words=(word,))
    return _file(changed, raw_name=raw_name, metadata=PICKLE, pickle_message=IMPORTS)


def negative_pair(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    version = model.versions[0]
    return _with(model, maker.another(version, version.files[0].raw_name, type="Negative", metadata={"format": "Other"}))


def three_versions(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    older = tuple(maker.version(model.id, index, 3, "older", LONG_AGO) for index in (1, 2))
    return replace(model, versions=(*model.versions, *older))


def twin_names(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    version = model.versions[0]
    return _with(model, maker.another(version, version.files[0].raw_name, metadata=SAFE | {"fp": "fp32"}))


def shared_sha256(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    """The very bytes of the first model."""
    first = catalogue.models[catalogue_first(catalogue)].files[0]
    return _file(model, make=lambda _: first.content(), sha256=first.sha256, hashes=first.hashes, size=first.size)


def shared_sha256_again(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    return shared_sha256(model, maker, catalogue)


def catalogue_first(catalogue: Catalogue) -> int:
    return next(iter(catalogue.models))


def training_only(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    told = {"type": "Training Data", "metadata": {"format": "Other"}, "make": training_file}
    return _version(model, files=(maker.another(model.versions[0], "captions.zip", **told),))


def training_beside(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    told = {"type": "Training Data", "metadata": {"format": "Other"}, "make": training_file}
    return _with(model, maker.another(model.versions[0], "captions.zip", **told))


def with_config(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    return _with(model, maker.another(model.versions[0], "settings.yaml", type="Config", metadata={"format": "Other"}, make=config_file))


def mixed_gate(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    """The newest version is in early access, the older one is free."""
    older = maker.version(model.id, 1, 2, "older", LONG_AGO)
    return replace(_version(model, paid_access=PaidAccess(False, FAR)), versions=(replace(model.versions[0], paid_access=PaidAccess(False, FAR)), older))


def danger(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    message = "**Detected Pickle imports (1)**\n*Dangerous import detected*\n```\n*posix.system*\n```"
    return _file(_named(model, "risky", "risky.pt"), pickle_scan="Danger", pickle_message=message)


def replaced_file(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    """An older upload still shows in /model-versions/{id}."""
    older = maker.another(model.versions[0], "older.safetensors", replaced=True)
    return _with(model, older)


def wrong_bytes(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    return _file(model, served=lambda identity: tensor_file(identity + 1_000_000))


def unknown_words(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
    """Every enum says something new; only without `types` is it found."""
    changed = _file(model, type="Hologram", metadata={"format": "CrystalTensor", "size": "huge", "fp": "fp3"}, pickle_scan="Puzzled")
    changed = _version(changed, base_model="SD 9.9", base_model_type="Dreaming")
    return replace(changed, allow_commercial_use=("Moonlight",))


def level(number: int) -> Oddity:
    def leveled(model: Model, maker: Maker, catalogue: Catalogue) -> Model:
        changed = _version(model, nsfw_level=number, images=tuple(replace(image, nsfw_level=number) for image in model.versions[0].images))
        return replace(changed, nsfw_level=number, nsfw=number > 2)

    return leveled


Oddity = Callable[[Model, Maker, Catalogue], Model]
SCRIPTED = '<p onclick="alert(1)">Sample</p><script>alert(2)</script><img src=x onerror=alert(3)><a href="javascript:alert(4)">link</a>'

TABLE: dict[str, Oddity] = {
    "first": lambda model, maker, catalogue: model,  # a plain one, whose bytes others share
    "null_stats": lambda model, maker, catalogue: _version(replace(model, hidden_stats=True), hidden_stats=True),
    "no_creator": lambda model, maker, catalogue: replace(model, creator=None),
    "null_username": lambda model, maker, catalogue: replace(model, creator=Creator(None, None)),
    "angle_name": lambda model, maker, catalogue: _named(model, "<x>", "learned_embeds.bin"),
    "dot_name": lambda model, maker, catalogue: _named(model, ".", "dot.pt"),
    "star_name": lambda model, maker, catalogue: _named(model, "*", "star.pt"),
    "spaced_negative": lambda model, maker, catalogue: _file(_named(model, "By bad artist ", "artist.pt"), type="Negative", metadata={"format": "Other"}),
    "path_name": lambda model, maker, catalogue: _named(model, "../../sample", "up.pt"),
    "escaped_name": lambda model, maker, catalogue: _named(model, "%2e%2e%2fsample", "escaped.pt"),
    "long_word": lambda model, maker, catalogue: _named(model, "a whole prompt, with commas, " * 12, "long.pt"),
    "unicode_name": lambda model, maker, catalogue: _named(replace(model, name="水墨 Ink 🖌 "), "水墨", "ink.pt"),
    "unnamed": lambda model, maker, catalogue: replace(model, name="水墨"),
    "override_name": lambda model, maker, catalogue: _file(model, override_name="Renamed Sample.safetensors"),
    "no_trained_words": lambda model, maker, catalogue: _version(model, trained_words=()),
    "null_trained_words": lambda model, maker, catalogue: _version(model, trained_words=None),
    "two_words": lambda model, maker, catalogue: _version(model, trained_words=("sample-one", "sample-two")),
    "negative_pair": negative_pair,
    "three_versions": three_versions,
    "twin_names": twin_names,
    "shared_sha256": shared_sha256,
    "shared_sha256_again": shared_sha256_again,
    "training_only": training_only,
    "training_beside": training_beside,
    "with_config": with_config,
    "scripted_html": lambda model, maker, catalogue: replace(model, description=SCRIPTED),
    "null_description": lambda model, maker, catalogue: replace(model, description=None),
    "use_string": lambda model, maker, catalogue: replace(model, commercial_use_form="string", allow_commercial_use=("Sell",)),
    "use_literal": lambda model, maker, catalogue: replace(model, commercial_use_form="literal"),
    "use_null": lambda model, maker, catalogue: replace(model, commercial_use_form="null"),
    "use_empty": lambda model, maker, catalogue: replace(model, allow_commercial_use=()),
    "no_primary": lambda model, maker, catalogue: _with(
        _file(model, visibility="Private"), maker.another(model.versions[0], "shown.pt", metadata=PICKLE, type="Other")
    ),
    "archived": lambda model, maker, catalogue: replace(model, mode="Archived"),
    "taken_down": lambda model, maker, catalogue: replace(model, mode="TakenDown"),
    "early_time_frame": lambda model, maker, catalogue: _version(model, early_access_time_frame=20_000),
    "early_config": lambda model, maker, catalogue: _version(model, availability="EarlyAccess", early_access_ends_at=FAR),
    "early_paid": lambda model, maker, catalogue: _version(model, paid_access=PaidAccess(False, FAR)),
    "early_past": lambda model, maker, catalogue: _version(model, paid_access=PaidAccess(False, LONG_AGO)),
    "early_permanent": lambda model, maker, catalogue: _version(model, paid_access=PaidAccess(True, None)),
    "early_pending": lambda model, maker, catalogue: _version(model, paid_access=PaidAccess(False, None)),
    "mixed_gate": mixed_gate,
    "login_required": lambda model, maker, catalogue: _version(model, require_auth=True),
    "generation_only": lambda model, maker, catalogue: _version(model, usage_control="Generation"),
    "unrated": level(0),
    "level_2": level(2),
    "level_4": level(4),
    "level_8": level(8),
    "level_16": level(16),
    "level_32": level(32),
    "mixed_levels": lambda model, maker, catalogue: _version(replace(model, nsfw_level=5), images=(*model.versions[0].images, maker.image(4))),
    "minor": lambda model, maker, catalogue: replace(model, minor=True, sfw_only=True, tags=(*model.tags, "child")),
    "poi": lambda model, maker, catalogue: replace(model, poi=True),
    "pending_scan": lambda model, maker, catalogue: _file(
        model, hashes={}, pickle_scan="Pending", virus_scan="Pending", pickle_message=None, scanned_at=None
    ),
    "danger": danger,
    "some_hashes": lambda model, maker, catalogue: _file(model, hashes={"AutoV2": model.files[0].hashes["AutoV2"]}),
    "wrong_bytes": wrong_bytes,
    "replaced_file": replaced_file,
    "no_files": lambda model, maker, catalogue: _version(model, files=()),
    "unpublished": lambda model, maker, catalogue: replace(model, status="Unpublished"),
    "private": lambda model, maker, catalogue: replace(model, availability="Private"),
    "lora": lambda model, maker, catalogue: replace(model, type="LORA"),
    "unknown_type": lambda model, maker, catalogue: replace(model, type="Hypergraph"),
    "unknown_words": unknown_words,
    "null_date": lambda model, maker, catalogue: replace(model, last_version_at=None),
    "null_date_again": lambda model, maker, catalogue: replace(model, last_version_at=None),
    "null_date_last": lambda model, maker, catalogue: replace(model, last_version_at=None),
}
ODD_NAMES, ODDITIES = tuple(TABLE), tuple(TABLE.values())
