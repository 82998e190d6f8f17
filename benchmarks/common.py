"""What benchmarks share: two sides measured in turn, medians, a ratio, a file of JSON."""

import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

DRAWN = 160  # training patients, of 200, where none are named
RESULTS = Path(__file__).parent / "results"
Side = Callable[[], Any]


def measure(work: Side, processor: bool = False) -> tuple[float, Any]:
    """Return seconds (of the clock, or of this process's processor) and what was made."""
    clock = time.process_time if processor else time.perf_counter
    start = clock()
    made = work()
    return clock() - start, made


def compare(
    name: str, ours: Side, peer: Side, agree: Callable[[Any, Any], None], repeats: int = 5, **about: Any
) -> float:
    """Measure both sides in turn, after one run of each that does not count; print medians and the ratio.

    Args:
        name: of the benchmark.
        ours: this software.
        peer: what a user would write instead.
        agree: raises AssertionError where both did not make the same.
        repeats: how often each is measured.
        about: what else is to be kept; `processor=True` measures time of the processor.

    Returns:
        The peer's median over ours: more than 1 where this software is faster.
    """
    processor = bool(about.get("processor"))
    agree(ours(), peer())
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(repeats):
        for side, work in (("ours", ours), ("peer", peer)):
            seconds, _ = measure(work, processor)
            times[side].append(seconds)
    return tell(name, times, **about)


def tell(name: str, times: dict[str, list[float]], **about: Any) -> float:
    """Print and keep what was measured; returns the ratio of the medians, peer over ours."""
    medians = {side: statistics.median(found) for side, found in times.items()}
    ratio = medians["peer"] / medians["ours"]
    print(
        f"{name}: ours {medians['ours']:.4g} s, peer {medians['peer']:.4g} s, ratio {ratio:.2f} {about or ''}",
        flush=True,
    )
    RESULTS.mkdir(exist_ok=True)
    versions = {package: version(package) for package in ("torch", "timm", "flwr", "ray", "opacus", "numpy")}
    content = {"name": name, "seconds": times, "medians": medians, "ratio": ratio, **about, "versions": versions}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2, default=str) + "\n")
    return ratio


def peak_megabytes() -> float:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def study(*overrides: str) -> Any:
    """Return `configs/cbis_ddsm_cpu.yaml`; FEDMAMMO_COHORT and FEDMAMMO_WEIGHTS name the patients and the network.

    Without them, drawn patients and a network of random weights stand in, and the numbers are others.
    """
    from fedmammo.config.study import load

    root = Path(__file__).parent.parent
    if "FEDMAMMO_COHORT" not in os.environ or "FEDMAMMO_WEIGHTS" not in os.environ:
        os.environ |= {"FEDMAMMO_COHORT": str(_drawn_cohort()), "FEDMAMMO_WEIGHTS": "none"}
        print("FEDMAMMO_COHORT and FEDMAMMO_WEIGHTS are not set: drawn patients, random weights")
    drawn = ["evaluation.test=test"] if os.environ["FEDMAMMO_WEIGHTS"] == "none" else []  # they have no split `val`
    return load(root / "configs" / "cbis_ddsm_cpu.yaml", [*drawn, *overrides])


@contextmanager
def opened(config: Any) -> Iterator[Any]:
    """Open the server's side of a study in a folder of its own, with all hospitals in this process."""
    from fedmammo.federation.client_app import app_of
    from fedmammo.federation.inline_grid import InlineGrid
    from fedmammo.hospitals.dealing import write_sites
    from fedmammo.run.checks import check
    from fedmammo.run.folder import RunFolder
    from fedmammo.study import Study

    with tempfile.TemporaryDirectory() as out:
        dealt, digests = check(config)
        with RunFolder(Path(out)).opened(config, digests) as folder:
            nodes = len(write_sites(folder.hospitals, config, dealt))
            yield Study(config, folder, InlineGrid(app_of(folder.hospitals), nodes), lambda _: None)


def _drawn_cohort() -> Path:
    from fedmammo.cli import main

    folder = Path(tempfile.gettempdir()) / "fedmammo-benchmarks"
    if not (folder / "cohort" / "manifest.parquet").exists():
        import sys

        for line in (
            f"data phantom {folder}/tree --patients 200 --seed 1",
            f"data prepare {folder}/tree {folder}/cohort",
        ):
            sys.argv = ["fedmammo", *line.split()]
            try:
                main()
            except SystemExit as end:
                assert not end.code
    return folder / "cohort"
