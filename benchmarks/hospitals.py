"""Rounds of 10, 50, 200 and 500 hospitals, each against those of 10: time for a round and hospital, and memory.

A linear head in the federated arm, inline, each number of hospitals in a process of its own; hospitals share the same
patients. Bars: within 1.3 times of proportional, below 6 GB at 500. Scoring of the local arm (every hospital's model on
every hospital's patients) is measured apart, at 50 hospitals: it grows with the square of their number.
"""

import json
import logging
import os
import subprocess
import sys
import time

from common import DRAWN, opened, peak_megabytes, study, tell

ROUNDS = 10


def measure(count: int, arm: str) -> dict[str, float]:
    """Run one deployment; returns seconds of its rounds, of its scoring, and peak memory in MB."""
    from fedmammo.federation.hospitals import Hospitals
    from fedmammo.federation.rounds import RoundsOf

    logging.getLogger("flwr").setLevel(logging.WARNING)
    config = study(
        "seeds=[0]", "engine.name=inline", f"arms=[{arm}]", f"federation.rounds={ROUNDS}",
        f"hospitals.assignment={{by: uniform, count: {count}}}",
    )  # fmt: skip
    found: dict[str, float] = {}

    def timed(kind: type, name: str, key: str) -> None:
        method = getattr(kind, name)

        def call(*args, **keys):
            began = time.perf_counter()
            try:
                return method(*args, **keys)
            finally:
                found[key] = time.perf_counter() - began

        setattr(kind, name, call)

    timed(RoundsOf, "run", "rounds")
    timed(Hospitals, "score", "score")
    with opened(config) as own:
        own.deploy(next(config.deployments))
    return {**found, "megabytes": peak_megabytes()}


def main() -> None:
    """Measure each number of hospitals in a process of its own, so that memory is its own."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), sys.argv[2])))
        return
    base: dict[str, float] = {}
    for count, arm in ((10, "federated"), (50, "federated"), (200, "federated"), (500, "federated"), (50, "local")):
        if count > DRAWN and "FEDMAMMO_COHORT" not in os.environ:
            print(f"{count} hospitals: more than drawn patients; FEDMAMMO_COHORT names others")
            continue
        said = subprocess.run(
            [sys.executable, __file__, str(count), arm], capture_output=True, text=True, check=True
        ).stdout
        one = json.loads(said.splitlines()[-1])
        if arm == "local":
            print(f"local arm of {count} hospitals: scoring {one['score']:.1f} s, rounds {one['rounds']:.1f} s")
        base = base or one
        seconds = {"ours": [one["rounds"] / ROUNDS / count], "peer": [base["rounds"] / ROUNDS / 10]}
        tell(f"hospitals-{count}-{arm}", seconds, score=one["score"], megabytes=one["megabytes"], bar="at least .77")


if __name__ == "__main__":
    main()
