"""The inline grid behaves as Flower's grids do."""

import pytest
from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedmammo.federation.inline_grid import InlineGrid


@pytest.fixture
def grid() -> InlineGrid:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        position = int(context.node_config["partition-id"])
        if position == 1:
            raise ValueError("no patients")
        return Message(RecordDict({"metrics": MetricRecord({"position": position})}), reply_to=message)

    return InlineGrid(app, 3)


def test_every_node_answers_as_itself_and_a_raising_one_with_an_error(grid: InlineGrid) -> None:
    replies = list(grid.send_and_receive([Message(RecordDict(), node, "train") for node in grid.get_node_ids()]))
    assert [reply.metadata.src_node_id for reply in replies] == [0, 1, 2]
    assert [reply.has_error() for reply in replies] == [False, True, False]
    assert replies[1].error.reason == "ValueError: no patients"
    assert replies[2].content.metric_records["metrics"]["position"] == 2


def test_a_reply_is_pulled_once(grid: InlineGrid) -> None:
    (identity,) = grid.push_messages([Message(RecordDict(), 0, "train")])
    assert len(list(grid.pull_messages([identity]))) == 1
    assert list(grid.pull_messages([identity])) == []
