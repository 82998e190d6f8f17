"""A made-up run about which everything is told: all keys of `about`, a budget, synthetic images, all tables."""

from pathlib import Path
from typing import Any

from fedmammo.cohort.readers.listing import CITATION
from fedmammo.config.about import About
from fedmammo.config.study import StudyConfig, dump
from fedmammo.run.results import Run
from tests.report.made_up import made_up

DIGESTS = dict.fromkeys(("code", "weights", "cohort", "profiles", "images"), "5ee0d") | {
    "libraries": "torch 2.13.0",
    "device": "cpu",
}
KEYS = [key for key in About.model_fields if key != "items"]
FLOW = f"""\
stage,name,patients,images,malignant,note
listed,mass.csv,,47,,
listed,all,,47,,rows
quarantined,no file,,3,,
quarantined,all,,3,,
prepared,TCIA tree,21,44,10,"licence CC BY 3.0; {CITATION}"
split,train,21,44,10,
hospital,hospital_1,13,27,6,draw 0
hospital,hospital_2,8,17,4,draw 0
trained,all,15,31,7,"draw 0, seed 0"
thresholds,all,6,13,3,"draw 0, seed 0"
tested,test,19,41,9,"draw 0, seed 0"
no part,all,0,0,0,"draw 0, seed 0"
"""


def told_run(folder: Path, about: dict[str, Any] | None = None) -> Run:
    """Write a run's tables and configuration to a folder; `about`: in place of a text for every key."""
    study = made_up(folder, hospitals=2, settings=("real", "real-epsilon-6"), draws=2)
    content = study.model_dump(mode="json")
    content["about"] = {key: f"what people say of {key}" for key in KEYS} if about is None else about
    content["arms"]["federated"] = {"federation.strategy": {"name": "FedAvgM", "server_momentum": 0.4375}}
    content["settings"] |= {"real-epsilon-6": {"diagnosis.optimizer.learning_rate": 0.0625}, "pretrained": {}}
    content["synthesis"] = {"source": "phantom", "images": 12}
    content["evaluation"]["prevalence"] = 0.0078125
    content["federation"]["strategy"] = {"name": "FedProx", "proximal_mu": 0.375}
    told = StudyConfig.model_validate(content)
    (folder / "config.yaml").write_text(dump(told, digests=DIGESTS))
    (folder / "flow.csv").write_text(FLOW)
    return Run(folder, told)
