"""Which offers are taken: a table of facts and reasons."""

from __future__ import annotations

from typing import Any

import pytest

from embconv.registry.civitai.choose import REASONS, Options, checked, due, judge, passed, selected
from embconv.registry.errors import BadParameter
from embconv.registry.model import Offer, Offered

NOW, PAST, FUTURE = "2026-08-12T00:00:00Z", "2024-02-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"
LIMIT = 1000


def offered(state: str = "waiting", reason: str = "", again: str = "", **facts: Any) -> Offered:
    said = {"id": 1, "model_id": 2, "version_id": 3, "title": "Ink", "name": "ink.pt", "kind": "Model", "size": 100, "level": "pg", **facts}
    return Offered(offer=Offer(**said), state=state, reason=reason, again=again)


# facts, options -> the reason, or nothing
TABLE: tuple[tuple[dict[str, Any], dict[str, Any], str], ...] = (
    ({}, {}, ""),
    ({"mode": "Archived"}, {}, "archived"),
    ({"mode": "TakenDown"}, {}, "taken_down"),
    ({"mode": "Somehow"}, {}, ""),
    ({"kind": "Negative"}, {}, ""),
    ({"kind": "Other"}, {}, ""),
    ({"kind": ""}, {}, ""),
    ({"kind": "Training Data"}, {}, "not_an_embedding"),
    ({"kind": "Config"}, {}, "not_an_embedding"),
    ({"kind": "VAE"}, {}, "not_an_embedding"),
    ({"kind": "Hologram"}, {}, "not_an_embedding"),
    ({"size": LIMIT}, {}, ""),
    ({"size": LIMIT + 1}, {}, "not_an_embedding"),
    ({"size": None}, {}, ""),
    ({"level": "pg13"}, {}, "above_nsfw_level"),
    ({"level": "pg13"}, {"nsfw": "pg13"}, ""),
    ({"level": "r"}, {"nsfw": "x"}, ""),
    ({"level": "xxx"}, {"nsfw": "x"}, "above_nsfw_level"),
    ({"level": None}, {"nsfw": "xxx"}, "above_nsfw_level"),
    ({"level": None}, {"nsfw": "all"}, ""),
    ({"level": "xxx"}, {"nsfw": "all"}, ""),
    ({"gate": FUTURE}, {}, "early_access"),
    ({"gate": "never"}, {}, "early_access"),
    ({"gate": "sometime"}, {}, "early_access"),
    ({"gate": PAST}, {}, ""),
    ({"state": "skipped", "reason": "not_found"}, {}, "not_found"),
    ({"state": "skipped", "reason": "not_found", "again": FUTURE}, {}, "not_found"),
    ({"state": "skipped", "reason": "not_found", "again": PAST}, {}, ""),
    ({"state": "skipped", "reason": "login_required", "again": "token"}, {}, "login_required"),
    ({"state": "failed"}, {}, ""),
)


@pytest.mark.parametrize(("facts", "options", "reason"), TABLE)
def test_what_is_passed_over_has_its_reason(facts: dict[str, Any], options: dict[str, Any], reason: str) -> None:
    found = judge(offered(**facts), Options(**options), token=False, now=NOW, limit=LIMIT)
    assert (found.reason if found else "") == reason


def test_with_a_token_a_gate_is_tried_and_so_is_what_needs_an_account() -> None:
    for facts in ({"gate": FUTURE}, {"gate": "never"}, {"state": "skipped", "reason": "login_required", "again": "token"}):
        assert judge(offered(**facts), Options(), token=True, now=NOW, limit=LIMIT) is None


def test_every_reason_is_one_of_the_words() -> None:
    assert {reason for _, _, reason in TABLE if reason} <= set(REASONS)
    assert set(REASONS) == {"archived", "taken_down", "early_access", "login_required", "generation_only", "region_blocked", "not_an_embedding",
                            "above_nsfw_level", "not_found"}  # fmt: skip


@pytest.mark.parametrize(
    ("base", "wanted", "taken"),
    [("SD 1.5", (), True), ("SD 1.5", ("sd1",), True), ("SD 1.5", ("SD 1.5",), True), ("SD 1.5", ("sd 1.5",), True), ("SD 1.4", ("SD 1.5",), False),
     ("SD 1.4", ("sd1",), True), ("Pony", ("sdxl",), True), ("SDXL 1.0", ("sd1",), False), ("SDXL 1.0", ("sd1", "sdxl"), True), ("Other", ("other",), True),
     ("", ("sd1",), False), ("SD 9.9", ("sd1",), False)],
)  # fmt: skip
def test_a_base_is_ours_or_civitais(base: str, wanted: tuple[str, ...], taken: bool) -> None:
    assert selected(offered(base=base).offer, Options(base=wanted)) is taken


@pytest.mark.parametrize("facts", [{"nsfw": "PG"}, {"nsfw": ""}, {"base": ("sd9",)}, {"since": "soon"}, {"limit": -1}, {"rate": -0.1}, {"downloads": 0}, {"downloads": 33}])
def test_options_without_a_meaning_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(BadParameter):
        checked(Options(**facts))


@pytest.mark.parametrize("facts", [{}, {"nsfw": "all"}, {"base": ("sdxl", "SD 1.5", "other")}, {"since": "last"}, {"since": "2026-08-01"}, {"rate": 0}, {"downloads": 32}])
def test_options_with_a_meaning_stay_as_they_are(facts: dict[str, Any]) -> None:
    assert checked(Options(**facts)) == Options(**facts)


@pytest.mark.parametrize(("text", "is_"), [(PAST, True), (FUTURE, False), ("never", False), ("", False), ("2026-08-11T23:59:59.31", True), ("2026-08-12T02:00:00+02:30", True)])
def test_a_moment_is_over_by_the_clock_of_utc(text: str, is_: bool) -> None:
    assert passed(text, NOW) is is_


def test_another_try_is_due_by_a_token_or_a_time() -> None:
    assert due("token", NOW, token=True)
    assert not due("token", NOW, token=False)
    assert due(PAST, NOW, token=False)
    assert not due(FUTURE, NOW, token=True)
    assert not due("", NOW, token=True)
