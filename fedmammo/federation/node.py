"""Flower's SuperNode, in a process of its own: `python -m fedmammo.federation.node`, with Flower's own options.

It asks its SuperLink for messages twice a second. Flower's own waits three seconds where there was none, as there never
is one right after an answer: a round of linear heads would take a hundred times as long as its work. It ends, and
says so to the SuperLink, when the process that started it is gone.
"""

import os
import time
from types import SimpleNamespace

from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supernode import start_client_internal
from flwr.supernode.cli import flower_supernode

MOST_SECONDS = 0.5


def _sleep(seconds: float) -> None:
    time.sleep(min(seconds, MOST_SECONDS))


if __name__ == "__main__":
    start_client_internal.time = SimpleNamespace(**{**vars(time), "sleep": _sleep})  # type: ignore[assignment]
    start_parent_process_monitor(os.getppid())
    flower_supernode()
