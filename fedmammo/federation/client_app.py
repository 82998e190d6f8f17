"""The hospital as a Flower client: hands the message's task to `fedmammo.training.hospital` and its answer back."""

import traceback

from flwr.app import Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedmammo.federation.messages import pack, unpack
from fedmammo.training.hospital import work
from fedmammo.training.task import Task

app = ClientApp()


@app.query("hospital")
def introduce(message: Message, context: Context) -> Message:
    """Say which hospital of the study this node is."""
    position = MetricRecord({"position": int(context.node_config["partition-id"])})
    return Message(RecordDict({"metrics": position}), reply_to=message)


@app.query("features")
@app.query("share")
@app.query("count")
@app.query("plan")
@app.train()
@app.evaluate()
def answer(message: Message, context: Context) -> Message:
    """Do the task of a message. Where that raises the reply is an error with its text; the state stays as it was.

    Flower would make such a reply itself, but on Ray one of a traceback with process numbers.
    """
    config = message.content.config_records["config"]
    incoming = {name: unpack(record) for name, record in message.content.array_records.items()}
    try:
        outgoing, numbers = work(
            Task.from_json(str(config["task"])),
            int(context.node_config["partition-id"]),
            incoming,
            proximal_mu=float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
        )
    except Exception as error:
        traceback.print_exc()
        return Message(Error(code=0, reason=f"{type(error).__name__}: {error}"), reply_to=message)
    return Message(RecordDict({"arrays": pack(outgoing), "metrics": MetricRecord(dict(numbers))}), reply_to=message)
