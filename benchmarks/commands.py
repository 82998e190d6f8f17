"""How long a user waits for help, and for a plan of a study without a budget.

Peer: `flwr --help`. Bars: `fedmammo --help` is faster; `fedmammo privacy plan` without a budget takes less than .5 s.
"""

import subprocess
import sys
from pathlib import Path

from common import compare, measure, study, tell

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parent.parent


def call(*words: str) -> str:
    """Run a command; returns what it prints."""
    done = subprocess.run([str(BIN / words[0]), *words[1:]], check=False, capture_output=True, text=True)
    return done.stdout + done.stderr


def main() -> None:
    """Measure."""

    def both_help(ours: str, peer: str) -> None:
        assert "run" in ours and "run" in peer

    compare("help", lambda: call("fedmammo", "--help"), lambda: call("flwr", "--help"), both_help, bar="more than 1")
    study()
    plan = [
        measure(lambda: call("fedmammo", "privacy", "plan", str(ROOT / "configs" / "cbis_ddsm_cpu.yaml")))[0]
        for _ in range(6)
    ]
    tell("plan-without-a-budget", {"ours": plan[1:], "peer": [0.5] * 5}, bar="more than 1: the peer is half a second")


if __name__ == "__main__":
    main()
