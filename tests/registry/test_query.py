from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconv.registry.errors import BadParameter, UnknownParameter
from embconv.registry.query import FIELDS, PARAMETERS, SORTS, Query, query_of, toggled


def test_nothing_is_a_listing_of_the_newest() -> None:
    assert query_of([]) == Query(q="", sort="added", descending=True, limit=50)


def test_every_parameter_is_read() -> None:
    query = query_of([
        ("q", "easy neg"), ("base", "sd1"), ("base", "none"), ("encoder", "clip_l"), ("role", "negative"), ("verdict", "none"),
        ("layout", "a1111"), ("creator", " Jo "), ("tag", "Anime  Girl"), ("license", "rent"), ("licence", "creativeml-openrail-m"),
        ("nsfw", "unrated"), ("vectors", "2..8"), ("origin", "civitai"), ("added_after", "2026-01-02"), ("sort", "-name"), ("limit", "7"),
        ("facet", "base"), ("facet", "license"), ("facet", "base"),
    ])  # fmt: skip
    assert query == Query(
        q="easy neg", vectors=(2, 8), origin=("civitai",), added_after="2026-01-02T00:00:00.000Z", sort="name", descending=True, limit=7,
        facets=("base", "licence"),
        filters={"base": ("sd1", "none"), "encoder": ("clip_l",), "role": ("negative",), "verdict": ("none",), "layout": ("a1111",),
                 "creator": ("jo",), "tag": ("anime girl",), "licence": ("rent", "creativeml-openrail-m"), "nsfw": ("unrated",)},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"), [("8", (8, 8)), ("2..8", (2, 8)), ("8..", (8, None)), ("..4", (None, 4)), ("0", (0, 0)), ("3..3", (3, 3))]
)
def test_vectors(text: str, parts: tuple[int | None, int | None]) -> None:
    assert query_of([("vectors", text)]).vectors == parts


@pytest.mark.parametrize(
    ("text", "sort", "descending"),
    [("added", "added", True), ("-added", "added", False), ("name", "name", False), ("-name", "name", True), ("vectors", "vectors", False),
     ("downloads", "downloads", True), ("relevance", "added", True)],
)  # fmt: skip
def test_sorts_of_a_listing(text: str, sort: str, descending: bool) -> None:
    query = query_of([("sort", text)])
    assert (query.sort, query.descending) == (sort, descending)


def test_words_are_sorted_by_relevance_unless_something_else_is_asked() -> None:
    assert query_of([("q", "cat")]).sort == "relevance"
    assert query_of([("q", " ")]).sort == "added"
    assert query_of([("q", "cat"), ("sort", "-relevance")]).descending is False


@pytest.mark.parametrize(
    ("text", "moment"),
    [("2026-11-26", "2026-11-26T00:00:00.000Z"), ("2026-11-26T12:30:00Z", "2026-11-26T12:30:00.000Z"),
     ("2026-11-26T12:30:00+02:00", "2026-11-26T10:30:00.000Z"), ("2026-11-26T12:30:00 02:00", "2026-11-26T10:30:00.000Z"),
     ("2026-11-26 12:30", "2026-11-26T12:30:00.000Z")],
)  # fmt: skip
def test_moments(text: str, moment: str) -> None:
    assert query_of([("added_after", text)]).added_after == moment


@pytest.mark.parametrize(
    ("name", "nearest"), [("bse", "base"), ("limits", "limit"), ("tags", "tag"), ("Q", "q"), ("after", "added_after"), ("order", "")]
)
def test_an_unknown_parameter_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UnknownParameter) as caught:
        query_of([(name, "x")])
    assert nearest in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("base", "sd15", "sd1"), ("base", "", ""), ("encoder", "clipl", "clip_l"), ("role", "negativ", "negative"),
        ("verdict", "passed", "pass"),
        ("layout", "a111", "a1111"), ("nsfw", "PG-13", "pg13"), ("licence", "sell_image", "sell_images"), ("facet", "creators", "creator"),
        ("sort", "download", "downloads"), ("sort", "--name", "name"), ("limit", "0", ""), ("limit", "201", ""), ("limit", "x", ""),
        ("limit", "-1", ""), ("limit", "1e2", ""), ("limit", "٣", ""), ("vectors", "..", ""), ("vectors", "8..2", "2..8"),
        ("vectors", "-1", ""),
        ("vectors", "", ""), ("vectors", "2...8", ""), ("added_after", "yesterday", ""), ("added_after", "2026-13-01", ""),
        ("added_after", "0001-01-01T00:00:00+23:00", ""), ("q", "x" * 1001, ""), ("creator", "x" * 201, ""), ("tag", " ", ""),
        ("cursor", "", ""),
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_is_refused(name: str, value: str, hint: str) -> None:
    with pytest.raises(BadParameter) as caught:
        query_of([(name, value)])
    assert hint in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("name", ["q", "vectors", "sort", "limit", "cursor", "added_after"])
def test_what_is_asked_once_cannot_be_given_twice(name: str) -> None:
    value = {"sort": "name", "added_after": "2026-01-01"}.get(name, "5")
    with pytest.raises(BadParameter, match="twice"):
        query_of([(name, value), (name, value)])


def test_too_many_values_are_refused() -> None:
    with pytest.raises(BadParameter, match="at most 50"):
        query_of([("tag", str(number)) for number in range(51)])


@given(st.lists(st.tuples(st.sampled_from(PARAMETERS), st.text(max_size=30)), max_size=6))
def test_anything_is_a_query_or_a_bad_parameter(pairs: list[tuple[str, str]]) -> None:
    with suppress(BadParameter):
        assert query_of(pairs).sort in SORTS


BASE = "http://x/v1/embeddings"


@pytest.mark.parametrize(
    ("pairs", "field", "value", "after"),
    [
        ([], "base", "sd1", [("base", "sd1")]),
        ([("q", "a b"), ("cursor", "zz")], "base", "sd1", [("q", "a b"), ("base", "sd1")]),
        ([("base", "sd1"), ("base", "sdxl")], "base", "sd1", [("base", "sdxl")]),
        ([("base", "sd1")], "base", "sd1", []),
        ([("license", "rent")], "licence", "rent", []),
        ([("tag", "Anime Girl"), ("tag", "x")], "tag", "anime girl", [("tag", "x")]),
        ([("creator", "JO")], "creator", "Jo", []),
        ([("creator", "a")], "creator", "ü&=", [("creator", "a"), ("creator", "ü&=")]),
        ([("base", "SD1")], "base", "sd1", []),
    ],
)  # fmt: skip
def test_toggling(pairs: list[tuple[str, str]], field: str, value: str, after: list[tuple[str, str]]) -> None:
    url = toggled(BASE, pairs, field, value)
    assert url.startswith(BASE)
    assert parse_qsl(urlsplit(url).query) == after


@pytest.mark.parametrize("field", FIELDS)
@given(value=st.text(min_size=1, max_size=20))
def test_toggling_twice_changes_nothing(field: str, value: str) -> None:
    once = toggled(BASE, [("q", "x")], field, value)
    pairs = parse_qsl(urlsplit(once).query, keep_blank_values=True, errors="surrogatepass")
    if pairs == [("q", "x"), (field, value)]:  # half a character does not survive a URL
        assert toggled(BASE, pairs, field, value) == f"{BASE}?q=x"
