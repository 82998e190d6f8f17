"""Two runs compared: paired where they tested alike, refused where they did not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from fedmammo.commands.compare import compare
from fedmammo.config.study import parse
from fedmammo.errors import InputError

Finish = Callable[..., Path]
LESIONS = "metric == 'auroc' and unit == 'lesion' and tested_at == 'all'"


@pytest.fixture
def finish(run_inline: Finish, phantom_study: dict[str, Any], tmp_path: Path) -> Finish:
    """Run the small study with some keys changed; returns the folder of the run."""

    def study(name: str, **keys: Any) -> Path:
        config = parse({**phantom_study, "arms": ["centralized", "federated"], **keys}, name)
        return run_inline(config, tmp_path / name)

    return study


def auroc(folder: Path, arm: str) -> float:
    results = pd.read_csv(folder / "results.csv", dtype={"seed": str})
    chosen = results.query(f"arm == @arm and seed == 'all' and {LESIONS}")
    return float(chosen["value"].iloc[0])


def test_a_strategy_against_another(finish: Finish) -> None:
    """The centralised arm combines nothing, so there the runs are equal."""
    average = finish("average", federation={"rounds": 2, "local_steps": 2})
    adam = finish("adam", federation={"rounds": 2, "local_steps": 2, "strategy": {"name": "FedAdam"}})
    table = compare(adam, average).query(LESIONS).set_index("arm")
    assert table.loc["centralized", "difference"] == 0
    expected = auroc(adam, "federated") - auroc(average, "federated")
    assert table.loc["federated", "difference"] == pytest.approx(expected, abs=1e-12)


def test_hospitals_dealt_by_another_rule(finish: Finish) -> None:
    """They keep other patients for validation, and test the same ones; places are the hospitals of the first run."""
    quick = {"rounds": 1, "local_steps": 1}
    two, four = (
        finish(f"{count}", federation=quick, hospitals={"assignment": {"by": "size_skew", "count": count}})
        for count in (2, 4)
    )
    table = compare(two, four)
    assert set(table["tested_at"]) <= {"all", "hospital-1", "hospital-2"}
    whole = table.query(LESIONS).set_index("arm")["difference"]
    for arm in ("centralized", "federated"):
        assert whole[arm] == pytest.approx(auroc(two, arm) - auroc(four, arm), abs=1e-12)


def test_runs_that_did_not_test_alike(finish: Finish, tmp_path: Path) -> None:
    quick = {"rounds": 1, "local_steps": 1}
    first = finish("first", federation=quick)
    for other in (finish("seeds", federation=quick, seeds=[3]), finish("local", federation=quick, arms=["local"])):
        with pytest.raises(InputError, match=r"seeds differ|have no arm in common"):
            compare(first, other)
    pretrained = finish(
        "pretrained", federation=quick, settings=["pretrained"], synthesis={"source": "phantom", "images": 2}
    )
    with pytest.raises(InputError, match="have no setting in common to compare"):
        compare(first, pretrained)
    digests = first / "config.yaml"
    digests.write_text(digests.read_text().split("digests:")[0] + "digests: {}\n")
    with pytest.raises(InputError, match="the cohort, seeds differ"):
        compare(first, tmp_path / "seeds")
    with pytest.raises(InputError, match="is not the configuration of a run"):
        compare(first, first.parent)
