"""Pools are made once for each arm, draw and fold, whoever asks, and taken up after a restart."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.rounds import Deployed
from fedmammo.privacy.accounting import epsilon_of_mu
from fedmammo.privacy.secret import Secret
from fedmammo.randomness import generator_of
from fedmammo.run.pools import Pools, check_source, guarantee_of, in_words
from fedmammo.stages.planning import plan_of
from fedmammo.synthesis.pool import Pool, Synthetic

SIDE = 16
SETTINGS = ["pretrained", "augmented"]


class Generators:
    """Stands for an arm's generators: noise that depends on whose it is, and a list of the deployments that asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, deployed: Deployed) -> dict[str, Synthetic]:
        self.asked.append(deployed.deployment.name)
        return {group.name: self.images(deployed.deployment, group.name) for group in deployed.groups}

    @staticmethod
    def images(one: Deployment, holder: str) -> Synthetic:
        sole = one.setting_name if one.generator_share else ""
        noise = generator_of(one.arm_name, sole, one.draw, one.fold, holder).integers(0, 65536, (4, SIDE, SIDE))
        return Synthetic(noise.astype(np.uint16), np.arange(4) % 2 == 1, np.full(4, holder))


@pytest.fixture
def generators() -> Generators:
    return Generators()


def study(content: dict[str, Any], source: str, **keys: Any) -> StudyConfig:
    return parse(content | {"synthesis": {"source": source, "images": 4}, "settings": SETTINGS, **keys}, "small")


def pools_of(tmp_path: Path, generators: Generators, config: StudyConfig, seeded: bool = False) -> Pools:
    """Take up what lies in a folder, as after a restart."""
    return Pools(tmp_path, SIDE, config.synthesis, generators, seeded)


def of(pools: Pools, one: Deployment, setting: str = "") -> dict[str, Pool]:
    """The pools of a deployment at hospitals A and B."""
    sizes = dict.fromkeys(("A", "B", "all"), 10)
    groups, plan = one.arm.groups(["A", "B"]), plan_of(one, sizes)
    return pools.of(Deployed(one, groups, sizes, plan, Secret(bytes(32)), torch.device("cpu")), setting)


def table(tmp_path: Path) -> pd.DataFrame:
    return pd.read_csv(tmp_path / "pools.csv", dtype=str, na_filter=False)


