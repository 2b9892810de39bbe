from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from embconv.registry.validation.decide import BARS, LEANING, SIDES, STATES, Case, copy_of, decide, effects, limits, settled, suggested
from embconv.registry.verdicts import Calibration

# Numbers far above every uncalibrated bar.
GOOD = {"encoder": 0.4, "probe": 0.3, "latents": 0.5, "pixels": 0.1, "finite": True, "contrast": 0.2, "one_colour": 0.1,
        "contrast_baseline": 0.2, "one_colour_baseline": 0.1}  # fmt: skip
WORDS = {"p0": 0.2, "p1": 0.3, "p5": 0.4, "p50": 1.0, "p95": 2.0, "p99": 3.0, "p100": 4.0}


def calibrated(**noise: float) -> Calibration:
    """Ordinary words do 1 in the middle, with every number, on both sides."""
    numbers = [f"{side}.{bar.number}" for side in SIDES for bar in BARS]
    return Calibration(fingerprint="f", protocol="p", words=200, percentiles=dict.fromkeys(numbers, WORDS),
                       noise={f"positive.{name}": value for name, value in noise.items()})  # fmt: skip


def state_of(numbers: dict[str, Any], calibration: Calibration | None = None, *, role: str = "positive") -> str:
    return decide(Case(sides={role: numbers}, role=role), calibration).state


# bars


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.number)
@pytest.mark.parametrize(("share", "state"), [(0.0, "no_effect"), (1.0, "no_effect"), (1.01, "weak"), (0.99, "weak"), (1.0001, "pass")])
def test_each_bar_stands_where_its_table_says(bar: Any, share: float, state: str) -> None:
    low = share in {0.0, 1.0, 1.01}
    value = (bar.nothing if low else bar.weak) * share
    assert state_of({**GOOD, bar.number: value}) == state


@pytest.mark.parametrize("bar", BARS, ids=lambda bar: bar.number)
def test_calibrated_each_bar_is_a_share_of_what_words_do(bar: Any) -> None:
    found = limits(bar, "positive", calibrated())
    assert found == (bar.nothing_of, min(bar.weak_of, 0.3), 1.0)
    much = dict.fromkeys((each.number for each in BARS), 5.0)
    for value, state in ((found.nothing, "no_effect"), (found.nothing * 1.01, "weak"), (found.weak * 0.99, "weak"), (found.weak, "pass")):
        assert state_of({**much, bar.number: value}, calibrated()) == state


def test_the_hundredth_word_is_weak_only_if_that_is_less_than_a_share_of_the_median() -> None:
    probe = BARS[1]
    few = Calibration(fingerprint="f", protocol="p", words=9, percentiles={"positive.probe": {**WORDS, "p1": 0.1}})
    assert limits(probe, "positive", few).weak == 0.1
    assert limits(probe, "positive", calibrated()).weak == 0.25


def test_what_is_within_the_noise_is_nothing() -> None:
    pixels = BARS[-1]
    assert limits(pixels, "positive", calibrated(pixels=0.2)).nothing == pytest.approx(0.6)
    assert state_of({**dict.fromkeys((each.number for each in BARS), 5.0), "pixels": 0.59}, calibrated(pixels=0.2)) == "no_effect"
    uncounted = Calibration(fingerprint="f", protocol="p", words=0, noise={"positive.pixels": 0.01})
    assert limits(pixels, "positive", uncounted).nothing == pytest.approx(0.03)


def test_a_number_that_nobody_calibrated_has_the_usual_bar() -> None:
    assert limits(BARS[1], "negative", Calibration(fingerprint="f", protocol="p", words=9)) == (BARS[1].nothing, BARS[1].weak, None)


