"""A grid that runs the hospitals in this process, one after the other: the same apps without Ray."""

import logging
import traceback
from collections.abc import Iterable
from uuid import uuid4

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

log = logging.getLogger(__name__)


class InlineGrid(Grid):
    """`count` nodes, numbered from 0 like the hospitals. A node that raises becomes an error reply, as with Ray."""

    def __init__(self, app: ClientApp, count: int) -> None:
        TaskIdentity.task_id = TaskIdentity.run_id = 1
        TaskIdentity.node_id = count
        self._app = app
        self._replies: dict[str, Message] = {}
        self._run = Run.create_empty(run_id=1)
        self._contexts = [
            Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": node, "num-partitions": count},
                state=RecordDict(),
                run_config={},
            )
            for node in range(count)
        ]

    def set_run(self, run: Run) -> None:
        """Take note of the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes."""
        return range(len(self._contexts))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let each receiver work at once, and keep its reply; returns the messages' ids."""
        ids = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid4())
            try:
                reply = self._app(message, self._contexts[message.metadata.dst_node_id])
            except Exception as error:
                log.error("hospital %d: %s", message.metadata.dst_node_id, traceback.format_exc())
                reply = Message(Error(code=0, reason=f"{type(error).__name__}: {error}"), reply_to=message)
            self._replies[message.metadata.message_id] = reply
            ids.append(message.metadata.message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies to these messages, once."""
        return [self._replies.pop(identity) for identity in message_ids if identity in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push and pull; nothing is waited for, so `timeout` has no meaning here."""
        return self.pull_messages(self.push_messages(messages))
