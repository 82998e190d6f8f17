from pathlib import Path

import numpy as np
import pytest

from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.errors import InputError


def test_what_is_neither_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source" / "photos").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected a folder of patches .* a TCIA tree .* or a table") as caught:
        prepare(tmp_path / "source", tmp_path / "deep" / "out")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no such file or folder"):
        prepare(tmp_path / "none", tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()


def test_an_occupied_out_is_refused_and_left_alone(source, tmp_path: Path) -> None:
    source.patch(source.row(), 1)
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious").write_text("mine")
    with pytest.raises(InputError, match="an empty folder"):
        prepare(source.folder, out)
    assert [path.name for path in out.iterdir()] == ["precious"]
    with pytest.raises(InputError, match="an empty folder"):
        prepare(source.folder, out / "precious")
    assert (out / "precious").read_text() == "mine"


def test_an_empty_out_is_used(source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.patch(source.row(), 1)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    assert prepare(source.folder, Path("out")).facts["source"] == "patch folder"


def test_size_must_be_positive(source, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="size 0"):
        prepare(source.folder, tmp_path / "out", Options(size=0))


def test_two_preparations_hold_the_same_images_under_other_pseudonyms(source, tmp_path: Path) -> None:
    source.patch(source.row("P_00001"), 1, np.arange(128 * 128, dtype=np.uint8).reshape(128, 128))
    one, two = (prepare(source.folder, tmp_path / name) for name in ("one", "two"))
    for part in ("patches.npy", "manifest.parquet", "quarantine.csv"):
        assert (one.folder / part).read_bytes() == (two.folder / part).read_bytes()
    assert one.pseudonym("patient", "P_00001") != two.pseudonym("patient", "P_00001")