@pytest.mark.parametrize("several", list(itertools.product(("pass", "weak", "no_effect"), repeat=len(BARS))), ids="-".join)
def test_the_worst_layer_decides(several: tuple[str, ...]) -> None:
    values = {"pass": 2.0, "weak": 1.5, "no_effect": 0.5}
    numbers = {bar.number: values[state] * (bar.nothing if state != "pass" else bar.weak) for bar, state in zip(BARS, several, strict=True)}
    worst = max(several, key=STATES.index)
    decision = decide(Case(sides={"positive": GOOD | numbers}, role="positive"), None)
    assert decision.state == worst
    spoken = [bar.what for bar, state in zip(BARS, several, strict=True) if state == worst][-1]
    assert spoken in decision.because


def test_layers_that_were_not_reached_say_nothing() -> None:
    assert [effect.bar.number for effect in effects({"encoder": 0.4, "probe": 0.3}, "positive", None)] == ["probe", "encoder"]
    assert state_of({"encoder": 0.4, "probe": 0.3}) == "pass"
    assert state_of({}) == "error"


def test_a_number_that_is_none_is_no_effect() -> None:
    assert state_of({**GOOD, "pixels": math.nan}) == "no_effect"


# broken


@pytest.mark.parametrize(
    ("numbers", "says"),
    [({"encoder": math.inf}, "too large"), ({**GOOD, "finite": False}, "not finite, in float32"),
     ({**GOOD, "contrast": 0.001}, "flat"), ({**GOOD, "one_colour": 0.99}, "99% of it one colour")],
)  # fmt: skip
def test_what_breaks_is_broken_whatever_else_it_does(numbers: dict[str, Any], says: str) -> None:
    decision = decide(Case(sides={"positive": numbers}, role="positive"), calibrated())
    assert decision.state == "broken"
    assert says in decision.because
    assert decision.suggested_weight is None


@pytest.mark.parametrize("same", [{"contrast": 0.001, "contrast_baseline": 0.001}, {"one_colour": 0.99, "one_colour_baseline": 0.99}])
def test_a_flat_picture_beside_a_flat_one_is_not_its_fault(same: dict[str, float]) -> None:
    assert state_of({**GOOD, **same}) == "pass"


def test_precision_is_not_its_fault() -> None:
    decision = decide(Case(sides={"positive": {**GOOD, "retried": 2}}, role="positive"), None)
    assert (decision.state, [finding.rule for finding in decision.findings]) == ("pass", ["retried"])


# role


