"""Test renders that are asked for: answered once, leased in groups, ended once, shown with their embedding and gone with it."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from judged import checkpoint, fill, judged, know, verdict, webp
from msgspec.structs import replace
from stored import a1111

from embconv.registry.backup import backup
from embconv.registry.blobs import Blobs
from embconv.registry.columns import Columns
from embconv.registry.errors import BadParameter, Busy, Gone, UnknownReference
from embconv.registry.export import previews_in
from embconv.registry.ingest import ingest, sweep, take_away
from embconv.registry.model import Entry
from embconv.registry.query import query_of
from embconv.registry.render_errors import CannotRender, NoCheckpoint, UnknownCheckpoint, UnknownRender, UnknownValidation
from embconv.registry.search import search
from embconv.registry.store import Store, document, rebuilt, resolve
from embconv.registry.store.checkpoints import drop_checkpoint, put_checkpoint
from embconv.registry.store.leases import (
    Lease,
    broken_off,
    done_by,
    finish,
    finish_waiting,
    give_back,
    groups,
    lapsed,
    lease,
    renew,
    running,
)
from embconv.registry.store.validations import Asked, render_by_id, verdicts_of
from embconv.registry.times import now
from embconv.registry.validations import KIND, Validation, Wanted, ask, changing, checked, enqueue, keep, one, pending, picture, question
from embconv.registry.verdicts import KeptVerdict
from embconv.registry.verify import verify

FIFTEEN, OTHER, TWO = checkpoint("fifteen"), checkpoint("other"), checkpoint("two", "sd2")


@pytest.fixture
def known(store: Store) -> Store:
    know(store, FIFTEEN, OTHER, TWO)
    return store


@pytest.fixture
def named(known: Store, blobs: Blobs) -> Callable[..., list[str]]:
    return partial(fill, known, blobs)


def kept(store: Store, blobs: Blobs, ref: str, wanted: Wanted | None = None, state: str = "pass", drawn: str = "") -> KeptVerdict:
    """Keep a verdict, as a worker does."""
    asked = question(store.read, ref, wanted or Wanted())
    model = next(each for each in (FIFTEEN, OTHER, TWO) if each.fingerprint == asked.fingerprint)
    found = keep(store, blobs, asked, judged(model, asked.protocol, asked.digest, state, drawn))
    assert found is not None
    return found


def leased(store: Store, by: str = "w", most: int = 100, seconds: float = 60.0, only: Any = None) -> list[Lease]:
    def work(db: Any) -> list[Lease]:
        found = groups(db, KIND, only)
        return lease(db, found[0], KIND, by, most, at=now(), until=now(seconds), only=only) if found else []

    return store.write(work)


def entry(store: Store, ref: str) -> Entry:
    return msgspec.json.decode(document(store.read, resolve(store.read, ref)), type=Entry)


def found(store: Store, **asked: str) -> set[str]:
    columns = Columns(store)
    columns.warm()
    return {msgspec.json.decode(each, type=Entry).name for each in search(store, columns, query_of(list(asked.items()))).items}


# asking


def test_a_question_becomes_a_job_once(known: Store, named: Any) -> None:
    (digest,) = named("a")
    first = ask(known, "a", Wanted())
    assert isinstance(first, Validation)
    assert (first.digest, first.state, first.attempt, first.verdict, first.failed) == (digest, "waiting", 0, None, None)
    assert (first.checkpoint["name"], first.protocol["name"], first.protocol["width"]) == ("fifteen", "standard", 64)
    assert ask(known, digest, Wanted()) == first
    (held,) = leased(known)
    again = ask(known, "a", Wanted())
    assert isinstance(again, Validation)
    assert (again.id, again.state, again.attempt) == (first.id, "running", 1)
    assert held.id == first.id


@pytest.mark.parametrize("other", [Wanted(checkpoint="other"), Wanted(profile="quick"), Wanted(sheets=("strength",)), Wanted(prompts=("{T} at sea",))])
def test_another_question_is_another_job(known: Store, named: Any, other: Wanted) -> None:
    named("a")
    first, second = ask(known, "a", Wanted()), ask(known, "a", other)
    assert first.id != second.id
    assert ask(known, "a", other) == second


def test_a_known_answer_is_the_answer(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    verdict = kept(known, blobs, "a")
    assert ask(known, "a", Wanted()) == verdict
    assert groups(known.read, KIND) == []


def test_what_was_answered_while_it_was_asked_is_no_job(known: Store, blobs: Blobs, named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker keeps a verdict after somebody looked for it, and before the job is written down."""
    (digest,) = named("a")
    asked, verdict = question(known.read, "a", Wanted()), kept(known, blobs, "a")
    assert known.write(lambda db: enqueue(db, asked, now())) == verdict
    monkeypatch.setattr("embconv.registry.validations.unjudged", lambda *_, **__: [digest])
    assert pending(known, Wanted(), base="sd1") == []
    assert groups(known.read, KIND) == []


