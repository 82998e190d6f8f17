"""What holds for patients from end to end: what is missing, or not understood, guarantees nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig, parse
from fedmammo.run.guarantees import NOBODY, NONE, PATIENT, Guarantee, _end_to_end, guarantees, mark
from fedmammo.run.pools import COLUMNS, in_words
from fedmammo.synthesis.sources import NO_GUARANTEE, NONE_NEEDED

GAN = {"source": "gan", "images": 4, "method": "mean_embedding"}
KINDS = ["real", "synthetic", "augmented", "pretrained"]
BOUND = in_words({"epsilon": 2.5, "delta": 1e-4, "unit": "patient"})


def study(content: dict[str, Any], share: float = 0.25, **keys: Any) -> StudyConfig:
    settings = [*KINDS, *(f"{kind}-epsilon-6" for kind in KINDS)]
    more = {"synthesis": GAN, "settings": settings, "privacy": {"generator_share": share}}
    return parse(content | more | keys, "small")


def table(one: Deployment, *said: str, **changes: str) -> pd.DataFrame:
    """The pools of a deployment: a row for each holder, with what its guarantee says."""
    sole = one.setting_name if one.generator_share else ""
    place = {"arm": one.arm_name, "setting": one.setting_name, "sole_setting": sole, "draw": str(one.draw)}
    place |= {"seed": str(one.seed) if one.dealing.folds else "all", "fold": str(one.fold)} | changes
    rows = [{**place, "holder": f"H{number}", "digest": "d", "images": "4"} for number in range(len(said))]
    return pd.DataFrame(
        [{**row, "guarantee": guarantee} for row, guarantee in zip(rows, said, strict=True)], columns=COLUMNS
    )


@pytest.mark.parametrize("value", [2.5, 12345.678, 1e-7, 3.0, 1e12])
def test_every_bound_that_is_written_is_understood(small_study: dict[str, Any], value: float) -> None:
    one = study(small_study).deployment("local", "pretrained-epsilon-6")
    said = in_words({"epsilon": value, "delta": 1e-5, "unit": "patient"})
    assert _end_to_end(one, table(one, said), seeded=False) == PATIENT


@pytest.mark.parametrize(
    ("setting", "said", "expected"),
    [
        ("synthetic", [NONE_NEEDED, NONE_NEEDED], NOBODY),
        ("synthetic", [NONE_NEEDED, NO_GUARANTEE], NONE),
        ("synthetic", [BOUND, BOUND], NONE),  # a bound of generators that this setting has no part in
        ("augmented", [NONE_NEEDED], NONE),  # patients are learned from beside, without a budget
        ("pretrained", [NONE_NEEDED], NONE),
        ("augmented-epsilon-6", [NONE_NEEDED, NONE_NEEDED], PATIENT),
        ("pretrained-epsilon-6", [NONE_NEEDED], PATIENT),
        ("pretrained-epsilon-6", [BOUND, BOUND], PATIENT),
        ("synthetic-epsilon-6", [BOUND], PATIENT),
        ("pretrained-epsilon-6", [BOUND, NO_GUARANTEE], NONE),
        ("pretrained-epsilon-6", [NO_GUARANTEE], NONE),
        ("pretrained-epsilon-6", [BOUND, ""], NONE),
        ("pretrained-epsilon-6", ["epsilon"], NONE),
        ("pretrained-epsilon-6", ["about 2"], NONE),
        ("pretrained-epsilon-6", ["epsilon inf at delta 0.0001 per patient"], NONE),
        ("pretrained-epsilon-6", ["epsilon 2.5 at delta 0.0001 per image"], NONE),
        ("pretrained-epsilon-6", ["epsilon of who knows"], NONE),
        ("pretrained-epsilon-6", ["EPSILON 2"], NONE),
    ],
)
def test_what_pools_say_is_what_holds(
    small_study: dict[str, Any], setting: str, said: list[str], expected: str
) -> None:
    one = study(small_study).deployment("local", setting)
    assert _end_to_end(one, table(one, *said), seeded=False) == expected


def test_patients_alone_need_no_pool(small_study: dict[str, Any]) -> None:
    config = study(small_study)
    for pools in (None, pd.DataFrame({"nonsense": ["x"]})):
        assert _end_to_end(config.deployment("local", "real"), pools, seeded=False) == NONE
        assert _end_to_end(config.deployment("local", "real-epsilon-6"), pools, seeded=False) == PATIENT


def test_a_generator_without_a_part_of_the_budget_bounds_nothing(small_study: dict[str, Any]) -> None:
    """Whatever its pool says."""
    one = study(small_study, share=0.0).deployment("local", "pretrained-epsilon-6")
    assert one.generator_share == 0
    assert _end_to_end(one, table(one, BOUND), seeded=False) == NONE
    assert _end_to_end(one, table(one, NONE_NEEDED), seeded=False) == PATIENT


@pytest.mark.parametrize("setting", ["pretrained-epsilon-6", "synthetic-epsilon-6", "synthetic", "augmented-epsilon-6"])
@pytest.mark.parametrize("said", [BOUND, NONE_NEEDED])
def test_without_its_own_pools_nothing_is_guaranteed(small_study: dict[str, Any], setting: str, said: str) -> None:
    """No table, an empty one, one without one of the columns that say whose a pool is, or pools of others."""
    one = study(small_study).deployment("local", setting)
    whole = table(one, said)
    bad = [None, whole[:0], pd.DataFrame(), *(whole.drop(columns=name) for name in whole.columns if name in USED)]
    bad += [table(one, said, **{name: "another"}) for name in USED if name != "guarantee"]
    for pools in bad:
        assert _end_to_end(one, pools, seeded=False) == NONE


USED = ("arm", "sole_setting", "seed", "draw", "fold", "guarantee")


@given(
    said=st.lists(st.sampled_from([BOUND, NONE_NEEDED, NO_GUARANTEE]) | st.text(max_size=12), min_size=1, max_size=4)
)
def test_one_pool_that_is_not_understood_is_enough(said: list[str]) -> None:
    """For whatever is written there: a guarantee needs every pool of the deployment to have one."""
    content: dict[str, Any] = {
        "name": "small",
        "cohort": {"path": "nowhere"},
        "hospitals": {"assignment": {"by": "uniform", "count": 3}},
        "diagnosis": {"network": "test_vit", "image_size": 32, "optimizer": {"learning_rate": 0.1}},
        "federation": {"rounds": 1, "local_steps": 1},
    }
    config = study(content)
    private, public = config.deployment("local", "pretrained-epsilon-6"), config.deployment("local", "synthetic")
    holds = set(said) in ({BOUND}, {NONE_NEEDED})
    assert (_end_to_end(private, table(private, *said), False) == PATIENT) == holds
    assert (_end_to_end(public, table(public, *said), False) == NOBODY) == (set(said) == {NONE_NEEDED})


def test_with_folds_a_pool_is_its_seeds_own(small_study: dict[str, Any]) -> None:
    config = study(small_study, evaluation={"folds": 2})
    one, other = (config.deployment("local", "pretrained-epsilon-6", seed) for seed in (0, 1))
    assert _end_to_end(one, table(one, BOUND), seeded=False) == PATIENT
    assert _end_to_end(one, table(other, BOUND), seeded=False) == NONE


def test_whoever_knows_the_seed_of_secrets_is_promised_nothing(small_study: dict[str, Any]) -> None:
    config = study(small_study)
    for kind in KINDS:
        one = config.deployment("local", f"{kind}-epsilon-6")
        assert _end_to_end(one, table(one, NONE_NEEDED), seeded=True) == NONE
    one = config.deployment("local", "synthetic")
    assert _end_to_end(one, table(one, NONE_NEEDED), seeded=True) == NOBODY


def test_the_weakest_deployment_says_what_holds_for_an_arm_and_setting(
    small_study: dict[str, Any], tmp_path: Path
) -> None:
    """A seed whose pool guarantees nothing is not made good by another one, in whatever order they come."""
    config = study(small_study, seeds=[0, 1], settings=["synthetic"], arms=["local"], evaluation={"folds": 2})
    found = [one for one in config.deployments if one.fold == 0]
    said = {0: NONE_NEEDED, 1: NO_GUARANTEE}
    (tmp_path / "synthetic").mkdir()
    pools = pd.concat([table(one, said[one.seed]) for one in found])
    pools.to_csv(tmp_path / "synthetic/pools.csv", index=False)
    for order in (found, found[::-1]):
        assert guarantees(tmp_path, config, order)["local", "synthetic"].end_to_end == NONE
    assert guarantees(tmp_path, config, found[:1])["local", "synthetic"].end_to_end == NOBODY


@pytest.mark.parametrize("content", ["", "\n", "nonsense", "\x00\xff", "a,b\n1\n2,3,4\n", '"'])
def test_a_table_of_pools_that_is_damaged_guarantees_nothing(
    small_study: dict[str, Any], tmp_path: Path, content: str
) -> None:
    config = study(small_study, settings=["synthetic"], arms=["local"])
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic/pools.csv").write_text(content, encoding="latin-1")
    assert guarantees(tmp_path, config, config.deployments)["local", "synthetic"].end_to_end == NONE


def test_results_are_marked_by_arm_and_setting() -> None:
    results = pd.DataFrame({"arm": ["local", "federated", "local"], "setting": ["real"] * 3, "value": [1, 2, 3]})
    held = {
        ("local", "real"): Guarantee(np.nan, np.nan, NONE),
        ("federated", "real"): Guarantee(5.9, 1e-4, PATIENT),
    }
    marked = mark(results, held)
    assert marked["end_to_end"].tolist() == [NONE, PATIENT, NONE]
    assert marked["epsilon"].tolist()[1] == 5.9 and marked["epsilon"].isna().tolist() == [True, False, True]
    with pytest.raises(KeyError):
        mark(results, {("local", "real"): held["local", "real"]})
