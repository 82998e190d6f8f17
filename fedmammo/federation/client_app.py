"""The hospital as a Flower client: hands a message's job to `fedmammo.stages.hospital` and the answer back."""

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, MessageType, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from fedmammo.errors import FedmammoError, one_line
from fedmammo.federation.bundle import software
from fedmammo.federation.messages import pack, unpack
from fedmammo.hospitals.canary import canary_of
from fedmammo.hospitals.dealing import NODES
from fedmammo.hospitals.site import Site
from fedmammo.privacy.reasons import RefusalError, code_of
from fedmammo.stages.hospital import STAGES, work
from fedmammo.stages.stage import Job

HELLO = "hello"
SITE = "site"  # in a node's own configuration: its site file
SITES = "FEDMAMMO_SITES"  # in the environment of a simulation that `flwr run` starts: the folder of the hospitals


def kind_of(stage: str) -> str:
    """Return the type of the messages that ask for a stage."""
    return {"train": MessageType.TRAIN, "score": MessageType.EVALUATE}.get(stage, f"{MessageType.QUERY}.{stage}")


def app_of(hospitals: Path | None) -> ClientApp:
    """Make the client app of a simulation's hospitals, or of one that its node's configuration names.

    `hospitals`: the folder of all simulated hospitals; none where the environment names it.
    """

    def site_of(context: Context) -> Site:
        if SITE in context.node_config:
            return Site.open(Path(str(context.node_config[SITE])))
        folder = hospitals or Path(os.environ[SITES])
        names = json.loads((folder / NODES).read_text())
        return Site.open(folder / names[int(context.node_config["partition-id"])] / "site.yaml")

    return _app(site_of, tells=lambda context: SITE not in context.node_config)


def app_at(site: Path) -> ClientApp:
    """Make the client app of one real hospital. `site`: its site file."""
    return _app(lambda _: Site.open(site), tells=lambda _: False)


def _app(site_of: Callable[[Context], Site], tells: Callable[[Context], bool]) -> ClientApp:
    """Make a client app. `tells`: whether texts of errors may travel; they may tell what files hold."""
    app = ClientApp()

    def failed(message: Message, context: Context, error: Exception) -> Message:
        """Answer with an error: of a real hospital's, one word of a closed list."""
        if tells(context):
            traceback.print_exc()
            return Message(Error(code=0, reason=f"{type(error).__name__}: {error}"), reply_to=message)
        reason = error.reason if isinstance(error, RefusalError) else "failed"
        told = one_line(str(error)) if isinstance(error, FedmammoError | RefusalError) else traceback.format_exc()
        print(_hushed(told, site_of, context), flush=True)
        return Message(Error(code=code_of(reason), reason=reason), reply_to=message)

    def hello(message: Message, context: Context) -> Message:
        """Say which hospital this node is, how fast, and how large its patches are."""
        try:
            asks = str(message.content.config_records["about"]["software"])
            if asks != software():
                raise RefusalError(f"refused: the server has software {asks}, here it is {software()}", "software")
            site = site_of(context)
            site.check_runs()
            if message.content.config_records["about"].get("canary"):
                site = canary_of(site)
            about = ConfigRecord({"name": site.name, "software": software(), "local_models": site.file.local_models})
            side = site.cohort.patches.shape[1]
        except Exception as error:
            return failed(message, context, error)
        speeds = {"uplink": site.file.uplink_megabits_per_second, "images": site.file.images_per_second, "side": side}
        return Message(RecordDict({"about": about, "metrics": MetricRecord(speeds)}), reply_to=message)

    def answer(message: Message, context: Context) -> Message:
        """Do the job of a message. Where that raises the reply is an error; the hospital's state stays as it was.

        Flower would make such a reply itself, but on Ray one of a traceback with process numbers.
        """
        try:
            config = message.content.config_records["config"]
            incoming = {name: unpack(record) for name, record in message.content.array_records.items()}
            job = Job.from_json(str(config["job"]))
            found = work(site_of(context), job, incoming, str(config.get("agreement", "")))
        except Exception as error:
            return failed(message, context, error)
        content = RecordDict({"arrays": pack(found.tensors), "metrics": MetricRecord(dict(found.numbers))})
        if found.beside:
            content["beside"] = pack(found.beside)
        return Message(content, reply_to=message)

    app.query(HELLO)(hello)
    for stage in STAGES:
        if kind_of(stage).startswith(MessageType.QUERY):
            app.query(stage)(answer)
    app.train()(answer)
    app.evaluate()(answer)
    return app


def _hushed(text: str, site_of: Callable[[Context], Site], context: Context) -> str:
    """Return what a hospital's log may hold: the text without names of patients, of their images and files."""
    try:
        manifest = site_of(context).cohort.manifest
    except Exception:  # no cohort, nobody to name
        return text
    names = {str(name) for column in ("source", "image", "patient") for name in manifest[column].unique()}
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, "(of a patient)")
    return text


app = app_of(None)
