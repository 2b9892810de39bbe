"""The parts of a path given as text, as pathlib has them."""

from pathlib import Path

import pytest

from embconv.converters.paths import beside, folder_of, name_of, stem_of, suffix_of, with_stem


@pytest.mark.parametrize(
    "path",
    ["a/b/style.pt", "style.pt", "style", "a.b/style", "a/style.v2.safetensors", ".hidden", "a/.hidden.pt", "STYLE.PT", "a b/猫.bin"],
)
def test_the_parts_of_a_path_are_pathlibs(path: str) -> None:
    known = Path(path)
    assert (name_of(path), stem_of(path), suffix_of(path), folder_of(path)) == (known.name, known.stem, known.suffix, str(known.parent))
    assert Path(beside(path, "x.json")) == known.parent / "x.json"
    assert Path(with_stem(path, "new")) == known.with_name(f"new{known.suffix}")
