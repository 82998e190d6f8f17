"""A folder appears whole or not at all, and says at once where it cannot."""

from pathlib import Path

import pytest

from fedmammo.disk.folders import continued_folder, new_folder
from fedmammo.errors import InputError


def write(out: Path, fault: BaseException | None = None) -> None:
    with new_folder(out) as folder:
        assert not out.exists() or not any(out.iterdir())
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("whole")
        if fault:
            raise fault


def test_it_appears_when_the_block_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("target")
    for out in ("new", "made/for/it", "empty", "link"):
        write(Path(out))
        assert (tmp_path / out / "deep/file").read_text() == "whole"
        assert (tmp_path / out).stat().st_mode & 0o077 == 0  # patients' images: its owner's alone
    assert (tmp_path / "target").is_dir()
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize(
    "fault", [KeyboardInterrupt(), ZeroDivisionError(), OSError(28, "No space left"), InputError("")]
)
def test_a_fault_leaves_nothing(tmp_path: Path, fault: BaseException) -> None:
    expected = InputError if isinstance(fault, OSError) else type(fault)  # a full disk is the user's to mend
    with pytest.raises(expected):
        write(tmp_path / "made/for/it", fault)
    assert not list(tmp_path.iterdir())
    (tmp_path / "empty").mkdir()
    with pytest.raises(expected):
        write(tmp_path / "empty", fault)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_a_fault_that_a_library_wraps_keeps_its_reason(tmp_path: Path) -> None:
    """As pydicom does: it raises an OSError of its own, whose text is a traceback, from the system's."""
    with pytest.raises(InputError) as caught, new_folder(tmp_path / "out"):
        raise OSError("Traceback ...") from OSError(28, "No space left on device")
    assert str(caught.value).endswith("out: cannot write there (No space left on device); name another folder")


def test_what_others_put_beside_it_stays(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "made/out"):
        (tmp_path / "made/theirs").write_text("")
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["theirs"]


def test_places_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out, expected in {
        tmp_path / "full": "full: exists and is not an empty folder",
        tmp_path / "full/file": "file: exists and is not an empty folder",
        tmp_path / "full/file/out": "out: cannot write there",
        tmp_path / ("x" * 300): "cannot write there",
        Path(): r"\.: the working folder, or a mount, cannot be replaced",
        Path("/proc/nobody/out"): "cannot write there",
    }.items():
        with pytest.raises(InputError, match=expected), new_folder(out):
            pytest.fail("the block was entered")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "here"]
    assert (tmp_path / "full/file").read_text() == "mine"


def test_a_continued_folder_stays_where_it_is_interrupted(tmp_path: Path) -> None:
    """An interruption, a bug and a full disk keep it; the next call gives it as it was left, and ends it."""
    out, kept = tmp_path / "made/out", tmp_path / "made/out.unfinished"
    for number, fault in enumerate((KeyboardInterrupt(), ZeroDivisionError(), OSError(28, "No space left"))):
        expected = InputError if isinstance(fault, OSError) else type(fault)
        with pytest.raises(expected), continued_folder(out) as folder:
            assert len(list(folder.glob("file*"))) == number
            (folder / f"file{number}").write_text("")
            raise fault
        assert kept.is_dir() and not out.exists()
    with pytest.raises(InputError, match="made/out: another process is preparing it"):  # noqa: SIM117
        with continued_folder(out), continued_folder(out):
            pytest.fail("two have it")
    assert len(list(kept.glob("file*"))) == 3
    with continued_folder(out):
        pass
    assert sorted(path.name for path in out.iterdir()) == ["file0", "file1", "file2"]
    assert out.stat().st_mode & 0o077 == 0 and not kept.exists()


def test_a_first_call_that_was_given_the_wrong_thing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), continued_folder(tmp_path / "made/for/it") as folder:
        (folder / "file").write_text("")
        raise InputError("")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write there"), continued_folder(tmp_path / "file/out"):
        pytest.fail("the block was entered")
    with pytest.raises(InputError, match="not an empty folder"), continued_folder(tmp_path / "file"):
        pytest.fail("the block was entered")
