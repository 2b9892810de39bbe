"""What is kept of what Civitai says: licences, levels and gates of every year, pairs, times, and texts that cannot do anything."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from fakes.civitai import generate
from fakes.civitai_bodies import Place, list_version, model_body
from mirrored import RECORDINGS, file, model, recorded, version

from embconv.registry.civitai import provenance, wire
from embconv.registry.civitai.provenance import LONGEST, TAGS_ALLOWED, description, gate, level, moment, offer, told
from embconv.registry.claims import licence as read_licence
from embconv.registry.store.civitai import withheld


def heard(body: Any) -> wire.HeardModel:
    return wire.model(msgspec.json.encode(body))


def claims(body: Any, place: int = 0, at: int = 0) -> dict[str, Any]:
    """What the origin of one file says."""
    return told(heard(body), "nsfw").versions[at].files[place].claims


# texts

XSS = (
    "<script>alert(1)</script>", "<SCRIPT SRC=//evil.example/x.js></SCRIPT>", "<scr<script>ipt>alert(1)</scr</script>ipt>", "<script\x00>alert(1)</script>",
    "<script/src=data:,alert(1)>", "<<script>alert(1)//<</script>", "<img src=x onerror=alert(1)>", "<img/src=x/onerror=alert(1)>", "<IMG SRC=javascript:alert(1)>",
    "<img src=`javascript:alert(1)`>", '<img """><script>alert(1)</script>">', "<img src=x:x onerror=alert(1)//", "<svg onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>", "<svg><animate onbegin=alert(1) attributeName=x>", "<svg><use href='data:image/svg+xml,x#x'>",
    "<svg><foreignObject><iframe src=javascript:alert(1)>", "<math><mi xlink:href='javascript:alert(1)'>x</mi></math>", "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)>", "<iframe srcdoc='<script>alert(1)</script>'>", "<object data=javascript:alert(1)>", "<embed src=javascript:alert(1)>", "<applet code=x>",
    "<a href=javascript:alert(1)>x</a>", "<a href=' javascript:alert(1)'>x</a>", "<a href='java\tscript:alert(1)'>x</a>", "<a href='java\nscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>", "<a href='&#x6A;avascript&colon;alert(1)'>x</a>", "<a href='JaVaScRiPt:alert(1)'>x</a>", "<a href='\x01javascript:alert(1)'>x</a>",
    "<a href='vbscript:msgbox(1)'>x</a>", "<a href='data:text/html,<script>alert(1)</script>'>x</a>", "<a href='data:text/html;base64,PHNjcmlwdD4='>x</a>", "<a href='file:///etc/passwd'>x</a>",
    "<a href='https://ok.example' onclick=alert(1)>x</a>", "<a href='https://ok.example' style='position:fixed'>x</a>", "<a href='//evil.example' onmouseover=alert(1)>x</a>",
    "<a href='https://ok.example' target=_blank ping=//evil.example>x</a>", "<p onclick='alert(1)'>x</p>", "<p style='background:url(javascript:alert(1))'>x</p>",
    "<div style='width:expression(alert(1))'>x</div>", "<style>@import'//evil.example/x.css';</style>", "<style><img src=x onerror=alert(1)></style>", "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>", "<base href=//evil.example>", "<body onload=alert(1)>", "<form action=javascript:alert(1)><button>x</button></form>",
    "<button formaction=javascript:alert(1)>x</button>", "<input autofocus onfocus=alert(1)>", "<select autofocus onfocus=alert(1)>", "<textarea autofocus onfocus=alert(1)>",
    "<video src=x onerror=alert(1)>", "<audio src=x onerror=alert(1)>", "<video><source onerror=alert(1)>", "<details open ontoggle=alert(1)>", "<marquee onstart=alert(1)>x</marquee>",
    "<isindex action=javascript:alert(1)>", "<table background=javascript:alert(1)><td>x</td></table>", "<xss onpointerenter=alert(1)>x</xss>", "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--<img src='--><img src=x onerror=alert(1)//'>", "<![CDATA[<script>alert(1)</script>]]>", "<?xml version='1.0'?><script>alert(1)</script>", "<template><script>alert(1)</script></template>",
    "<p id=x name=cookie class=y>x</p>", "&lt;script&gt;alert(1)&lt;/script&gt;", "\"><script>alert(1)</script>", "'-alert(1)-'<b/onmouseover=alert(1)>x", "<b " + "x" * 300 + " onclick=alert(1)>x</b>",
)  # fmt: skip


