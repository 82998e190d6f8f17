"""A hospital at its own machine: what a message or a neighbour on the machine can do to its process."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedmammo.errors import StudyError
from fedmammo.federation.client_app import app_at
from fedmammo.federation.supernode import _is_ours, _reply_to
from fedmammo.federation.tasks import Link

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(port: int, state: str, user: int) -> str:
    return f"   0: 0100007F:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user:5d} 0 1\n"


def link_at(port: int) -> Link:
    return Link(f"127.0.0.1:{port}", None, b"")


@pytest.mark.parametrize("kind", ["query.nobody", "query", "train.other", "system"])
def test_a_message_of_a_kind_that_nobody_asks_for_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    site: Any = type("", (), {"folder": tmp_path})
    context = Context(1, 1, {}, RecordDict(), {})
    reply = _reply_to(Message(RecordDict(), 1, kind), context, app_at(tmp_path / "site.yaml"), site)
    assert reply.error.reason == "not_understood"
    assert "refused: ValueError: No " in capsys.readouterr().out


def test_tasks_are_taken_at_a_port_of_ones_own_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert _is_ours(link_at(server.getsockname()[1]))
        free = server.getsockname()[1]
    assert not _is_ours(link_at(free))


def test_another_users_port_is_not_the_supernodes(tmp_path: Path) -> None:
    """Also beside one of one's own; sockets at other ports, or that are connected, are nobody's business."""
    own, other, table = os.getuid(), os.getuid() + 1, tmp_path / "tcp"
    harmless = row(9095, "0A", other) + row(9094, "01", other)
    table.write_text(HEAD + harmless)
    assert not _is_ours(link_at(9094), table)
    table.write_text(HEAD + harmless + row(9094, "0A", own))
    assert _is_ours(link_at(9094), table)
    table.write_text(HEAD + harmless + row(9094, "0A", own) + row(9094, "0A", other))
    with pytest.raises(StudyError, match=r"^superlink\.port: 9094 is another user's on this machine"):
        _is_ours(link_at(9094), table)
