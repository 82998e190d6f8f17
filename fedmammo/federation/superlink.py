"""Real hospitals: a grid of the nodes that are connected to a SuperLink, and the server's own run there."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from flwr.app import Message
from flwr.cli.typing import SuperLinkConnection
from flwr.cli.utils import init_http_client_from_connection
from flwr.common.serde import fab_to_proto, run_from_proto
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.runtime_pb2 import PullTaskInputRequest
from flwr.serverapp import Grid
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import HttpGrid

from fedmammo.config.sections import LinkConfig
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.bundle import bundle, hash_of_bundle
from fedmammo.federation.tasks import Link, Task, finish, take

PULL_SECONDS = 0.2  # between looks for replies; Flower's own is three seconds
AGAIN_SECONDS = 3.0  # between tries to reach a SuperLink that went away


class LinkGrid(HttpGrid):
    """The nodes of a SuperLink. Raises httpx.HTTPError where it is not reached, or has given up the run.

    Attributes:
        arrived: when the reply to each message of the last call was here (`time.monotonic`), by the message.
    """

    def __init__(self, link: Link, token: str) -> None:
        self.arrived: dict[str, float] = {}
        super().__init__(link.address, link.certificate is None, link.certificate, token=token)
        self._retry_invoker = None  # type: ignore[assignment]  # Flower's tries for ever, or interrupts this process

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send messages, and wait for their replies; returns those that came in time."""
        waiting, self.arrived = set(self.push_messages(list(messages))), {}
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting and (end is None or time.monotonic() < end):
            found = list(self.pull_messages(waiting))
            replies += found
            came = {reply.metadata.reply_to_message_id for reply in found}
            self.arrived |= dict.fromkeys(came, time.monotonic())
            waiting -= came
            if waiting and not found:
                time.sleep(PULL_SECONDS)
        return replies


def on_superlink(config: LinkConfig, patience: float, run: Callable[[Grid], None]) -> None:
    """Call `run` with a grid of the SuperLink's nodes; again, in a new run of Flower, where the link was lost.

    `run` must continue what it left. `patience`: seconds to wait for a SuperLink that is away. Raises StudyError where
    it stays away, or does not let this server in, and whatever else `run` raises.
    """
    link = Link.of(config.address, Path(config.certificate), Path(config.secret))
    end = time.monotonic() + patience
    while True:
        try:
            with _a_run(link, config) as grid:
                run(grid)
            return
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (401, 403, 409) or time.monotonic() > end:
                raise _lost(link, error) from error
            lost: httpx.HTTPError = error
        except httpx.HTTPError as error:
            lost = error
        if time.monotonic() > end:
            raise _lost(link, lost) from lost
        print(f"the link to {link.address} was lost ({type(lost).__name__}): tried again", flush=True)
        time.sleep(AGAIN_SECONDS)


def _lost(link: Link, error: httpx.HTTPError) -> StudyError:
    return StudyError(
        f"engine.link.address: no SuperLink that lets this server in answers at {link.address} ({error}); start it, or "
        "mend engine.link; finished rounds are kept, the same command with the same --out continues"
    )


@contextmanager
def _a_run(link: Link, config: LinkConfig) -> Iterator[Grid]:
    """Start a run of Flower, take its server's task, and end it with what happened."""
    task = _begin(link, config)
    grid = LinkGrid(link, task.token)
    client = grid._runtime_client
    heart = HeartbeatSender(make_task_heartbeat_fn_http(client))
    heart.start()
    why_not = "ended"
    try:
        given = client.PullTaskInput(PullTaskInputRequest())
        TaskIdentity.task_id, TaskIdentity.run_id = given.task_id, given.run.run_id
        TaskIdentity.node_id = given.context.node_id
        grid.set_run(run_from_proto(given.run))
        yield grid
        why_not = ""
    except BaseException as error:
        why_not = f"{type(error).__name__}: {error}"
        raise
    finally:
        heart.stop()
        finish(client, why_not)
        grid.close()


def _begin(link: Link, config: LinkConfig) -> Task:
    """Start a run; tasks of earlier runs, which somebody killed, are ended."""
    certificate = str(Path(config.certificate).resolve())
    connection = SuperLinkConnection("link", address=config.address, root_certificates=certificate)
    control, runtime = init_http_client_from_connection(connection), link.client()
    try:
        fab = Fab(hash_of_bundle(), bundle(), {})
        started = control.StartRun(StartRunRequest(fab=fab_to_proto(fab)))
        if not started.HasField("run_id"):
            raise InputError(f"engine.link: the SuperLink at {config.address} does not start runs; see its log")
        while True:
            task = take(runtime, TaskType.SERVER_APP)
            if task is not None and task.run == started.run_id:
                return task
            if task is not None:
                other = link.client(task.token)
                finish(other, "another run took its place")
                other.close()
    finally:
        control.close()
        runtime.close()
