"""A researcher's own algorithm, from outside the package: used by its import path, where hospitals allow it."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.hospitals.site import Site
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.hospital import work
from fedmammo.stages.stage import Job

ALGORITHM = '''
from pathlib import Path

import torch
from fedmammo.strategies.base import BaseStrategy

with Path(__file__).with_name("imported").open("a") as file:
    file.write("imported\\n")


class Halfway(BaseStrategy):
    """The server goes a part of the way to the mean; hospitals send how far they went, and count their rounds."""

    name: str
    part: float = 0.5

    def correct(self, local, parameters):
        for parameter in parameters.values():
            if parameter.grad is not None:
                parameter.grad *= self.part

    def after(self, local, trained):
        rounds = local.kept.get("rounds", torch.zeros(())) + 1
        return {"rounds": rounds, "seen": local.beside.get("total", torch.zeros(()))}, {"rounds": rounds}

    def beside(self, kept):
        return {"total": kept["total"]} if kept else {}

    def at_server(self, turn):
        mean = turn.mean()
        total = sum(answer.beside["rounds"] for answer in turn.answers.values())
        assert {float(answer.beside["seen"]) for answer in turn.answers.values()} == {float(turn.kept.get("total", 0))}
        return {name: before.lerp(mean[name], self.part) for name, before in turn.model.items()}, {"total": total}


class NoStrategy:
    pass
'''
PACKAGE = "own_algorithms"
PATH = f"{PACKAGE}.halfway:Halfway"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package outside this one, which notes in a file that it was imported."""
    folder = tmp_path / "elsewhere" / PACKAGE
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "halfway.py").write_text(ALGORITHM)
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield folder
    forget()


def forget() -> None:
    """Let the next import run the module again."""
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def own_study(study: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    study["arms"] = ["federated"]
    study["diagnosis"] |= {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0}}
    study["diagnosis"] |= {"augmentation": {"flips": "none"}}
    study["federation"] = {"rounds": 3, "local_steps": 1, "strategy": {"name": PATH, **parameters}}
    return study


def test_a_whole_study_uses_both_its_halves(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], package: Path, tmp_path: Path
) -> None:
    """Of three rounds of one step with part 1/2, where hospitals halve gradients and the server halves the way.

    As FedAvg with a rate of a quarter, to rounding: one step of SGD is linear in the rate. What is kept and sent is
    checked by the algorithm itself. It is in the deployment with its parameters, and in the site file's list.
    """
    config = parse(own_study(phantom_study, part=0.5), "study.yaml")
    assert config.model_dump(mode="json")["federation"]["strategy"] == {"name": PATH, "part": 0.5}
    deployment = config.deployment("federated", "real")
    assert Deployment.model_validate_json(deployment.model_dump_json()) == deployment
    assert (
        deployment.digest
        != parse(own_study(phantom_study, part=1), "study.yaml").deployment("federated", "real").digest
    )
    out = run_inline(config, tmp_path / "own")
    assert yaml.safe_load((out / "hospitals/hospital-1/site.yaml").read_text())["algorithms"] == [PATH]
    phantom_study["federation"]["strategy"] = {"name": "FedAvg"}
    phantom_study["diagnosis"]["optimizer"]["learning_rate"] = 0.1 / 4
    plain = run_inline(parse(phantom_study, "study.yaml"), tmp_path / "plain")
    assert "algorithms" not in yaml.safe_load((plain / "hospitals/hospital-1/site.yaml").read_text())
    own, mean = (
        read_tensors(folder / "models/federated-real-seed0-draw0-fold0-all.safetensors")[0] for folder in (out, plain)
    )
    for name in mean:
        torch.testing.assert_close(own[name], mean[name], atol=1e-6, rtol=1e-5)
    assert set(pd.read_csv(out / "rounds.csv")["status"]) == {"ok"}


