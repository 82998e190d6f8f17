"""What a round at real hospitals takes over TLS, under masks and without, and how much of it is our own work.

Three hospitals and a SuperLink on this machine, each a process of its own; drawn patients, a linear head. Peer: trust
local, whose rounds the same hospitals take in the same study. Bars: our own share of a message of a linear head is at
most 1.5 s, of a hello .3 s; the rest is Flower's. Needs root, as each hospital has a user of its own.
"""

import re
import sys
import tempfile
from pathlib import Path

import pandas as pd
from common import tell

sys.path.insert(0, str(Path(__file__).parents[1]))

import fedmammo
from fedmammo.cohort.prepare import prepare
from fedmammo.cohort.store import Cohort
from fedmammo.config.study import parse
from fedmammo.phantom.tree import write_tree
from fedmammo.privacy.masks import public_key
from fedmammo.privacy.secret import Secret
from tests.deploy.loopback import loopback, until

NAMES = ("north", "south", "west")
STUDY = {
    "name": "links",
    "hospitals": {},
    "diagnosis": {
        "network": "vit_tiny_patch16_224", "weights": "none", "image_size": 96, "features": [6, 10],
        "optimizer": {"name": "sgd", "learning_rate": 0.1},
    },
    "federation": {"rounds": 10, "local_steps": 1},
    "engine": {"device": "cpu"},
    "settings": ["real-epsilon-6"],
    "arms": {"federated": {}, "federated-secure": {"privacy.trust": "secure"}},
}  # fmt: skip


def main() -> None:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, loopback(Path(folder), NAMES) as link:
        for number, name in enumerate(NAMES):
            write_tree(link.folder / name / "tree", patients=20, seed=number)
            prepare(link.folder / name / "tree", link.folder / name / "cohort")
            assert Cohort.open(link.folder / name / "cohort")
        keys = {name: public_key(Secret.of(link.folder / name / "state" / name, None)) for name in NAMES}
        config = parse(link.study(STUDY), "links")
        link.start_superlink()
        for name in NAMES:
            peers = {other: key for other, key in keys.items() if other != name}
            link.write_site(name, scores="rows", peers=peers, limits={"minimum_honest": 2})
            link.approve(name, {one.study for one in config.deployments})
            link.register(name)
            link.serve(name)
        until(lambda: all("SuperNode ID" in link.log(name) for name in NAMES))
        fedmammo.run_study(config, link.folder / "server" / "run")
        links = pd.read_csv(link.folder / "server" / "run" / "links.csv")
        logs = "".join(link.log(name) for name in NAMES)
    rounds = links[links["stage"] == "train"].groupby(["arm", "round"]).agg(
        seconds=("seconds", "max"), bytes=("bytes_up", "first"), down=("bytes_down", "first")
    )  # fmt: skip
    plain, secure = rounds.loc["federated"], rounds.loc["federated-secure"]
    own = {kind: [float(s) for s in re.findall(rf"^(?:query\.)?{kind}: ([0-9.]+) s", logs, re.M)] for kind in KINDS}
    tell(
        "links",
        {"ours": list(secure["seconds"]), "peer": list(plain["seconds"])},
        bar="about 1: masks cost nothing beside a message",
        bytes={"plain": int(plain["bytes"].iloc[0]), "secure": int(secure["bytes"].iloc[0])},
        own={kind: max(seconds) for kind, seconds in own.items()},
    )


KINDS = ("hello", "declare", "features", "train", "evaluate")


if __name__ == "__main__":
    main()
