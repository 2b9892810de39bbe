"""`embconv search`: words, filters, counts and pages; here and through a server alike."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embconv.cli.search import FILTERS, ONCE
from embconv.registry.query import ALIASES, FIELDS, PARAMETERS

from .conftest import Said
from .test_terminal import on_a_terminal

Run = Callable[..., Said]


@pytest.fixture
def kept(samples: Path, embconv: Run, place: str) -> Run:
    """All samples in the registry, one of them negative and tagged."""
    embconv("add", ".", "-r")
    embconv("add", "moonpaper.pt", "--role", "negative", "--tag", "ink")
    return embconv


def names(said: Said) -> list[str]:
    return [line.split("  ")[0] for line in said.lines]


def test_every_parameter_of_a_search_is_an_option() -> None:
    assert {*FILTERS, *ONCE, "q", "facet"} == set(PARAMETERS)
    assert set(FIELDS) <= set(FILTERS)
    assert set(ALIASES) == {"license"}


def test_words_find_and_the_last_may_be_a_beginning(kept: Run) -> None:
    said = kept("search", "moonp")
    assert (said.code, names(said), said.err) == (0, ["moonpaper"], "1 found\n")


def test_a_line_has_what_tells_one_from_another(kept: Run) -> None:
    (line,) = kept("search", "moonpaper").lines
    digest = kept("search", "moonpaper", "-q").out.strip()
    assert line.split() == ["moonpaper", "sd1", "4", "negative", "ink", line.split()[5], digest[:16]]
    assert kept("show", line.split()[-1], "-q").out.strip() == digest


def test_filters_narrow(kept: Run) -> None:
    assert names(kept("search", "--base", "sdxl")) == ["paper-xl"]
    assert names(kept("search", "--role", "negative", "--tag", "ink")) == ["moonpaper"]
    assert sorted(names(kept("search", "--base", "sd2", "--base", "sdxl"))) == ["old-style", "paper-xl"]
    assert names(kept("search", "--vectors", "2..2", "--base", "sdxl")) == ["paper-xl"]
    assert names(kept("search", "--license", "sell_images")) == []


def test_facets_are_counted_over_all_that_is_found(kept: Run) -> None:
    said = kept("search", "--limit", "1", "--facet", "base", "--facet", "role", "--base", "sd1")
    assert "base:" in said.lines
    counted = {line.split()[-2]: line.split()[-1] for line in said.lines[2:] if len(line.split()) > 1}
    assert counted["negative"] == "1"
    assert "*  sd1" in said.out
    document = kept("search", "--facet", "base", "--json").document
    assert {one["value"]: one["count"] for one in document["facets"]["base"]["results"]}["sdxl"] == 1
    assert document["total"] == len(document["items"])


def test_pages_lead_on_and_all_is_all(kept: Run) -> None:
    everything = kept("search", "--all", "-q").lines
    first = kept("search", "--limit", "3", "--json").document
    second = kept("search", "--limit", "200", "--cursor", first["cursor"], "-q").lines
    assert [item["digest"] for item in first["items"]] + second == everything
    said = kept("search", "--limit", "3")
    assert said.err == f"3 of {len(everything)} shown\n  The next: --cursor {first['cursor']}\n"
    assert len(kept("search", "--all", "--nl").documents) == len(everything)


def test_an_order(kept: Run) -> None:
    found = names(kept("search", "--sort", "name"))
    assert found == sorted(found)
    assert names(kept("search", "--sort", "-name")) == found[::-1]


def test_nothing_found_says_what_would_find_something(kept: Run) -> None:
    said = kept("search", "moonpaper", "--base", "sdxl")
    assert (said.code, said.out) == (0, "")
    assert said.err.splitlines() == ["Nothing here fits.", "  1 without the words", "  1 without --base"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--base", "sdx"], "Did you mean sdxl?"),
        (["--sort", "nam"], "Did you mean name?"),
        (["--limit", "0"], "from 1 to 200"),
        (["--cursor", "x"], "cursor"),
        (["--facet", "bas"], "Did you mean base?"),
        (["--all", "--limit", "2"], "--all is everything"),
        (["--json", "-q"], "Choose one"),
    ],
)
def test_what_means_nothing_is_a_usage_error(kept: Run, arguments: list[str], says: str) -> None:
    said = kept("search", *arguments)
    assert said.code == 2
    assert says in said.err


@pytest.mark.parametrize("words", ['"', "a*", "NEAR(", "()", "\x00", "--", "x OR y AND", "'; DROP TABLE embeddings"])
def test_any_words_are_harmless(kept: Run, words: str) -> None:
    assert kept("search", "--", words).code == 0


def test_without_a_registry_it_says_how_to_begin(folder: Path, embconv: Run, home: Path) -> None:
    said = embconv("search", "x")
    assert (said.code, said.out) == (2, "")
    assert "embconv add FOLDER -r" in said.err
    assert not home.exists()
    assert embconv("search", "x", "--json").document["error"]["code"] == "no_store"


def test_names_with_control_characters_are_shown_as_escapes(folder: Path, embconv: Run) -> None:
    from stored import numbers

    from embconv.converters.containers import torch_zip

    Path("evil.bin").write_bytes(torch_zip.write({"<a\x1b[31mred>": numbers(1)}))
    embconv("add", "evil.bin")
    for command in (("search",), ("show", "a\x1b[31mred"), ("search", "--json")):
        assert "\x1b" not in embconv(*command).out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_on_a_terminal_the_columns_have_a_head_and_adding_a_bar(samples: Path) -> None:
    code, out, shown = on_a_terminal(samples, "add", ".", "-r", "-q")
    assert (code, len(out.splitlines())) == (1, 11)
    assert "Adding" in shown
    assert "\x1b" not in out
    code, _, shown = on_a_terminal(samples, "search", "moonpaper", both=True)
    assert code == 0
    first, second = [line for line in shown.splitlines() if "moonpaper" in line or "digest" in line]
    assert "base" in first
    assert "emb:77f71e747bf7" in second
