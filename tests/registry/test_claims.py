"""Where several say different things: the rule by which one is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from embconv.registry.claims import NOTHING, licence, told
from embconv.registry.model import Origin

SD1, SDXL = {"clip_l"}, {"clip_l", "clip_g"}


def line(source: str, day: int = 1, **claims: Any) -> Origin:
    return Origin(source=source, seen=f"2026-01-{day:02}T00:00:00.000Z", claims=claims)


def test_nobody_says_anything() -> None:
    assert told([], SD1) == NOTHING
    assert told([line("civitai")], SD1).role == "unknown"


def test_a_site_is_believed_before_a_sidecar_and_that_before_the_header() -> None:
    lines = [line("header", 3, role="negative", nsfw="pg"), line("sidecar", 2, role="positive", nsfw="r"), line("civitai", 1, nsfw="xxx")]
    found = told(lines, SD1)
    assert (found.nsfw, found.role) == ("xxx", "positive")


def test_of_one_source_the_newest_is_believed_where_it_says_anything() -> None:
    lines = [line("civitai", 1, downloads=10, role="negative", tags=["old"]), line("civitai", 2, downloads=20, tags=["new"])]
    found = told(lines, SD1)
    assert (found.downloads, found.role, found.tags) == (20, "negative", ("new",))


def test_a_line_that_says_nothing_erases_nothing() -> None:
    gone = Origin(source="civitai", seen="2026-02-01T00:00:00.000Z", state="gone")
    assert told([line("civitai", creator="Havoc"), gone], SD1).creators == ("Havoc",)


@pytest.mark.parametrize(
    ("claim", "encoders", "base"),
    [("SD 1.5", SD1, "sd1"), ("SDXL 1.0", SD1, None), ("SDXL 1.0", SDXL, "sdxl"), ("Pony", SDXL, "sdxl"), ("flux1", SD1, "flux1"),
     ("Other", SD1, None), (7, SD1, None), ("sd3", SDXL, "sd3")],
)  # fmt: skip
def test_a_base_is_believed_where_the_vectors_fit_it(claim: Any, encoders: set[str], base: str | None) -> None:
    assert told([line("civitai", base=claim)], encoders).base == base


@pytest.mark.parametrize(
    ("claim", "level"), [("PG13", "pg13"), (1, "pg"), (31, "xxx"), (4, "r"), (32, None), (0, None), (True, None), ("soft", None)]
)
def test_a_level_is_a_word_or_civitais_bits(claim: Any, level: str | None) -> None:
    assert told([line("civitai", nsfw=claim)], SD1).nsfw == level


@pytest.mark.parametrize(
    ("says", "permits"),
    [
        ("CC-BY-4.0", ("cc-by-4.0",)),
        ("  Apache  2.0 ", ("apache 2.0",)),
        ('{"allowNoCredit": true, "allowCommercialUse": ["Image", "RentCivit"], "allowDerivatives": true, "allowDifferentLicense": false}',
         ("no_credit", "sell_images", "rent_on_civitai", "derivatives")),
        ('{"allowCommercialUse": "{Image,Rent}"}', ("sell_images", "rent")),
        ('{"allowCommercialUse": "Sell"}', ("sell_models",)),
        ('{"allowCommercialUse": "None", "allowDifferentLicense": true}', ("other_licence",)),
        ('{"allowCommercialUse": []}', ()),
        ('{"allowNoCredit": "yes"}', ()),
        ('{"something": "else"}', ('{"something": "else"}',)),
        ("{broken", ("{broken",)),
        ("[" * 100_000, ("[" * 100_000,)),
    ],
)  # fmt: skip
def test_a_licence_becomes_words(says: str, permits: tuple[str, ...]) -> None:
    assert licence(says, "x").permits == permits


def test_flags_may_come_as_an_object() -> None:
    found = told([line("civitai", licence={"allowNoCredit": True})], SD1).licence
    assert found is not None
    assert (found.permits, json.loads(found.says), found.source) == (("no_credit",), {"allowNoCredit": True}, "civitai")


@pytest.mark.parametrize("value", [None, 7, [], {}, "", " ", ["", 3, None], {"a": [1]}])
@pytest.mark.parametrize("claim", ["base", "role", "nsfw", "licence", "downloads", "creator", "creators", "tags", "title", "description"])
def test_nonsense_is_passed_over(claim: str, value: Any) -> None:
    found = told([line("civitai", **{claim: value}), line("sidecar", role="negative")], SD1)
    assert found.role == "negative"
    assert found.downloads == (value if claim == "downloads" and value == 7 else 0)
