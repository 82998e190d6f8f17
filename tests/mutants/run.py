"""Sabotages the code that protects patients, one line at a time, and shows that tests notice: `make mutants`.

Each sabotage of `sabotages.yaml` is done to a copy of the package, and the tests that have to fail are run on it. Tests
that cannot run at all (an error on import) do not count as failed. Prints a table and `N of N caught`; exits with 1
where a sabotage survives, does not fit the code any more, or where a test fails without any.
"""

import argparse
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
COPIED = ("fedmammo", "sites", "configs", "tests", "pyproject.toml")
GUARD = ROOT / "fedmammo" / "models" / "torchvision_guard.py"  # what timm may need to be imported
HEAVY = ("timm", "dp_accounting.pld", "flwr.app", "pandas", "sklearn", "hypothesis")
PASSED, FAILED = 0, 1  # pytest's codes where all tests ran
SECONDS = 120  # after which a run counts as failed: a sabotage may make a test wait for ever


class Sabotage(NamedTuple):
    """A text that stands once in a file of the package, what takes its place, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str

    @property
    def arguments(self) -> list[str]:
        """Pytest's arguments for the tests: a file, and words of which a test's name has one."""
        file, _, words = self.tests.partition(" ")
        return [f"tests/{file}" if "/" in file else f"tests/privacy/{file}", *(["-k", words] if words else [])]


def forked(work: Callable[[], int], log: Path) -> int:
    """Do something in a process of its own, what it prints going to a file; return its code."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            code = work()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run_tests(copy: Path, arguments: Iterable[str], seconds: int = 0) -> int:
    """Run tests of a copy on its own package, up to the first that fails; return pytest's code.

    They count as failed after so many seconds, unless that is 0.
    """
    import pytest

    signal.signal(signal.SIGALRM, lambda *_: os._exit(FAILED))
    signal.alarm(seconds)
    os.chdir(copy)
    sys.path.insert(0, str(copy))
    return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={copy.parent / 'pytest'}", *arguments]))


def draw_cohort(copy: Path, folder: Path) -> int:
    """Draw the patients that the tests share, once for all runs."""
    sys.path.insert(0, str(copy))
    from fedmammo.cohort.prepare import prepare
    from fedmammo.phantom.tree import write_tree

    write_tree(folder / "tree", patients=24, seed=26)
    prepare(folder / "tree", folder / "cohort")
    return 0


def fate(sabotage: Sabotage, copy: Path, log: Path) -> str:
    """Sabotage the copy, run the tests, and put the copy in order again."""
    path = copy / "fedmammo" / sabotage.file
    whole = path.read_text()
    if whole.count(sabotage.old) != 1:
        return f"DOES NOT FIT: its text stands {whole.count(sabotage.old)} times in {sabotage.file}"
    path.write_text(whole.replace(sabotage.old, sabotage.new))
    code = forked(lambda: run_tests(copy, sabotage.arguments, SECONDS), log)
    path.write_text(whole)
    return {PASSED: "SURVIVED", FAILED: "caught"}.get(code, f"NO TEST RAN (code {code})\n{log.read_text()[-3000:]}")


def without_sabotage(sabotages: Iterable[Sabotage]) -> list[list[str]]:
    """Return pytest's arguments, file by file, for all tests that have to notice something."""
    words: dict[str, list[str]] = {}
    for file, *rest in (one.arguments for one in sabotages):
        words.setdefault(file, []).append(rest[1] if rest else "")
    return [
        [file, *([] if "" in own else ["-k", " or ".join(f"({some})" for some in sorted(set(own)))])]
        for file, own in sorted(words.items())
    ]


def main() -> int:
    """Run the sabotages; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only sabotages whose name has one of these")
    words = parser.parse_args().words or [""]
    table = yaml.safe_load((Path(__file__).parent / "sabotages.yaml").read_text())
    every = (Sabotage(file=file, **one) for file, part in table.items() for one in part)
    sabotages = [one for one in every if any(word in one.name for word in words)]
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a fork of more threads would wait for ever
    runpy.run_path(str(GUARD))
    for module in HEAVY:
        __import__(module)  # once: every run is a fork that has them already

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy, log = folder / "copy", folder / "log"
        copy.mkdir()
        for part in COPIED:
            source = ROOT / part
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, copy / part, ignore=ignored) if source.is_dir() else shutil.copy(
                source, copy / part
            )
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True  # a sabotage of the same size and second would not be compiled
        if forked(lambda: draw_cohort(copy, folder), log) != 0:
            print(log.read_text())
            return 1
        os.environ["FEDMAMMO_DRAWN_COHORT"] = str(folder / "cohort")

        for arguments in without_sabotage(sabotages):
            if forked(partial(run_tests, copy, arguments), log) != PASSED:
                print(f"tests fail without any sabotage:\n{log.read_text()[-3000:]}")
                return 1

        caught = 0
        for sabotage in sabotages:
            started = time.monotonic()
            found = fate(sabotage, copy, log)
            caught += found == "caught"
            print(f"{sabotage.name:60} {sabotage.file:24} {time.monotonic() - started:5.1f} s  {found}", flush=True)
    print(f"{caught} of {len(sabotages)} caught")
    return 0 if caught == len(sabotages) else 1


if __name__ == "__main__":
    sys.exit(main())
