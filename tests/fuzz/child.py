"""A process that reads the whole corpus under limits of memory and time: `python -m tests.fuzz.child FOLDER`.

Prints a JSON line for each entry: its name, how it ended, what was said, seconds, MiB that it took.
"""

import contextlib
import io
import json
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.corpus import CORPUS
from tests.fuzz.entries import Entry, Place
from tests.fuzz.readers import copied, read, small_cohort

ADDRESSES = 12 * 2**30
"""Bytes: what is imported maps some 6 GiB, and reserves what it never touches."""
SECONDS = 20


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _status(key: str) -> float:
    text = Path("/proc/self/status").read_text()
    return float(text.split(f"{key}:")[1].split()[0]) / 1024


def _built(entry: Entry, place: Place) -> Path:
    content = entry.build(place)
    path = place.folder / entry.file
    if content is not None:
        path.write_bytes(content)
    return path


def _read(entry: Entry, path: Path) -> dict[str, object]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest memory so far
    before, start = _status("VmRSS"), time.monotonic()
    signal.alarm(SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            how, said = read(entry.read, path)
    except KeyboardInterrupt:
        how, said = "hung", [traceback.format_exc()[-1500:]]
    except BaseException:
        how, said = "raised", [traceback.format_exc()[-1500:]]
    finally:
        signal.alarm(0)
    seconds = time.monotonic() - start
    return {"name": entry.name, "how": how, "said": said, "seconds": seconds, "MiB": _status("VmHWM") - before}


def main(folder: Path, names: list[str]) -> None:
    signal.signal(signal.SIGALRM, _stop)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    cohort = small_cohort(folder / "cohort")
    for number, (name, entry) in enumerate(CORPUS.items()):
        if names and name not in names:
            continue
        place = Place(folder / "corpus" / str(number) / "it", folder / "secret.png", folder / "canary")
        place.folder.mkdir(parents=True)
        if entry.read in ("cohort", "hospital"):
            copied(cohort, place.folder)
        os.chdir(place.folder)
        print(json.dumps(_read(entry, _built(entry, place))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