def test_what_ended_in_an_error_may_be_asked_again(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    kept(known, blobs, "a", state="error")
    assert isinstance(ask(known, "a", Wanted()), Validation)


def test_sheets_are_asked_for_in_one_order() -> None:
    assert checked(Wanted(sheets=("prompts", "strength", "strength"))).sheets == ("strength", "prompts")
    assert checked(Wanted(prompts=("{T}", "{T}"))) == Wanted(sheets=("prompts",), prompts=("{T}",))


@pytest.mark.parametrize(
    ("ref", "wanted", "error"),
    [("b", Wanted(), UnknownReference), ("a", Wanted(checkpoint="fiften"), UnknownCheckpoint), ("a", Wanted(profile="fast"), BadParameter),
     ("a", Wanted(sheets=("colours",)), BadParameter), ("a", Wanted(prompts=("no place",)), BadParameter), ("two", Wanted(), NoCheckpoint),
     ("a", Wanted(prompts=("{T}" * 5,)), BadParameter), ("a", Wanted(prompts=("{T}\n",)), BadParameter), ("a", Wanted(prompts=tuple(f"{{T}} {n}" for n in range(9))), BadParameter)],
)  # fmt: skip
def test_a_question_without_a_meaning_is_refused(store: Store, blobs: Blobs, ref: str, wanted: Wanted, error: type[Exception]) -> None:
    know(store, FIFTEEN)
    fill(store, blobs, "a")
    fill(store, blobs, "two", base="sd2", first=9)
    with pytest.raises(error):
        ask(store, ref, wanted)


def test_what_cannot_be_rendered_is_refused_unless_a_checkpoint_is_named(known: Store, blobs: Blobs, add: Any) -> None:
    from stored import numbers

    from embconv.converters.containers import safetensors

    add(safetensors.write({"clip_g": numbers(1, width=1280), "clip_l": numbers(1), "t5xxl": numbers(1, width=4096)}, {}), name="three.safetensors")
    with pytest.raises(CannotRender):
        ask(known, "three", Wanted())
    assert isinstance(ask(known, "three", Wanted(checkpoint="fifteen")), Validation)


def test_what_was_removed_cannot_be_asked_for(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    take_away(known, blobs, resolve(known.read, "a"))
    with pytest.raises(Gone):
        ask(known, "a", Wanted())


def test_a_number_that_none_has_is_unknown(known: Store) -> None:
    with pytest.raises(UnknownValidation):
        one(known, 7)


# pending


def test_everything_without_a_verdict_is_asked_for_once(known: Store, blobs: Blobs, named: Any) -> None:
    named("a", "b", "c")
    named("two", base="sd2", first=9)
    kept(known, blobs, "a")
    kept(known, blobs, "b", Wanted(sheets=("strength",)))  # measured the same
    kept(known, blobs, "c", Wanted(profile="probe"))  # not the same
    numbers = pending(known, Wanted())
    assert [one(known, number).digest for number in numbers] == [entry(known, name).digest for name in ("c", "two")]
    assert pending(known, Wanted()) == numbers
    assert pending(known, Wanted(), base="sd2") == numbers[1:]
    assert len(pending(known, Wanted(checkpoint="other"))) == 3


def test_a_limit_is_kept_over_all_bases(known: Store, named: Any) -> None:
    named("a", "b")
    named("two", base="sd2", first=9)
    assert [len(pending(known, Wanted(), limit=limit)) for limit in (1, 2, 3, 9)] == [1, 2, 3, 3]


def test_what_ended_in_an_error_is_pending_again_behind_what_was_never_tried(known: Store, blobs: Blobs, named: Any) -> None:
    named("a", "b", "c", "d")
    named("two", base="sd2", first=9)
    states = {"a": "error", "b": "incompatible", "c": "error"}
    for name, state in states.items():
        kept(known, blobs, name, state=state)
    kept(known, blobs, "c", Wanted(sheets=("strength",)))  # measured the same, and judged this time
    numbers = pending(known, Wanted())
    assert [one(known, number).digest for number in numbers] == [entry(known, name).digest for name in ("d", "two", "a")]
    assert pending(known, Wanted(), limit=2) == numbers[:2]


@pytest.mark.parametrize("state", ["pass", "weak", "no_effect", "broken", "incompatible"])
def test_a_verdict_on_the_embedding_itself_stays_as_it_is(known: Store, blobs: Blobs, named: Any, state: str) -> None:
    named("a")
    verdict = kept(known, blobs, "a", state=state)
    assert pending(known, Wanted()) == []
    assert ask(known, "a", Wanted()) == verdict


def test_what_an_earlier_engine_answered_is_asked_again(known: Store, blobs: Blobs, named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engine 1 wrote another trigger under the pictures, and did not move what stands behind a comma to the next chunk."""
    named("a")
    with monkeypatch.context() as patched:
        for module in ("verdicts", "store.validations"):
            patched.setattr(f"embconv.registry.{module}.ENGINE", 1)
        kept(known, blobs, "a")
        assert pending(known, Wanted()) == []
    assert len(pending(known, Wanted())) == 1
    assert isinstance(ask(known, "a", Wanted()), Validation)


def test_without_a_checkpoint_nothing_can_be_asked_for(store: Store) -> None:
    with pytest.raises(NoCheckpoint):
        pending(store, Wanted())
    know(store, FIFTEEN)
    with pytest.raises(NoCheckpoint):
        pending(store, Wanted(), base="sdxl")


# verdicts


def test_a_verdict_is_shown_and_found_as_soon_as_it_is_kept(known: Store, blobs: Blobs, named: Any) -> None:
    named("a", "b")
    assert found(known, verdict="none") == {"a", "b"}
    before = entry(known, "a").changed
    kept(known, blobs, "a", state="weak")
    assert (entry(known, "a").verdict, entry(known, "b").verdict) == ("weak", None)
    assert entry(known, "a").changed > before
    assert (found(known, verdict="weak"), found(known, verdict="none")) == ({"a"}, {"b"})
    ids = [resolve(known.read, "a")]
    assert rebuilt(known.read, ids) == {ids[0]: document(known.read, ids[0])}


def test_the_default_checkpoint_has_the_say(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    kept(known, blobs, "a", Wanted(checkpoint="other"), state="weak")
    assert entry(known, "a").verdict == "weak"
    kept(known, blobs, "a", state="pass")
    kept(known, blobs, "a", Wanted(checkpoint="other", profile="quick"), state="broken")
    assert entry(known, "a").verdict == "pass"
    kept(known, blobs, "a", Wanted(profile="quick"), state="no_effect")
    assert entry(known, "a").verdict == "no_effect"


def test_another_default_checkpoint_has_the_say_at_once(known: Store, blobs: Blobs, named: Any) -> None:
    named("a", "b")
    kept(known, blobs, "a", state="pass")
    kept(known, blobs, "a", Wanted(checkpoint="other"), state="weak")
    kept(known, blobs, "b", state="broken")
    before = entry(known, "b").changed
    changing(known, lambda db: drop_checkpoint(db, "fifteen"))
    assert (entry(known, "a").verdict, entry(known, "b").verdict) == ("weak", "broken")
    assert (found(known, verdict="weak"), found(known, verdict="pass")) == ({"a"}, set())
    assert entry(known, "b").changed == before
    changing(known, lambda db: put_checkpoint(db, FIFTEEN))
    assert entry(known, "a").verdict == "pass"
    changing(known, lambda db: put_checkpoint(db, replace(FIFTEEN, fingerprint=OTHER.fingerprint)))
    assert entry(known, "a").verdict == "weak"
    assert verify(known, blobs).problems == ()


def test_an_error_says_nothing_where_there_is_a_verdict(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    kept(known, blobs, "a", state="error")
    assert entry(known, "a").verdict == "error"
    kept(known, blobs, "a", Wanted(checkpoint="other"), state="pass")
    kept(known, blobs, "a", Wanted(profile="quick"), state="error")
    assert entry(known, "a").verdict == "pass"


def test_the_same_question_has_one_answer_and_the_old_pictures_go(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    old, new = kept(known, blobs, "a", drawn="first"), kept(known, blobs, "a", state="broken", drawn="second")
    assert verdicts_of(known.read, resolve(known.read, "a")) == [new]
    assert (new.id, new.renders[0], new.verdict.state) == (old.id, old.renders[0], "broken")
    assert [blobs.has(each.id) for each in (*old.renders, *new.renders)] == [True, False, True, True]


def test_a_verdict_is_kept_though_old_bytes_cannot_be_dropped(known: Store, blobs: Blobs, named: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: Any) -> None:
        raise Busy

    named("a")
    kept(known, blobs, "a", drawn="first")
    with monkeypatch.context() as patched:
        patched.setattr("embconv.registry.validations.drop", busy)
        new = kept(known, blobs, "a", drawn="second")
    assert verdicts_of(known.read, resolve(known.read, "a")) == [new]
    sweep(known, blobs)
    assert len(list(blobs.all())) == 1 + 2


def test_several_verdicts_come_latest_first_with_their_pictures(known: Store, blobs: Blobs, named: Any) -> None:
    (digest,) = named("a")
    first, second = kept(known, blobs, "a"), kept(known, blobs, "a", Wanted(profile="quick"))
    assert verdicts_of(known.read, resolve(known.read, "a")) == [second, first]
    assert [each.cell.kind for each in first.renders] == ["baseline", "test"]
    assert picture(known, blobs, first.renders[1].id.upper()) == webp(f"{digest} ")


def test_pictures_of_verdicts_are_no_orphans(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    verdict = kept(known, blobs, "a")
    orphan = blobs.put(b"nobody's")
    assert [problem.ref for problem in verify(known, blobs).problems] == [orphan]
    sweep(known, blobs)
    assert [blobs.has(sha256) for sha256 in (*(each.id for each in verdict.renders), orphan)] == [True, True, False]


def test_verdicts_go_with_their_embedding_and_shared_pictures_with_the_last(known: Store, blobs: Blobs, named: Any) -> None:
    named("a", "b")
    first, second = kept(known, blobs, "a"), kept(known, blobs, "b")
    gone = resolve(known.read, "a")
    take_away(known, blobs, gone)
    assert verdicts_of(known.read, gone) == []
    assert [blobs.has(each.id) for each in (*first.renders, *second.renders)] == [True, False, True, True]
    assert render_by_id(known.read, first.renders[1].id) is None
    with pytest.raises(UnknownRender):
        picture(known, blobs, first.renders[1].id)
    take_away(known, blobs, resolve(known.read, "b"))
    assert list(blobs.all()) == []
    assert verify(known, blobs).problems == ()


def test_an_embedding_that_comes_back_has_no_verdict(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    kept(known, blobs, "a")
    take_away(known, blobs, resolve(known.read, "a"))
    named("a")
    assert entry(known, "a").verdict is None
    assert isinstance(ask(known, "a", Wanted()), Validation)


def test_no_verdict_is_kept_of_what_was_removed_meanwhile(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    number = ask(known, "a", Wanted()).id
    (held,) = leased(known)
    asked = question(known.read, "a", Wanted())
    take_away(known, blobs, resolve(known.read, "a"))
    with pytest.raises(Gone):
        keep(known, blobs, asked, judged(FIFTEEN, asked.protocol, asked.digest), held)
    assert list(blobs.all()) == []
    assert one(known, number).state == "running"


def test_a_backup_has_pictures_of_verdicts(known: Store, blobs: Blobs, named: Any, tmp_path: Path) -> None:
    named("a")
    verdict = kept(known, blobs, "a")
    result = backup(known, blobs, str(tmp_path / "all.zip"))
    assert (result.files, result.missing) == (3, ())
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path / "again")
    with Store(str(tmp_path / "again"), create=False) as again:
        assert verdicts_of(again.read, resolve(again.read, "a")) == [verdict]
        assert verify(again, Blobs(again.home)).problems == ()


@pytest.mark.parametrize(("harm", "kind"), [(lambda path: path.unlink(), "missing"), (lambda path: path.write_bytes(b"no"), "rotten")])
def test_a_lost_picture_is_found_and_forgotten(known: Store, blobs: Blobs, named: Any, harm: Callable[[Path], object], kind: str, tmp_path: Path) -> None:
    named("a")
    lost = kept(known, blobs, "a").renders[1].id
    harm(Path(blobs.path(lost)))
    assert [(each.kind, each.ref, each.repaired) for each in verify(known, blobs).problems] == [(kind, lost, False)]
    assert verify(known, blobs, repair=True).good
    (verdict,) = verdicts_of(known.read, resolve(known.read, "a"))
    assert [each.cell.kind for each in verdict.renders] == ["baseline"]
    assert verify(known, blobs).problems == ()
    assert backup(known, blobs, str(tmp_path / "all.zip")).missing == ()
    assert isinstance(ask(known, "a", Wanted()), Validation)  # and comes back
    assert ask(known, "a", Wanted()) != kept(known, blobs, "a")
    assert ask(known, "a", Wanted()).renders[1].id == lost
    Path(blobs.path(lost)).unlink()
    verify(known, blobs, repair=True)
    take_away(known, blobs, resolve(known.read, "a"))
    assert list(blobs.all()) == []


def test_an_export_shows_a_test_render_where_there_is_no_preview(known: Store, blobs: Blobs, named: Any) -> None:
    named("a", "b")
    verdict = kept(known, blobs, "a")
    kept(known, blobs, "b", state="broken")
    assert previews_in(known, blobs)(entry(known, "a")) == blobs.read(verdict.renders[1].id)
    assert previews_in(known, blobs)(entry(known, "b")) is None


def test_a_checkpoint_that_is_dropped_leaves_its_verdicts(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    kept(known, blobs, "a")
    known.write(lambda db: drop_checkpoint(db, "fifteen"))
    assert entry(known, "a").verdict == "pass"
    first = ask(known, "a", Wanted())
    assert isinstance(first, Validation)
    assert first.checkpoint["name"] == "other"


# leases


@pytest.fixture
def jobs(known: Store, named: Any) -> list[int]:
    """The numbers of eight jobs of one batch."""
    named(*"abcdefgh")
    return [ask(known, name, Wanted()).id for name in "abcdefgh"]


def test_nobody_else_has_what_is_leased(known: Store, jobs: list[int]) -> None:
    first, second, third = (leased(known, by, 3) for by in "xyz")
    assert [[each.id for each in some] for some in (first, second, third)] == [jobs[:3], jobs[3:6], jobs[6:]]
    assert leased(known) == []
    assert sorted(running(known.read, KIND)) == ["x", "y", "z"]
    assert {each.attempt for each in first} == {1}


def test_a_lease_may_be_of_some_jobs_only(known: Store, jobs: list[int]) -> None:
    assert [each.id for each in leased(known, only={jobs[2], jobs[5]})] == [jobs[2], jobs[5]]
    assert leased(known, only=set()) == []


def test_a_job_ends_once_and_only_in_the_hands_that_hold_it(known: Store, blobs: Blobs, jobs: list[int]) -> None:
    (held,) = leased(known, "x", 1, seconds=-1)
    (late,) = known.write(lambda db: lapsed(db, KIND, [], now()))
    known.write(lambda db: broken_off(db, late, now()))
    (again,) = leased(known, "y", only={held.id})
    assert (again.id, again.attempt, again.crowd) == (held.id, 2, 1)
    asked = question(known.read, "a", Wanted())
    answer = judged(FIFTEEN, asked.protocol, asked.digest)
    assert keep(known, blobs, asked, answer, held) is None
    assert entry(known, "a").verdict is None
    assert len(list(blobs.all())) == 8  # the files of the embeddings
    assert keep(known, blobs, asked, answer, again) is not None
    assert keep(known, blobs, asked, answer, again) is None
    assert not known.write(lambda db: finish(db, again, "failed", None, now()))
    assert (one(known, held.id).state, one(known, held.id).attempt) == ("done", 2)


def test_a_lease_that_is_renewed_does_not_lapse(known: Store, jobs: list[int]) -> None:
    leased(known, "x", 2, seconds=-1)
    leased(known, "y", 2, seconds=-1)
    known.write(lambda db: renew(db, KIND, "x", now(60)))
    assert [[each.by for each in held] for held in lapsed(known.read, KIND, [], now())] == [["y", "y"]]
    assert [[each.by for each in held] for held in lapsed(known.read, KIND, ["x"], now())] == [["x", "x"], ["y", "y"]]


def test_what_is_given_back_is_no_jobs_fault(known: Store, jobs: list[int]) -> None:
    held = leased(known, "x", 2)
    known.write(lambda db: give_back(db, KIND, "x", now(), [held[0].id]))
    assert [each.count for each in groups(known.read, KIND)] == [7]
    known.write(lambda db: give_back(db, KIND, "x", now()))
    assert [(each.count, each.crowd) for each in groups(known.read, KIND)] == [(8, 0)]
    assert not known.write(lambda db: finish(db, held[0], "done", None, now()))


def test_a_group_that_broke_off_is_tried_in_halves_until_one_is_alone(known: Store, jobs: list[int]) -> None:
    poison, sizes, alone = jobs[5], [], None
    while alone is None:
        groups_ = sorted(groups(known.read, KIND), key=lambda each: (each.crowd > 0, -each.crowd))
        held = known.write(lambda db, group=groups_[0]: lease(db, group, KIND, "w", 100, at=now(), until=now(9)))
        sizes.append(len(held))
        if poison in [each.id for each in held]:
            alone = known.write(lambda db, held=held: broken_off(db, held, now()))
        else:
            assert all(known.write(lambda db, each=each: finish(db, each, "done", None, now())) for each in held)
    assert alone.id == poison
    assert sizes == [8, 4, 4, 2, 2, 1, 1, 1]
    assert {one(known, number).state for number in jobs if number != poison} == {"done"}
    assert groups(known.read, KIND) == []


def test_those_that_ended_before_do_not_count_as_the_crowd(known: Store, jobs: list[int]) -> None:
    held = leased(known, "x", 4)
    for each in held[:3]:
        known.write(lambda db, each=each: finish(db, each, "done", None, now()))
    assert known.write(lambda db: broken_off(db, held, now())) is None
    assert sorted((each.crowd, each.count) for each in groups(known.read, KIND)) == [(0, 4), (1, 1)]


def test_all_that_wait_for_a_checkpoint_are_ended_together(known: Store, named: Any, jobs: list[int]) -> None:
    other = ask(known, "a", Wanted(checkpoint="other")).id
    leased(known, "x", 1, only={jobs[0]})
    ended = known.write(lambda db: finish_waiting(db, KIND, f"{FIFTEEN.fingerprint}:", "failed", {"code": "c", "says": "s"}, now()))
    assert len(ended) == 7
    assert [one(known, number).state for number in (jobs[0], jobs[1], other)] == ["running", "failed", "waiting"]
    failed = one(known, jobs[1]).failed
    assert failed is not None
    assert (failed.code, failed.says) == ("c", "s")
    assert ask(known, "b", Wanted()).id not in jobs  # what failed may be asked for again


def test_how_much_a_worker_has_done_is_known(known: Store, jobs: list[int]) -> None:
    began = now()
    (held,) = leased(known, "77-abc", 1)
    assert done_by(known.read, KIND, "77-", began) == 0
    known.write(lambda db: finish(db, held, "done", None, now()))
    assert (done_by(known.read, KIND, "77-", began), done_by(known.read, KIND, "7-", began), done_by(known.read, KIND, "77-", now(9))) == (1, 0, 0)


def test_a_verdict_outlives_the_job(known: Store, blobs: Blobs, jobs: list[int]) -> None:
    (held,) = leased(known, "x", 1)
    asked = question(known.read, "a", Wanted())
    kept_ = keep(known, blobs, asked, judged(FIFTEEN, asked.protocol, asked.digest), held)
    assert one(known, held.id).verdict == kept_
    take_away(known, blobs, resolve(known.read, "a"))
    assert (one(known, held.id).state, one(known, held.id).verdict) == ("done", None)


def test_the_key_of_a_question_changes_with_all_that_it_asks(known: Store, named: Any) -> None:
    named("a")
    asked = question(known.read, "a", Wanted())
    others = [question(known.read, "a", wanted) for wanted in (Wanted(profile="quick"), Wanted(checkpoint="other"))]
    keys = {asked.key, *(each.key for each in others), Asked("emb:" + "0" * 64, asked.summary, asked.protocol).key}
    assert len(keys) == 4


def test_a_verdict_is_the_same_after_it_was_kept(known: Store, blobs: Blobs, named: Any) -> None:
    named("a")
    asked = question(known.read, "a", Wanted())
    assert msgspec.json.encode(kept(known, blobs, "a").verdict) == msgspec.json.encode(verdict(FIFTEEN, asked.protocol))


def test_an_unrelated_file_is_no_matter(known: Store, blobs: Blobs) -> None:
    ingest(known, blobs, a1111(3, name="x"), name="x.pt")
    assert len(pending(known, Wanted())) == 1
