from __future__ import annotations

from typing import Any

import pytest

from embconv.registry.validation.measure import NUMBERS
from embconv.registry.validation.remarks import RULES, remarks
from embconv.registry.verdicts import Calibration

FINE = {"retried": 0, "encoder_parts": {"clip_l": 0.4, "clip_g": 0.2}, "reach": 1.1, "attention": 1.3, "clipped": 0.1, "chroma": 1.2,
        "curve": {"0.4": 0.1, "0.8": 0.2, "1": 0.3, "1.5": 0.29}, "alike": 0.3, "alike_baseline": 0.3, "entropy": 6.0, "entropy_baseline": 6.0}  # fmt: skip
REMARKED = [
    ({"retried": 1}, "retried", "note"),
    ({"encoder_parts": {"clip_l": 0.4, "clip_g": 0.0}}, "half", "warning"),
    ({"reach": 4.1}, "loud", "note"),
    ({"attention": 0.49}, "unattended", "note"),
    ({"curve": {"0.4": 0.1, "1": 0.3, "1.5": 0.2}}, "not_monotone", "note"),
    ({"curve": {"1.5": 0.4, "1": 0.3, "0.4": 0.5}}, "not_monotone", "note"),
    ({"clipped": 0.26}, "clipped", "warning"),
    ({"chroma": 1.6}, "chroma", "warning"),
    ({"alike": 0.99, "alike_baseline": 0.3}, "overfit", "warning"),
    ({"entropy": 0.5}, "nearly_flat", "warning"),
]


def test_there_is_nothing_to_remark_on_what_is_fine() -> None:
    assert list(remarks(FINE, "positive")) == []
    assert list(remarks({}, "positive")) == []


@pytest.mark.parametrize(("numbers", "rule", "severity"), REMARKED, ids=[f"{rule} {place}" for place, (_, rule, _) in enumerate(REMARKED)])
def test_each_rule_remarks_on_its_own_number(numbers: dict[str, Any], rule: str, severity: str) -> None:
    assert [(finding.rule, finding.severity) for finding in remarks({**FINE, **numbers}, "positive")] == [(rule, severity)]


@pytest.mark.parametrize(
    "numbers",
    [{"alike": 0.99, "alike_baseline": 0.95}, {"entropy": 0.5, "entropy_baseline": 0.6}, {"encoder_parts": {"clip_l": 0.0}},
     {"encoder_parts": {"clip_l": 0.0, "clip_g": 0.0}}],
    ids=["seeds are alike without it too", "so is the baseline", "one encoder", "no encoder"],
)  # fmt: skip
def test_what_is_not_its_own_is_not_remarked(numbers: dict[str, Any]) -> None:
    assert list(remarks({**FINE, **numbers}, "positive")) == []


def test_words_say_how_loud_is_loud() -> None:
    calibration = Calibration(fingerprint="f", protocol="p", words=9, percentiles={"positive.reach": {"p99": 3.0}})
    assert [finding.rule for reach in (5.9, 6.1) for finding in remarks({**FINE, "reach": reach}, "positive", calibration)] == ["loud"]


def test_there_is_a_case_for_each_rule_and_every_number_is_explained() -> None:
    assert len({rule for _, rule, _ in REMARKED}) == len(RULES)
    assert set(FINE) <= set(NUMBERS)