def both(leaning: float | None = None, positive: dict[str, Any] | None = None, negative: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
    lean = {} if leaning is None else {"leaning": leaning}
    return {"positive": {**GOOD, **lean, **(positive or {})}, "negative": {**GOOD, **(negative or {})}}


@pytest.mark.parametrize(
    ("declared", "leaning", "hinted", "role", "says"),
    [("positive", 1.0, "negative", "positive", None), ("negative", -1.0, "unknown", "negative", None),
     ("unknown", LEANING, "unknown", "negative", "Possibly negative"), ("unknown", -LEANING, "unknown", "positive", "Possibly positive"),
     ("unknown", LEANING, "negative", "negative", "Likely negative"), ("unknown", -LEANING, "negative", "unknown", "pictures suggest positive"),
     ("unknown", LEANING * 0.99, "unknown", "unknown", "leans neither"), ("unknown", 0.0, "negative", "unknown", "name suggests negative"),
     ("unknown", None, "unknown", "unknown", "not rendered on both sides")],
)  # fmt: skip
def test_the_role_is_the_declared_one_else_what_pictures_and_name_tell(declared: str, leaning: float | None, hinted: str, role: str, says: str | None) -> None:
    decision = decide(Case(sides=both(leaning), role=declared, hinted=hinted), None)
    assert decision.role == role
    assert [says in finding.says for finding in decision.findings if finding.rule == "role"] == ([True] if says else [])


def test_leaning_has_to_be_more_than_that_of_words() -> None:
    calibration = Calibration(fingerprint="f", protocol="p", words=200, percentiles={"positive.leaning": {"p95": 0.5}})
    roles = [decide(Case(sides=both(leaning)), calibration).role for leaning in (0.49, 0.51, -0.51)]
    assert roles == ["unknown", "negative", "positive"]


@pytest.mark.parametrize(
    ("leaning", "hinted", "positive", "negative", "state"),
    [(0.0, "unknown", {"pixels": 0.0}, {}, "pass"), (0.0, "unknown", {}, {"pixels": 0.0}, "pass"),
     (0.0, "unknown", {"pixels": 0.0}, {"pixels": 0.0}, "no_effect"), (0.0, "unknown", {"contrast": 0.0}, {}, "broken"),
     (0.5, "unknown", {"contrast": 0.0}, {}, "pass"), (0.0, "negative", {"contrast": 0.0}, {"pixels": 0.005}, "weak"),
     (0.0, "unknown", {}, {"contrast": 0.0}, "pass"), (-0.5, "unknown", {"pixels": 0.0}, {}, "no_effect")],
)  # fmt: skip
def test_the_side_of_its_role_decides_else_the_better_one_unless_it_breaks_the_prompt(
    leaning: float, hinted: str, positive: dict[str, Any], negative: dict[str, Any], state: str
) -> None:
    assert decide(Case(sides=both(leaning, positive, negative), hinted=hinted), None).state == state


def test_what_breaks_on_the_other_side_is_remarked() -> None:
    decision = decide(Case(sides=both(0.5, {"contrast": 0.0})), None)
    assert [(finding.rule, finding.where) for finding in decision.findings if finding.rule == "other_side"] == [("other_side", "positive")]


# the end


def test_nothing_is_measured_that_cannot_change_the_verdict() -> None:
    dead = {"encoder": 0.0}
    assert settled(Case(sides={"positive": dead}), None)
    assert settled(Case(sides={"positive": dead, "negative": {"encoder": math.inf}}), None)
    assert not settled(Case(sides={"positive": dead, "negative": {"encoder": 0.5}}), None)
    assert not settled(Case(sides={"positive": {"encoder": 0.5, "probe": 0.005}}), None)  # weak may yet be nothing


@pytest.mark.parametrize(
    ("curve", "weight"),
    [({0.4: 0.4, 0.8: 0.8, 1.0: 1.0, 1.5: 1.5}, 1.0), ({0.4: 2.0, 0.8: 5.9, 1.0: 8.0, 1.5: 9.0}, 0.8), ({0.4: 7.0, 0.8: 8.0, 1.0: 9.0}, 0.4),
     ({0.4: 0.1, 1.0: 0.3, 1.2: 0.39, 1.5: 0.5}, 1.5), ({0.4: 0.1, 1.0: 0.2, 1.2: 0.3, 1.5: 0.35}, 1.5), ({0.4: 1.0}, None), ({}, None)],
)  # fmt: skip
def test_the_weight_that_makes_it_as_strong_as_words_are(curve: dict[float, float], weight: float | None) -> None:
    numbers = {"curve": {f"{at:g}": value for at, value in curve.items()}}
    assert suggested(numbers, "positive", calibrated()) == weight
    assert suggested(numbers, "positive", None) is None


def test_many_vectors_may_do_more_than_one_word() -> None:
    numbers = {"curve": {"0.4": 5.0, "1": 8.0}}
    assert suggested(numbers, "positive", calibrated()) == 0.4
    assert suggested(numbers, "positive", calibrated(), vectors=4) == 1.0


def test_a_copy_of_a_word_is_called_by_its_name() -> None:
    decision = copy_of("cat", "negative")
    assert (decision.state, decision.role) == ("no_effect", "negative")
    assert '"cat"' in decision.because


@pytest.mark.parametrize("side", SIDES)
def test_because_is_a_sentence_with_its_number(side: str) -> None:
    decision = decide(Case(sides={side: {**GOOD, "pixels": 0.0123}}, role=side), calibrated())
    assert "0.012" in decision.because
    assert "ordinary words do by 1" in decision.because
    assert decision.because.startswith("In the negative prompt" if side == "negative" else "In the prompt")
    assert decision.because.endswith(".")