def test_a_hospital_that_does_not_list_it_refuses_and_does_not_import_it(
    phantom_study: dict[str, Any], hospitals_of: Any, package: Path, tmp_path: Path
) -> None:
    hospitals = hospitals_of(own_study(phantom_study), tmp_path / "hospitals")
    deployment = hospitals.config.deployment("federated", "real")
    text, digest = deployment.model_dump_json(), deployment.digest
    node = hospitals.folder / "hospital-1" / "site.yaml"
    content = yaml.safe_load(node.read_text())
    algorithms = content.pop("algorithms")
    imported = package / "imported"

    def ask(algorithms: list[str]) -> None:
        node.write_text(yaml.safe_dump(content | {"algorithms": algorithms}))
        forget()
        imported.unlink(missing_ok=True)
        work(Site.open(node), Job("declare", digest), {}, text)

    for allowed in ([], [f"{PACKAGE}.halfway:Other"], [PATH.upper()]):
        with pytest.raises(RefusalError) as caught:
            ask(allowed)
        assert str(caught.value) == f"refused: algorithm {PATH} is not in algorithms of the site file"
        assert not imported.exists() and f"{PACKAGE}.halfway" not in sys.modules
    ask(algorithms)
    assert imported.exists() and f"{PACKAGE}.halfway" in sys.modules
    # A file from which it was struck later refuses what it has agreed to.
    node.write_text(yaml.safe_dump(content | {"algorithms": []}))
    forget()
    imported.unlink()
    with pytest.raises(
        RefusalError, match=rf"^refused: algorithm {PATH} is not in algorithms of the site file any more"
    ):
        work(Site.open(node), Job("features", digest, 1), {})
    assert not imported.exists()


def test_a_name_that_only_looks_like_one_of_the_packages_own_is_not_imported_either(
    phantom_study: dict[str, Any], hospitals_of: Any, package: Path, tmp_path: Path
) -> None:
    """Names are texts, and stand where strategies stand; anything else is not understood."""
    hospitals = hospitals_of(phantom_study, tmp_path / "hospitals")
    deployment = hospitals.config.deployment("federated", "real")
    content = json.loads(deployment.model_dump_json())
    for strategy in ({"name": [PATH]}, {"name": {"own": PATH}}, {"name": PATH, "part": 1}, PATH, {}):
        text = json.dumps(content | {"federation": content["federation"] | {"strategy": strategy}})
        with pytest.raises(RefusalError, match=r"^refused: "):
            work(hospitals.sites["hospital-1"], Job("declare", deployment.digest), {}, text)
    twice = json.dumps(content).replace('"strategy": {', f'"strategy": {{"name": "{PATH}"}}, "strategy": {{')
    assert json.loads(twice) == content
    work(hospitals.sites["hospital-1"], Job("declare", deployment.digest), {}, twice)
    assert not (package / "imported").exists()


def test_a_study_ends_in_one_line_where_a_hospital_refuses(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], package: Path, tmp_path: Path
) -> None:
    def grid(hospitals: Path, nodes: int) -> InlineGrid:
        node = hospitals / "hospital-2" / "site.yaml"
        content = yaml.safe_load(node.read_text())
        node.write_text(yaml.safe_dump(content | {"algorithms": []}))
        return InlineGrid(app_of(hospitals), nodes)

    with pytest.raises(StudyError) as caught:
        run_inline(parse(own_study(phantom_study), "study.yaml"), tmp_path / "run", grid)
    assert "\n" not in str(caught.value)
    assert f"hospital-2 failed: RefusalError: refused: algorithm {PATH} is not in algorithms" in str(caught.value)


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ({"name": "no_such_package.module:Class"}, "no_such_package.module:Class cannot be imported (No module named"),
        ({"name": f"{PACKAGE}.halfway:Missing"}, f"{PACKAGE}.halfway:Missing cannot be imported (module"),
        ({"name": f"{PACKAGE}.halfway:NoStrategy"}, f"{PACKAGE}.halfway:NoStrategy is no subclass of"),
        ({"name": ":"}, ": cannot be imported (Empty module name)"),
        ({"name": PATH, "part": "much"}, "part"),
        ({"name": PATH, "whole": 1}, "whole"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    small_study: dict[str, Any], package: Path, strategy: dict[str, Any], reason: str
) -> None:
    small_study["federation"]["strategy"] = strategy
    with pytest.raises(InputError) as caught:
        parse(small_study, "study.yaml")
    assert str(caught.value).startswith("study.yaml: federation.strategy")
    assert reason in str(caught.value) and "\n" not in str(caught.value)
