import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embconv.registry.words import indexed, spoken


@pytest.fixture(scope="module")
def index() -> Iterator[sqlite3.Connection]:
    conn = sqlite3.connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE words USING fts5 (text, prefix='1 2 3', tokenize='unicode61 remove_diacritics 2')")
    yield conn
    conn.close()


def finds(index: sqlite3.Connection, text: str, query: str) -> bool | None:
    """Is a text found by a query? None where the query asks nothing."""
    asked = spoken(query)
    if asked is None:
        return None
    index.execute("DELETE FROM words")
    index.execute("INSERT INTO words (rowid, text) VALUES (1, ?)", (indexed(text),))
    questions = [question for question in (" AND ".join(asked.terms), asked.begins) if question]
    answers = [index.execute("SELECT count(*) FROM words WHERE words MATCH ?", (question,)).fetchone()[0] for question in questions]
    return bool(answers) and all(answers)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("EasyNegative", "easynegative"), ("EasyNegative", "easy negative"), ("EasyNegative", "easyn"), ("EasyNegative", "negative easy"),
        ("EasyNegative", "EasyNegative"), ("EasyNegative", "Negat"), ("easy negative", "EasyNegative"), ("EasyNegative", '"easy negative"'),
        ("badhandv4", "badhand v4"), ("badhandv4", "bad"), ("badhand v4", "badhandV4"), ("style2", "style 2"),
        ("bad_hands-5.pt", "bad hands"), ("bad_hands-5", "bad_hands-5"), ("bad_hands-5", "hands bad"), ("bad_hands-5", "hands_5"),
        ("HTMLParser", "parser html"), ("ng_deepnegative_v1_75t", "deepnegative 75t"),
        ("Café Crème", "cafe creme"), ("cafe", "CAFÉ"), ("ＥａｓｙNegative", "easy"), ("e\u0301te\u0301", "été"), ("Привет мир", "ПРИ"),
        ("初音ミク", "初音"), ("初音ミク", "音ミ"), ("初音ミクv2", "ミクv2"), ("美少女风格", "少女"), ("소녀시대", "녀시"),
        ("ｶﾞﾝﾀﾞﾑ", "ガンダム"),
        ("red dark fantasy", '"dark fantasy"'), ("red dark fantasy", '"dark fantasy'), ("red dark fantasy", 'red "dark fan" OR'),
        ("AND OR NOT NEAR", "and or not near("), ("a:b", "a:b"), ("name: x", "name:"), ("cat 🙂", "🙂 cat"), ("100% cat", "100%"),
        ("half \ud800 character", "half"), ("half", "\udfff half"), ("nul\0cat", "cat"), ("x", "x"), ("Ⅷ", "viii"),
    ],
)  # fmt: skip
def test_it_is_found(index: sqlite3.Connection, text: str, query: str) -> None:
    if query == 'red "dark fan" OR':  # a phrase is whole words, and OR is a word
        assert finds(index, text, query) is False
    else:
        assert finds(index, text, query) is True


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("EasyNegative", "negative x"), ("EasyNegative", "eas negative"), ("dark red fantasy", '"dark fantasy"'), ("cat", '"ca"'),
        ("初音ミク", "音初"), ("初音ミク", "初ミ"), ("cat", "🙂"), ("cat", "!!!"), ("cat", "* ("), ("abc", "abc*d"),
        ("cat dog", "cat NOT dog"),
        ("cat", "cat OR dog"), ("", "a"),
    ],
)  # fmt: skip
def test_it_is_not_found(index: sqlite3.Connection, text: str, query: str) -> None:
    assert finds(index, text, query) is False


@pytest.mark.parametrize("query", ["", " ", '"', '" "', "\t\n", '""""'])
def test_nothing_is_asked(query: str) -> None:
    assert spoken(query) is None


@given(st.text(alphabet=st.characters(), max_size=60), st.text(max_size=30))
def test_any_text_is_a_query_and_can_be_indexed(index: sqlite3.Connection, query: str, text: str) -> None:
    assert finds(index, text, query) in (True, False, None)


@given(st.text(alphabet='"*():^+-{}.\\ ANDORNTEab\0\ud800é初', max_size=40))
def test_no_sign_is_an_operator(index: sqlite3.Connection, query: str) -> None:
    assert finds(index, "nothing of it", query) in (True, False, None)


@given(st.lists(st.text(alphabet="abcXYZ12_-é初ア", min_size=1, max_size=12), min_size=1, max_size=4))
def test_a_text_is_found_by_itself(index: sqlite3.Connection, words: list[str]) -> None:
    text = " ".join(words)
    assert finds(index, text, text) is not False or not any(c.isalnum() for c in text)


def test_a_plain_text_is_indexed_as_it_is() -> None:
    assert indexed("a dark_fantasy style, v2 of 1990") == "a dark_fantasy style, v2 of 1990"