class Live(HTMLParser):
    """Everything in a page that could do something."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS_ALLOWED:
            self.found.append(tag)
        for name, value in attrs:
            if name not in ({"href", "title", "lang", "rel"} if tag == "a" else {"title", "lang"}):
                self.found.append(f"{tag} {name}")
            elif name == "href" and not (value or "").lower().startswith(("http://", "https://", "mailto:", "/", "#")):
                self.found.append(f"href {value}")

    def handle_decl(self, decl: str) -> None:
        self.found.append(decl)

    def handle_pi(self, data: str) -> None:
        self.found.append(data)

    def handle_comment(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("text", XSS, ids=range(len(XSS)))
def test_no_text_can_do_anything(text: str) -> None:
    around = f"<p>before</p>{text}<p>after"
    for cleaned in (description(text), description(around), description(text, around), description(f"<b title=\"{text}\">x</b>")):
        assert Live(cleaned).found == []
        assert description(cleaned) == cleaned
    body = model(1, version(2, description=text), description=text)
    kept = told(heard(body), "nsfw")
    for said in (kept.body["description"], kept.versions[0].body["description"], kept.versions[0].files[0].claims.get("description", "")):
        assert Live(said).found == []


def test_there_are_more_than_sixty_ways_to_try() -> None:
    assert len(set(XSS)) == len(XSS) >= 60


def test_a_page_that_could_do_something_is_seen_by_these_tests() -> None:
    dead = sum(not Live(text).found for text in XSS)
    assert dead < len(XSS) / 5  # a few are harmless as they stand: they try the cleaner itself


def test_what_people_write_stays() -> None:
    text = '<h3>Use</h3><p>Put <code>ink</code> in the <em>negative</em> <strong>prompt</strong>.</p><ul><li>one</li></ul>'
    assert description(text) == text
    assert 'href="https://example.org/x?a=1&amp;b=2"' in description('<a href="https://example.org/x?a=1&b=2">x</a>')
    assert "nofollow" in description('<a href="https://example.org/">x</a>')


def test_a_long_or_deep_text_takes_no_time() -> None:
    start = time.monotonic()
    for text in ("<b>" * 50_000, "<table>" * 5_000, "<a href='" * 20_000, "&" * 100_000, "<" * 100_000, "x" * 1_000_000):
        assert Live(description(text)).found == []
        assert len(description(text)) <= LONGEST * 6
    assert time.monotonic() - start < 5


# licences


@pytest.mark.parametrize(
    ("use", "permits"),
    [("Sell", {"sell_models"}), ("Rent", {"rent"}), ("RentCivit", {"rent_on_civitai"}), ("Image", {"sell_images"}), ("None", set()),         # 2023
     (["Image", "RentCivit"], {"sell_images", "rent_on_civitai"}), (["Sell"], {"sell_models"}), ([], set()), (["None"], set()),             # 2024 to 2026
     ("{Image,RentCivit}", {"sell_images", "rent_on_civitai"}), ("{}", set()), ("{Sell}", {"sell_models"}), ('{"Image"}', {"sell_images"}),  # 2026
     (None, set()), (["Moonlight"], set()), ("Moonlight", set()), ([None, 5, "Image"], {"sell_images"}), (7, set()), ({}, set())],
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),
)  # fmt: skip
def test_commercial_use_is_read_in_every_generation(use: Any, permits: set[str]) -> None:
    said = claims(model(1, allowCommercialUse=use, allowNoCredit=True, allowDerivatives=False, allowDifferentLicense=True))["licence"]
    found = set(read_licence(msgspec.json.encode(said).decode(), "civitai").permits)
    assert found == permits | {"no_credit", "other_licence"}


def test_a_model_that_says_nothing_of_its_licence_has_none() -> None:
    assert "licence" not in claims(model(1))
    assert "licence" not in claims(model(1, allowCommercialUse=None, allowNoCredit=None, allowDerivatives=None, allowDifferentLicense=None))


# levels


@pytest.mark.parametrize(
    ("own", "models", "nsfw", "found"),
    [(1, 1, False, "pg"), (2, 1, False, "pg13"), (3, 1, False, "pg13"), (4, 1, False, "r"), (8, 1, True, "x"), (16, 1, True, "xxx"), (31, 1, True, "xxx"),
     (32, 32, True, "xxx"), (63, 63, True, "xxx"), (0, 5, False, "r"), (0, 1, False, "pg"), (None, 4, False, "r"), (0, 0, False, None), (0, 0, True, None),
     (None, None, True, "x"), (None, None, False, "pg"), (None, None, None, None), ("8", 1, False, "x"), (4.0, 1, False, "r"), (0.5, 4, False, None),
     (-1, 2, False, "pg13"), (True, 2, False, "pg13"), ("mild", 2, False, "pg13"), ([], 2, False, "pg13")],
)  # fmt: skip
def test_the_highest_level_counts(own: Any, models: Any, nsfw: Any, found: str | None) -> None:
    body = model(1, version(2, nsfwLevel=own), nsfwLevel=models, nsfw=nsfw)
    one = heard(body)
    assert level(one.model, one.versions[0].version) == found


# gates


@pytest.mark.parametrize(
    ("facts", "until"),
    [({}, ""),
     # until 2024
     ({"earlyAccessTimeFrame": 0}, ""), ({"earlyAccessTimeFrame": None}, ""),
     ({"earlyAccessTimeFrame": 3, "publishedAt": "2024-01-01T00:00:00.000Z"}, "2024-01-04T00:00:00"),
     ({"earlyAccessTimeFrame": 3, "publishedAt": None}, "never"), ({"earlyAccessTimeFrame": 10**9, "publishedAt": "2024-01-01T00:00:00.000Z"}, "never"),
     # 2024 to 2026
     ({"availability": "EarlyAccess", "earlyAccessEndsAt": "2026-08-12T08:18:36.063Z"}, "2026-08-12T08:18:36.063Z"), ({"availability": "EarlyAccess"}, "never"),
     ({"availability": "Public", "earlyAccessEndsAt": "2025-01-01T00:00:00.000Z"}, "2025-01-01T00:00:00.000Z"),
     # since 2026
     ({"paidAccess": None}, ""), ({"paidAccess": {"permanent": False, "endsAt": "2026-08-23T20:55:59.248Z"}}, "2026-08-23T20:55:59.248Z"),
     ({"paidAccess": {"permanent": True, "endsAt": None}}, "never"), ({"paidAccess": {"permanent": False, "endsAt": None}}, "never"),
     ({"paidAccess": {"permanent": True, "endsAt": "2026-08-23T20:55:59.248Z"}}, "never"), ({"paidAccess": {}}, "never"),
     ({"earlyAccessDeadline": "2026-08-23T20:55:59.248Z"}, "2026-08-23T20:55:59.248Z"), ({"availability": "Public"}, ""), ({"availability": None}, "")],
)  # fmt: skip
def test_a_gate_is_read_in_every_generation(facts: dict[str, Any], until: str) -> None:
    found = gate(heard(model(1, version(2, **facts))).versions[0].version)
    assert found.startswith(until)
    assert bool(found) is bool(until)


@pytest.mark.parametrize("facts", [{"paidAccess": {"permanent": False, "endsAt": "2099-01-01T00:00:00.000Z"}}, {"availability": "EarlyAccess"}])
def test_a_version_whose_files_are_withheld_is_counted_once(facts: dict[str, Any]) -> None:
    (one,) = told(heard(model(1, version(2, **facts) | {"files": []})), "nsfw").versions
    assert [each.offer.id for each in one.files] == [withheld(2)]
    assert one.files[0].offer.gate


def test_a_version_without_files_and_without_a_reason_is_nothing() -> None:
    (one,) = told(heard(model(1, version(2) | {"files": []})), "nsfw").versions
    assert one.files == ()


# times


@pytest.mark.parametrize(
    ("text", "at"),
    [("2025-05-19T02:43:46.31", datetime(2025, 5, 19, 2, 43, 46, 310000, UTC)), ("2026-08-11T21:25:04.626Z", datetime(2026, 8, 11, 21, 25, 4, 626000, UTC)),
     ("2026-08-11 21:25:04", datetime(2026, 8, 11, 21, 25, 4, tzinfo=UTC)), ("2026-08-11", datetime(2026, 8, 11, tzinfo=UTC)),
     ("2026-08-11T23:25:04+02:00", datetime(2026, 8, 11, 21, 25, 4, tzinfo=UTC))],
)  # fmt: skip
def test_a_time_without_a_zone_is_utc(text: str, at: datetime) -> None:
    assert moment(text) == at


# files


def test_the_two_of_a_pair_name_each_other_by_role_and_hash() -> None:
    body = model(1, version(2, file(3, "ink.pt"), file(4, "ink-neg.pt", type="Negative", primary=None)))
    positive, negative = claims(body, 0), claims(body, 1)
    assert (positive["role"], negative["role"]) == ("positive", "negative")
    assert positive["pair"] == {"role": "negative", "file": "ink-neg.pt", "sha256": f"{4:064x}"}
    assert negative["pair"] == {"role": "positive", "file": "ink.pt", "sha256": f"{3:064x}"}


@RECORDINGS
def test_the_recorded_pair_is_one() -> None:
    kept = told(heard(recorded("ti_2032_model_plus_negative")), "nsfw")
    roles = [each.claims.get("role") for one in kept.versions for each in one.files if provenance.weights(wire.File(type=each.offer.kind))]
    assert {"positive", "negative"} <= set(roles)
    assert all("pair" in each.claims for one in kept.versions for each in one.files if each.claims.get("role") == "negative" and len(one.files) > 1)


def test_training_data_is_nobodys_pair() -> None:
    body = model(1, version(2, file(3, "x.zip", type="Training Data"), file(4, "ink-neg.pt", type="Negative")))
    assert "pair" not in claims(body, 0)
    assert "pair" not in claims(body, 1)


@pytest.mark.parametrize("tag", ["negative", "Negative Embedding"])
def test_a_model_tagged_negative_is_one(tag: str) -> None:
    found = claims(model(1, tags=["style", tag])).get("role")
    assert found == ("negative" if tag.lower() in provenance.NEGATIVE else None)


def test_claims_say_where_what_and_by_whom() -> None:
    found = claims(model(1, version(2, file(3, "ink.pt"), trainedWords=["ink", " wash ", "", None]), name=" Ink ", creator={"username": "someone"}, tags=["style", 5]))
    assert (found["title"], found["version"], found["creator"], found["base"]) == ("Ink", "v1.0", "someone", "SD 1.5")
    assert (found["trigger"], found["triggers"], found["tags"], found["file"], found["file_id"]) == ("ink", ["wash"], ["style"], "ink.pt", 3)
    assert found["hashes"]["sha256"] == f"{3:064x}"


def test_an_override_name_is_the_name() -> None:
    assert claims(model(1, version(2, file(3, "ink.pt", overrideName="Renamed.pt"))))["file"] == "Renamed.pt"


@pytest.mark.parametrize("creator", [None, {}, {"username": None}, {"username": ""}])
def test_nobody_is_no_creator(creator: Any) -> None:
    assert "creator" not in claims(model(1, creator=creator))


@pytest.mark.parametrize(
    ("kb", "size"), [(3.5, 3584), (6.078125, 6224), (0, None), (-1, None), (None, None), ("4", 4096), (float(1 << 41), None), ("many", None), ([], None)]
)  # fmt: skip
def test_a_size_is_its_kilobytes(kb: Any, size: int | None) -> None:
    one = heard(model(1, version(2, file(3, "ink.pt", sizeKB=kb))))
    assert offer(one.model, one.versions[0].version, one.versions[0].files[0]).size == size


@pytest.mark.parametrize(
    ("hashes", "sha256"),
    [({"SHA256": "AB" * 32}, "ab" * 32), ({"sha256": "ab" * 32}, "ab" * 32), ({"SHA256": "AB" * 31}, None), ({}, None), (None, None), ([], None), ({"SHA256": None}, None),
     ({"SHA256": "zz" * 32}, None), ({"AutoV2": "AB" * 5}, None), ({"SHA256": "../" * 21 + "x"}, None)],
)  # fmt: skip
def test_only_64_hex_digits_are_a_sha256(hashes: Any, sha256: str | None) -> None:
    one = heard(model(1, version(2, file(3, "ink.pt", hashes=hashes))))
    assert offer(one.model, one.versions[0].version, one.versions[0].files[0]).sha256 == sha256


def test_nothing_said_is_longer_than_it_may_be() -> None:
    long = "x" * 100_000
    body = model(1, version(2, file(3, long), name=long, trainedWords=[long] * 100, baseModel=long, publishedAt=long, air=long), name=long, tags=[long] * 1000,
                 creator={"username": long}, description=long)  # fmt: skip
    assert len(msgspec.json.encode(claims(body))) < 110_000


def test_every_odd_model_of_the_fake_has_claims_for_each_file() -> None:
    catalogue = generate(66)
    for each in catalogue.models.values():
        place = Place("http://127.0.0.1:1", "http://127.0.0.1:2")
        versions = [list_version(one, each, place, 31) for one in each.versions]
        kept = told(heard(model_body(each, versions, each.commercial_use_form)), "nsfw")
        for one in kept.versions:
            assert all(file_.claims["title"] and file_.offer.version_id == one.id for file_ in one.files)
