"""The process that a study runs in: `python -m fedmammo.commands.child`, started by `fedmammo.commands.run`.

The request comes as JSON on standard input. What happens goes out on what was standard output, a line of JSON for each
event; the last one has an exit code.
"""

import fcntl
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmammo.errors import FedmammoError, StudyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flwr.serverapp import Grid

    from fedmammo.federation.spread import Deploy, Failure

GRACE_SECONDS = 5.0
PARENT_SECONDS = 0.5  # how often to look whether the parent is still there

Report = Callable[[dict[str, Any]], None]


def simulate(study: str, out: Path, report: Report, log_to: Callable[[Path], None]) -> None:
    """Run a study, given as JSON, and leave it in the folder `out`.

    `report` is called with what happens, `log_to` with a file for what is printed, once the folder is this run's.
    Raises InputError before anything is written, StudyError where the study cannot go on.
    """
    gc.disable()  # nothing of what is imported is garbage: a sixth of the time
    from fedmammo.config.study import StudyConfig
    from fedmammo.federation.grids import check_fits, on_grid  # heavy: torch, Flower
    from fedmammo.federation.spread import side_by_side
    from fedmammo.study import at_sites
    from fedmammo.study import simulate as simulate_study

    gc.freeze()  # strategies of Flower collect garbage after each reply: not among all that was imported
    gc.enable()
    config = StudyConfig.model_validate_json(study)
    if config.at_sites:
        from fedmammo.federation.superlink import on_superlink

        def on_logged_link(run: "Callable[[Grid], None]") -> None:
            assert config.engine.link is not None
            log_to(out / "run.log")
            on_superlink(config.engine.link, config.engine.timeout, run)

        at_sites(config, out, report, on_logged_link)
        return
    check_fits(config.engine)

    def on_logged_grid(hospitals: Path, nodes: int, run: "Callable[[Grid], None]") -> None:
        log_to(out / "run.log")
        on_grid(config.engine, hospitals, nodes, run)

    def logged_spread(deployments: "Sequence[str]", deploy: "Deploy", report: Report) -> "Failure | None":
        log_to(out / "run.log")
        return side_by_side(config.engine, out, deployments, deploy, report)

    simulate_study(config, out, report, on_logged_grid, logged_spread if config.engine.name == "ray" else None)


def main() -> None:
    """Do what the request asks; see the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _leave())
    # Above the standard ones, which may all be closed; no process that this one starts inherits it.
    events = os.fdopen(fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    request = json.load(sys.stdin)
    threading.Thread(target=_leave_with, args=(request["parent"],), daemon=True).start()

    def report(event: dict[str, Any]) -> None:
        events.write(json.dumps(event).encode() + b"\n")  # one call: events may come from two threads
        events.flush()

    see = ""

    def log_to(log: Path) -> None:
        nonlocal see
        see = f"; see {request['out']}/run.log"
        _send_output_to(log)

    try:
        simulate(request["study"], Path(request["out"]), report, log_to)
        report({"exit_code": 0})
    except FedmammoError as error:
        report({"failure": str(error), "exit_code": error.exit_code})
    except Exception as error:
        traceback.print_exc()
        report(_failure(error, see))
    events.close()
    sys.stderr.flush()
    os._exit(0)  # taking all apart takes a second, and a simulation that crashed leaves threads that never end


def _failure(error: BaseException, see: str) -> dict[str, Any]:
    """Describe what was not foreseen by its first cause: Flower wraps what happens in a simulation."""
    while error.__cause__:
        error = error.__cause__
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if isinstance(error, OSError):  # a full disk, a cluster that went away
        remedy = "; finished rounds are kept: mend that, and the same command with the same --out continues"
        return {"failure": text + remedy + see, "exit_code": StudyError.exit_code}
    return {"failure": text + see, "exit_code": FedmammoError.exit_code}


def _send_output_to(log: Path) -> None:
    """Send what this process and its children print to a file."""
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _leave() -> None:
    """End this process and all that it started, at once: every file is whole at any moment."""
    threading.Timer(GRACE_SECONDS / 2, os.killpg, (0, signal.SIGKILL)).start()
    if ray := sys.modules.get("ray"):
        ray.shutdown()
    os.killpg(0, signal.SIGKILL)


def _leave_with(parent: int) -> None:
    """Leave when the parent has died: somebody else is the parent then."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    _leave()


if __name__ == "__main__":
    main()
