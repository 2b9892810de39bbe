"""The picture of a sheet: every cell lies where its labels say, labels fit, and the curve shows what the cells show."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embconv.converters.errors import TargetExists
from embconv.registry.validation import grid, ink, plot, sheet_files
from embconv.registry.validation.infotext import in_webp, signed
from embconv.registry.validation.parts import Subject
from embconv.registry.validation.sheets import plan
from embconv.registry.verdicts import Cell, Checkpoint, Judged, Picture, Verdict, protocol_for, protocol_summary, summary_of

CHECKPOINT = Checkpoint(name="tiny", base="sd1", path="", kind="folder", fingerprint="ab" * 32, size=64)
SUBJECT = Subject("emb:" + "7" * 64, "moonpaper", "moonpaper", {"clip_l": np.ones((2, 768), np.float32)}, base="sd1", shorthash="1bc24191d3ad")
PROTOCOL = protocol_for("sd1", 64, sheets=("strength", "samplers", "prompts"), prompts=("a {T} cup",))
VERDICT = Verdict(state="pass", because="It changes the pictures by 0.1.", numbers={}, role="positive", suggested_weight=0.8,
                  checkpoint=summary_of(CHECKPOINT), protocol=protocol_summary(PROTOCOL), made_with={"torch": "2"})  # fmt: skip
HEADING = grid.Heading("moonpaper", "facts", ("footer",))


def picture(cell: Cell, colour: tuple[int, int, int], size: int = 64) -> Picture:
    packed = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(packed, "WEBP", lossless=True)
    cell = signed(cell, SUBJECT, CHECKPOINT, PROTOCOL)
    return Picture(cell=cell, webp=in_webp(packed.getvalue(), cell.infotext))


def cell(kind: str = "test", **more: object) -> Cell:
    return Cell(**{"kind": kind, "prompt": "a photo", "seed": 1, "sampler": "euler", "steps": 20, "cfg": 7.0, "width": 64, "height": 64, **more})


def own(side: str = "positive") -> list[Cell]:
    kinds = (("baseline", None), ("null", None), ("test", 1.0))
    words = {"positive": ("a photo of moonpaper", ""), "negative": ("a woman", "moonpaper")}[side]
    return [cell(kind, seed=seed, weight=weight, prompt=words[0] if weight or side == "negative" else "a photo of",
                 negative_prompt=words[1] if weight else "") for seed in (1, 2) for kind, weight in kinds]  # fmt: skip


def pictures(size: int = 64) -> list[Picture]:
    cells = [*own(), *(each.cell for each in plan(PROTOCOL, SUBJECT, "positive"))]
    return [picture(one, (5 * place, 255 - 5 * place, 90), size) for place, one in enumerate(cells)]


def colours(image: Image.Image) -> list[tuple[int, int, int]]:
    """The colours of whole cells, row after row."""
    found = image.convert("RGB").getcolors(1 << 24)
    assert found is not None
    return [colour for count, colour in found if count >= 60 * 60 and colour[2] == 90]


def test_all_cells_are_in_the_picture() -> None:
    given = pictures()
    assert len(colours(grid.sheet(VERDICT, given, HEADING))) == len(given) == 6 + 12 + 12 + 8


def test_each_side_has_its_own_grid() -> None:
    given = [picture(one, (5 * place, 0, 90)) for place, one in enumerate([*own("positive"), *own("negative")])]
    parts = list(grid.parts_of(given))
    assert [part.title for part in parts] == ["Test, in the prompt", "Test, in the negative prompt"]
    assert parts[1].notes == ("a woman", "Negative prompt: moonpaper")
    assert parts[0].notes == ("a photo of moonpaper", "")  # so that the two grids are level
    assert len(colours(grid.sheet(VERDICT, given, HEADING))) == 12
    names = [name for name, _ in sheet_files.names(tuple(given))]
    assert names[:3] == ["baseline-positive-seed-1.webp", "null-positive-seed-1.webp", "test-positive-seed-1.webp"]
    assert names[-1] == "test-negative-seed-2.webp"


def test_the_map_of_attention_stands_beside_the_test_of_its_side() -> None:
    maps = [cell("attention", prompt=prompt, negative_prompt=negative, seed=9, weight=1.0, label="where it is attended to")
            for prompt, negative in (("a photo of moonpaper", ""), ("a woman", "moonpaper"))]  # fmt: skip
    given = [picture(one, (5 * place, 0, 90)) for place, one in enumerate([*own("positive"), *own("negative"), *maps])]
    for place, part in enumerate(grid.parts_of(given)):
        assert part.columns == ("without", "nothing in its place", "with", "where it is attended to")
        assert part.rows == ("seed 1", "seed 2")  # it has a seed of its own, which is no row
        shown = part.cells[0][3]
        assert shown is not None
        assert shown.getpixel((0, 0)) == (5 * (12 + place), 0, 90)
    assert [name for name, _ in sheet_files.names(tuple(given))][-2:] == ["attention-positive-seed-9.webp", "attention-negative-seed-9.webp"]


def test_columns_and_rows_are_in_the_order_of_the_plan() -> None:
    parts = list(grid.parts_of(pictures()))
    assert [part.title for part in parts] == ["Test, in the prompt", "Strength", "Samplers", "Prompts"]
    assert parts[0].columns == ("without", "nothing in its place", "with")
    assert parts[1].columns == ("off", "0.4", "0.8", "1.0", "1.2", "1.5")
    assert parts[1].rows == ("seed 1", "seed 2")
    assert parts[2].rows == ("without", "with")
    assert parts[3].columns == ("portrait", "landscape", "object", "own 1")
    assert "own 1: a moonpaper cup" in parts[3].notes


def test_a_cell_lies_under_its_label_and_beside_its_row() -> None:
    (part,) = (part for part in grid.parts_of(pictures()) if part.title == "Strength")
    image = np.asarray(grid.grid(part._replace(curves=())))
    where = {}
    for row, cells in enumerate(part.cells):
        for column, one in enumerate(cells):
            assert one is not None
            ys, xs = np.nonzero((image == np.asarray(one)[0, 0]).all(axis=2))
            where[row, column] = (ys.min(), ys.max(), xs.min(), xs.max())
    assert all(bottom - top == right - left == 191 for top, bottom, left, right in where.values())  # 64 pixels, three times
    assert [where[0, column][2] for column in range(6)] == sorted(where[0, column][2] for column in range(6))
    assert where[0, 0][1] < where[1, 0][0]


@pytest.mark.parametrize(("size", "shown"), [(8, 192), (64, 192), (128, 256), (192, 192), (256, 256), (512, 320), (1024, 320)])
def test_small_cells_are_enlarged_by_whole_numbers_and_large_ones_made_smaller(size: int, shown: int) -> None:
    assert grid.fitted(Image.new("RGB", (size, size))).size == (shown, shown)


def test_a_wide_cell_keeps_its_form() -> None:
    assert grid.fitted(Image.new("RGB", (1024, 512))).size == (320, 160)


def test_missing_cells_leave_their_place_empty() -> None:
    given = [one for one in pictures() if (one.cell.kind, one.cell.seed, one.cell.weight) != ("strength", 2, 0.8)]
    (part,) = (part for part in grid.parts_of(given) if part.title == "Strength")
    assert [one is None for one in part.cells[1]] == [False, False, True, False, False, False]
    assert grid.grid(part).height > 2 * 192


@pytest.mark.parametrize("name", ["x", "a name " * 60, "ä" * 200, "日本語のトリガー", "a\nb\x1b[31m"])
def test_any_name_fits_the_sheet(name: str) -> None:
    image = grid.sheet(VERDICT, pictures()[:6], HEADING._replace(name=name, facts=name, footer=(name, name)))
    assert image.width == grid.NARROW + 2 * grid.MARGIN
    edge = np.asarray(image)[:, -grid.MARGIN + 4 :]
    assert (edge == 255).all()


@pytest.mark.parametrize("text", ["", "short", "many words " * 30, "x" * 500, "a " + "y" * 300 + " b"])
def test_wrapped_lines_fit_and_lose_nothing(text: str) -> None:
    lines = grid.wrapped(text, 16, 200)
    assert all(grid.length(line, 16) <= 200 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_letters_that_no_font_here_has_are_shown_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ink, "wider", lambda size: ())
    ink.lettered.cache_clear()
    assert ink.lettered("日本", 16)[1] == "\\u65e5\\u672c"
    ink.lettered.cache_clear()


# the curve


def test_the_curve_is_the_mean_change_of_a_pixel() -> None:
    levels = {None: 100, 0.4: 110, 1.0: 151}
    given = [picture(cell("strength", weight=weight, label=str(weight)), (level, 100, 90)) for weight, level in levels.items()]
    (curve,) = grid.curves_of(given)
    assert curve.label == "seed 1"
    assert [weight for weight, _ in curve.points] == [0.0, 0.4, 1.0]
    assert [effect for _, effect in curve.points] == pytest.approx([0.0, 10 / 255 / 3, 51 / 255 / 3], abs=1e-6)


@pytest.mark.parametrize(
    "effects", [(0.1, 0.2), (0.0, 0.0), (1e-9, 1e-9), (1.0, 0.2), (float("nan"), 0.1)], ids=["usual", "none", "tiny", "large", "not a number"]
)
def test_a_curve_can_be_drawn_whatever_the_numbers(effects: Sequence[float]) -> None:
    curve = plot.Curve("seed 1", ((0.0, 0.0), (0.8, effects[0]), (1.5, effects[1])))
    image = plot.draw([curve], 430, 300, mark=0.8)
    assert image.size == (430, 300)
    assert (np.asarray(image) != 255).any()


@pytest.mark.parametrize(("most", "step"), [(0.1, 0.025), (0.2, 0.05), (0.31, 0.1), (1.0, 0.25), (0.004, 0.001)])
def test_scales_have_round_numbers(most: float, step: float) -> None:
    assert plot.scale(most) == pytest.approx(step)


# on the disk


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    judged = Judged(digest=SUBJECT.digest, verdict=VERDICT, pictures=tuple(pictures()))
    sheet_files.write(str(tmp_path / "a" / "sheet.png"), judged, SUBJECT)
    told = json.loads((tmp_path / "a" / "sheet.json").read_text("utf-8"))
    assert told["verdict"]["because"] == VERDICT.because
    assert len({each["file"] for each in told["cells"]}) == len(judged.pictures)
    for each in told["cells"]:
        assert (tmp_path / "a" / each["file"]).read_bytes().startswith(b"RIFF")
    (tmp_path / "a" / "sheet.png").unlink()
    with pytest.raises(TargetExists):
        sheet_files.write(str(tmp_path / "a" / "sheet.png"), judged, SUBJECT)
    assert not (tmp_path / "a" / "sheet.png").exists()


def cells_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_new_sheet_takes_the_cells_of_the_earlier_one_away_and_nothing_else(tmp_path: Path) -> None:
    path, cells = str(tmp_path / "sheet.png"), tmp_path / "sheet-cells"
    sheet_files.write(path, Judged(digest=SUBJECT.digest, verdict=VERDICT, pictures=tuple(pictures())), SUBJECT)
    before = cells_of(cells)
    for name in ("mine.webp", "strength-2-seed-1.webp"):  # of a user, and like one of ours that no sheet lists
        (cells / name).write_bytes(b"mine")
    (tmp_path / "other-seed-1.webp").write_bytes(b"mine")
    few = tuple(pictures()[:6])
    sheet_files.write(path, Judged(digest=SUBJECT.digest, verdict=VERDICT, pictures=few), SUBJECT, overwrite=True)
    left = {name for name, _ in sheet_files.names(few)}
    assert left < before
    assert cells_of(cells) == left | {"mine.webp", "strength-2-seed-1.webp"}
    assert cells_of(tmp_path) == {"sheet.png", "sheet.json", "sheet-cells", "other-seed-1.webp"}


@pytest.mark.parametrize("listed", [
    "../other-seed-1.webp", "sheet-cells/../other-seed-1.webp", "sheet-cells\\..-seed-1.webp", "other-seed-1.webp", "sheet-cells/mine.webp", "sheet-cells/a-seed-1.txt",
    "sheet-cells/sub/a-seed-1.webp", "", None, 5,
])  # fmt: skip
def test_a_list_of_cells_that_is_not_ours_removes_nothing(listed: object, tmp_path: Path) -> None:
    cells = tmp_path / "sheet-cells"
    mine = [tmp_path / "other-seed-1.webp", cells / "mine.webp", cells / "a-seed-1.txt", cells / "sub" / "a-seed-1.webp", cells / "b-seed-1.webp"]
    for each in mine:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_bytes(b"mine")
    for told in ({"digest": "x", "cells": [{"file": listed}]}, {"cells": [{"file": "sheet-cells/b-seed-1.webp"}]}, [], "sheet-cells/b-seed-1.webp"):
        (tmp_path / "sheet.json").write_text(json.dumps(told))
        sheet_files.write(str(tmp_path / "sheet.png"), Judged(digest=SUBJECT.digest, verdict=VERDICT, pictures=tuple(pictures()[:2])), SUBJECT, overwrite=True)
        assert all(each.read_bytes() == b"mine" for each in mine), told


def test_the_whole_carries_the_infotext_of_a_picture_with_the_embedding(tmp_path: Path) -> None:
    judged = Judged(digest=SUBJECT.digest, verdict=VERDICT, pictures=tuple(pictures()))
    for suffix in (".png", ".webp"):
        sheet_files.write(str(tmp_path / f"{suffix[1:]}{suffix}"), judged, SUBJECT)
    with Image.open(tmp_path / "png.png") as image:
        text = image.text["parameters"]
    with Image.open(tmp_path / "webp.webp") as image:
        assert image.getexif().get_ifd(0x8769)[0x9286].removeprefix(b"UNICODE\0").decode("utf-16-be") == text
    assert "TI hashes" in text
