"""A preparation that was stopped anywhere goes on, and ends with the bytes of one that was not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fedmammo.cohort import prepare as module
from fedmammo.cohort.options import Options
from fedmammo.cohort.prepare import prepare
from fedmammo.disk.folders import continued_folder
from fedmammo.errors import InputError

PARTS = ("patches.npy", "manifest.parquet", "quarantine.csv")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """40 images of 20 patients; every seventh file is torn, every third image is listed with two boxes."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(40):
        path = tmp_path / f"{number}.png"
        Image.fromarray(generator.integers(0, 65536, (40, 40)).astype(np.uint16)).save(path)
        if number % 7 == 6:
            path.write_bytes(path.read_bytes()[:60])
        for left in (0, 10) if number % 3 == 0 else (0,):
            row = {"image": path.name, "patient": f"p{number % 20}", "label": number % 2}
            rows.append(row | {"left": left, "top": 0, "right": left + 20, "bottom": 20})
    pd.DataFrame(rows).sample(frac=1, random_state=0).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path / "table.csv"


def same(one: Path, two: Path) -> bool:
    return all((one / part).read_bytes() == (two / part).read_bytes() for part in PARTS)


def stop_after(count: int):
    """A report that is interrupted as soon as so many rows are done."""

    def report(done: int, rows: int) -> None:
        if done >= count:
            raise KeyboardInterrupt

    return report


@pytest.mark.parametrize("processes", [3])
def test_any_number_of_processes_gives_the_same_bytes(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    prepare(table, tmp_path / "one")
    monkeypatch.setattr(module, "BYTES_A_PROCESS", 1)
    many = prepare(table, tmp_path / "many", processes=processes)
    assert same(tmp_path / "one", tmp_path / "many")
    assert many.facts["counts"]["table.csv"]["rows"] == 54


def test_it_goes_on_where_it_stopped(table: Path, tmp_path: Path) -> None:
    """Interrupted three times; what was read is not read again: its files may be gone by then."""
    prepare(table, tmp_path / "one")
    seen: list[int] = []
    for stop in (10, 10, 30):
        with pytest.raises(KeyboardInterrupt):
            prepare(table, tmp_path / "two", report=stop_after(stop))
    assert not (tmp_path / "two").exists()
    prepare(table, tmp_path / "two", report=lambda done, rows: seen.append(done))
    assert seen[0] >= 30 and seen[-1] == 54
    assert same(tmp_path / "one", tmp_path / "two")
    assert not list(tmp_path.glob("*.unfinished"))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fault", ["journal.jsonl", "patches.npy", "a wrong bit", "a wrong line"])
def test_a_tail_torn_off_anywhere_is_read_again(table: Path, tmp_path: Path, fault: str, seed: int) -> None:
    """As a kill or a power cut leaves them: journal and patches end at any byte, or a patch is wrong."""
    prepare(table, tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        prepare(table, tmp_path / "two", report=stop_after(40))
    generator = np.random.default_rng(seed)
    names = {"a wrong bit": "patches.npy", "a wrong line": "journal.jsonl"}
    path = tmp_path / "two.unfinished" / names.get(fault, fault)
    content = bytearray(path.read_bytes())
    if fault == "a wrong bit":
        content[generator.integers(128, len(content))] ^= 1
    elif fault == "a wrong line":
        content += b"\0\n"
    else:
        del content[generator.integers(len(content)) :]
    path.write_bytes(content)
    prepare(table, tmp_path / "two")
    assert same(tmp_path / "one", tmp_path / "two")


def test_killed_and_continued(table: Path, tmp_path: Path) -> None:
    """By kill -9, with two reading processes: these end too, and the next call ends with the same bytes."""
    prepare(table, tmp_path / "one")
    code = (
        "from pathlib import Path; from fedmammo.cohort import prepare as module; import time, multiprocessing\n"
        "def report(done, rows):\n"
        "    print(done, *(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    time.sleep(0.05)\n"
        "if __name__ == '__main__':\n"
        "    module.BYTES_A_PROCESS = 1\n"
        f"    module.prepare(Path({str(table)!r}), Path({str(tmp_path / 'two')!r}), processes=2, report=report)\n"
    )
    (tmp_path / "run.py").write_text(code)
    process = subprocess.Popen([sys.executable, tmp_path / "run.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    done, readers = 0, []
    while done < 12:
        words = process.stdout.readline().split()
        done, readers = int(words[0]), [int(word) for word in words[1:]]
    process.kill()
    process.wait()
    assert len(readers) == 2
    end = time.monotonic() + 20
    while any(_lives(reader) for reader in readers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_lives(reader) for reader in readers)
    seen: list[int] = []
    prepare(table, tmp_path / "two", report=lambda done, rows: seen.append(done))
    assert seen[0] >= 10
    assert same(tmp_path / "one", tmp_path / "two")


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_another_preparation_is_not_continued(table: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(table, tmp_path / "out", report=stop_after(10))
    before = {path: path.read_bytes() for path in (tmp_path / "out.unfinished").iterdir()}
    with pytest.raises(InputError, match=r"out.unfinished: holds the beginning of another preparation"):
        prepare(table, tmp_path / "out", Options(size=64))
    os.utime(tmp_path / "3.png", (0, 0))  # the file is another now
    with pytest.raises(InputError, match="another preparation"):
        prepare(table, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out.unfinished").iterdir()} == before


def test_a_finished_cohort_is_there_already(table: Path, tmp_path: Path) -> None:
    """The same call gives it as it is, under the same key; another one is refused."""
    first = prepare(table, tmp_path / "out")
    files = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    assert prepare(table, tmp_path / "out").key == first.key
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == files
    with pytest.raises(InputError, match="out: exists, from other files, tables or options"):
        prepare(table, tmp_path / "out", Options(margin=0.5))


def test_two_at_once_are_one_too_many(table: Path, tmp_path: Path) -> None:
    with (
        continued_folder(tmp_path / "out"),
        pytest.raises(InputError, match="out: another process is preparing it") as caught,
    ):
        prepare(table, tmp_path / "out")
    assert "\n" not in str(caught.value)