def test_each_holder_has_the_images_of_its_own_generator(
    generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    config = study(small_study, "gan")
    local = config.deployment("local", "pretrained")
    found = of(pools_of(tmp_path, generators, config), local)
    assert list(found) == ["A", "B"]
    for name, pool in found.items():
        assert np.array_equal(pool.patches, generators.images(local, name).patches)
    written = table(tmp_path)
    assert ",".join(written) == "arm,setting,sole_setting,seed,draw,fold,holder,digest,images,guarantee"
    assert written["holder"].tolist() == ["A", "B"] and set(written["guarantee"]) == {"none"}
    assert written["digest"].tolist() == [pool.digest for pool in found.values()]
    assert found["A"].manifest["source"]["source"] == "gan"


def test_seeds_and_settings_share_a_pool_but_folds_do_not(
    generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    """Without folds a pool serves all seeds; with folds, which are dealt anew for each seed, one seed and fold."""
    plain = study(small_study, "gan")
    pools = pools_of(tmp_path, generators, plain)
    first = of(pools, plain.deployment("local", "pretrained"))
    for setting, seed in (("augmented", 0), ("pretrained", 7)):
        found = of(pools, plain.deployment("local", setting, seed))
        assert {name: pool.digest for name, pool in found.items()} == {
            name: pool.digest for name, pool in first.items()
        }
    assert len(generators.asked) == 1 and set(table(tmp_path)["seed"]) == {"all"}
    of(pools, plain.deployment("local", "pretrained", draw=1))
    assert len(generators.asked) == 2

    folds = study(small_study, "gan", evaluation={"folds": 2})
    for seed, fold in ((0, 0), (0, 1), (1, 0)):
        for setting in SETTINGS:
            of(pools, folds.deployment("local", setting, seed, 0, fold))
    assert len(generators.asked) == 5


def test_a_restart_takes_them_up(generators: Generators, small_study: dict[str, Any], tmp_path: Path) -> None:
    config = study(small_study, "gan")
    local = config.deployment("local", "pretrained")
    first = of(pools_of(tmp_path, generators, config), local)
    written = (tmp_path / "pools.csv").read_bytes()
    again = of(pools_of(tmp_path, generators, config), local)
    assert {name: pool.digest for name, pool in again.items()} == {name: pool.digest for name, pool in first.items()}
    assert len(generators.asked) == 1

    shutil.rmtree(first["B"].folder)
    remade = of(pools_of(tmp_path, generators, config), local)
    assert remade["B"].folder.is_dir() and remade["B"].digest == first["B"].digest
    assert (tmp_path / "pools.csv").read_bytes() == written

    (first["A"].folder / "images.csv").write_text("image,malignant,origin\n")
    with pytest.raises(StudyError, match="remove the folder"):
        of(pools_of(tmp_path, generators, config), local)


def test_what_looks_at_no_patient_is_one_pool_for_all(
    generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    config = study(small_study, "phantom", evaluation={"folds": 2})
    pools = pools_of(tmp_path, generators, config)
    arms = ("local", "centralized")
    digests = {pool.digest for arm in arms for pool in of(pools, config.deployment(arm, "pretrained")).values()}
    assert len(digests) == 1 and generators.asked == []
    assert table(tmp_path)["holder"].tolist() == ["A", "B", "all"]
    assert set(table(tmp_path)["guarantee"]) == {"none needed: drawn by rule, at published rates"}


def test_what_a_study_depends_on(small_study: dict[str, Any], tmp_path: Path) -> None:
    """Nothing beside the code for what is drawn; for a folder a digest of its images, or one line."""
    assert check_source(study(small_study, "phantom").synthesis) == ""
    folder = parse(small_study | {"synthesis": {"source": "folder", "path": str(tmp_path / "nowhere")}}, "small")
    with pytest.raises(InputError, match=r"synthesis\.path: .*nowhere is no folder"):
        check_source(folder.synthesis)


BUDGETS = ["pretrained-epsilon-6", "pretrained-epsilon-2"]
PRIVATE_GAN = {"source": "gan", "images": 4, "image_size": 32, "width": 4, "rounds": 2, "local_steps": 3}
PRIVATE_GAN |= {"method": "mean_embedding"}


def private(content: dict[str, Any], share: float, **source: Any) -> StudyConfig:
    keys = {"synthesis": PRIVATE_GAN | source, "settings": BUDGETS, "privacy": {"generator_share": share}}
    return parse(content | keys, "small")


def test_a_generator_with_a_part_of_the_budget_is_its_settings_own(
    generators: Generators, small_study: dict[str, Any], tmp_path: Path
) -> None:
    """And its pool says what it costs; without a part of it, settings share a pool that guarantees nothing."""
    config = private(small_study, 0.25)
    pools = pools_of(tmp_path / "private", generators, config)
    for setting in (*BUDGETS, BUDGETS[0]):
        of(pools, config.deployment("local", setting))
    assert len(generators.asked) == 2
    written = table(tmp_path / "private")
    assert written["sole_setting"].tolist() == [setting for setting in BUDGETS for _ in "AB"]
    costs = [float(row["guarantee"].split()[1]) for _, row in written.iterrows()]
    assert all(row.endswith(" at delta 0.0001 per patient") for row in written["guarantee"])
    assert costs[0] == costs[1] and costs[2] == costs[3] and costs[2] < 2 and costs[2] < costs[0] < 6

    plain = private(small_study, 0.0)
    pools = pools_of(tmp_path / "plain", generators, plain)
    for setting in BUDGETS:
        of(pools, plain.deployment("local", setting).without_budget(), setting)
    assert len(generators.asked) == 3
    written = table(tmp_path / "plain")
    assert set(written["guarantee"]) == {"none"} and set(written["setting"]) == {BUDGETS[0]}, "of the study's settings"


def test_what_a_pool_guarantees(small_study: dict[str, Any]) -> None:
    """A quarter of the squared mu of epsilon 6 goes to the generator: half of mu 1.4596."""
    config = private(small_study, 0.25)
    one = config.deployment("local", BUDGETS[0])
    plan = plan_of(one, {"A": 10})
    found = guarantee_of(one, plan, seeded=False)
    assert isinstance(found, dict) and (found["delta"], found["unit"]) == (1e-4, "patient")
    assert found["epsilon"] == pytest.approx(epsilon_of_mu(1.4596 / 2, 1e-4), rel=0.01)
    assert in_words(found) == f"epsilon {found['epsilon']:.4g} at delta 0.0001 per patient"
    assert guarantee_of(one, plan, seeded=True) == guarantee_of(one, None, seeded=False) == "none"
    drawn = study(small_study, "phantom").deployment("local", "pretrained")
    assert guarantee_of(drawn, None, seeded=True) == in_words("none needed: drawn by rule, at published rates")
