"""Studies that learn from synthetic images, from end to end on the inline grid: what is left, restarts, sharing."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedmammo.cohort.store import Cohort
from fedmammo.commands.evaluate import rescore
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import StudyError
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.models.classifier import initial_model
from fedmammo.study import simulate

EXEMPT = {"timings.csv", "run.log", ".lock"}
SETTINGS = ["real", "synthetic", "augmented", "pretrained"]
Events = list[dict[str, Any]]


def go(
    config: StudyConfig,
    out: Path,
    app_in: Callable[[Path], ClientApp] = app_of,
    report: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Path:
    """Run a study on the inline grid. `app_in`: makes the hospitals' app, given their folder."""

    def on_grid(hospitals: Path, nodes: int, run: Callable[[Grid], None]) -> None:
        run(InlineGrid(app_in(hospitals), nodes))

    simulate(config, out, report, on_grid)
    return out


def files(run: Path) -> dict[str, str]:
    """SHA-256 of every file that must be the same in equal runs."""
    found = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in EXEMPT]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def study_of(content: dict[str, Any], cohort: Cohort, **keys: Any) -> StudyConfig:
    content |= {"cohort": {"path": str(cohort.folder)}, "synthesis": {"source": "phantom", "images": 40}}
    return parse(content | {"settings": SETTINGS} | keys, "small")


@pytest.fixture(scope="module")
def finished(
    new_study: Callable[[], dict[str, Any]], phantom_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory
) -> tuple[StudyConfig, Path, Events]:
    """A run of all arms and settings: the study, its folder, and what was reported."""
    events: Events = []
    config = study_of(new_study(), phantom_cohort)
    return config, go(config, tmp_path_factory.mktemp("settings") / "run", report=events.append), events


def test_every_arm_has_a_model_and_results_in_every_setting(finished: tuple[StudyConfig, Path, Events]) -> None:
    config, out, _ = finished
    results = pd.read_csv(out / "results.csv", dtype={"seed": str})
    arms = {(arm, setting) for arm in config.arms for setting in SETTINGS}
    assert {(row.arm, row.setting) for row in results.itertuples()} == arms | {("reader", "assessment")}
    comparisons = pd.read_csv(out / "comparisons.csv")
    within = comparisons[comparisons["arm"] == comparisons["against"]]
    assert set(within["setting"]) == set(SETTINGS) - {"real"} and set(within["against_setting"]) == {"real"}
    models = {path.stem: read_tensors(path)[0]["head.weight"] for path in (out / "models").iterdir()}
    for arm, holders in (
        ("centralized", ["all"]),
        ("local", [f"hospital-{n}" for n in (1, 2, 3)]),
        ("federated", ["all"]),
    ):
        for holder in holders:
            own = [models[f"{arm}-{setting}-seed0-draw0-fold0-{holder}"] for setting in SETTINGS]
            assert len({tuple(weights.flatten().tolist()) for weights in own}) == 4


def test_scores_are_what_they_were(finished: tuple[StudyConfig, Path, Events]) -> None:
    """Means of tested scores, locked after they had stayed the same to seven digits when studies became fast.

    Processors sum in other orders, which AdamW's first steps enlarge.
    """
    _, out, _ = finished
    table = pd.read_csv(out / "predictions.csv").query("split == 'test'")
    found = table.groupby(["arm", "setting"])["score"].mean()
    locked = {
        "centralized": {"augmented": 0.4398966, "pretrained": 0.511977, "real": 0.4647146, "synthetic": 0.493631},
        "federated": {"augmented": 0.4966406, "pretrained": 0.5157115, "real": 0.4851211, "synthetic": 0.493631},
        "local": {"augmented": 0.5065198, "pretrained": 0.5129739, "real": 0.4849448, "synthetic": 0.493631},
    }
    for arm, by_setting in locked.items():
        assert found[arm].to_dict() == pytest.approx(by_setting, abs=2e-4)


def test_rounds_say_what_was_done_and_what_travelled(finished: tuple[StudyConfig, Path, Events]) -> None:
    """Only the federated arm sends a pool: 40 patches of 128 x 128 in 16 bit, and a little text, to each hospital."""
    _, out, _ = finished
    rounds = pd.read_csv(out / "rounds.csv")
    counts = rounds.groupby(["arm", "setting", "stage"]).size()
    for arm, trained, pretrained in (("centralized", 2, 2), ("local", 6, 6), ("federated", 6, 2)):
        assert counts[arm, "real"].to_dict() == {"train": trained}
        assert counts[arm, "synthetic"].to_dict() == {"pretrain": pretrained}
        assert counts[arm, "pretrained"].to_dict() == {"pretrain": pretrained, "train": trained}
    assert counts["federated", "augmented"].to_dict() == {"share": 3, "train": 6}
    assert counts["local", "augmented"].to_dict() == {"train": 6}
    shared = rounds[rounds["stage"] == "share"]
    assert shared["hospital"].tolist() == ["hospital-1", "hospital-2", "hospital-3"]
    assert shared["bytes_down"].between(40 * 128 * 128 * 2, 40 * 128 * 128 * 2 + 4000).all()
    assert (shared["simulated_seconds"] > 0).all() and (shared["bytes_up"] == 0).all()
    assert (rounds.loc[rounds["stage"] == "pretrain", ["bytes_up", "bytes_down"]] == 0).all(axis=None)
    assert rounds.loc[rounds["stage"] == "pretrain", "loss"].notna().all()


def test_what_only_continuing_needed_is_gone(finished: tuple[StudyConfig, Path, Events]) -> None:
    _, out, _ = finished
    assert not list(out.glob("deployments/*pretraining*")) and not list(out.glob("synthetic/*/features"))
    pools = pd.read_csv(out / "synthetic/pools.csv")
    assert pools["holder"].tolist() == ["all", "hospital-1", "hospital-2", "hospital-3", "all"]
    left = sorted(path.name for path in (out / "synthetic").iterdir())
    assert left == [pools["digest"][0][:16], "pools.csv", "quality.csv"]


def test_synthetic_images_alone_teach_all_holders_of_a_pool_alike_but_for_their_order(
    phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    """All images in every step, one view: models of all arms differ in the order of a sum alone."""
    phantom_study["diagnosis"]["augmentation"] = {"flips": "none"}
    config = study_of(phantom_study, phantom_cohort, settings=["synthetic"])
    out = go(config, tmp_path / "run")
    models = [read_tensors(path)[0]["head.weight"] for path in sorted((out / "models").iterdir())]
    assert len(models) == 5
    assert all(abs(model - models[0]).max() < 1e-5 for model in models)
    assert abs(models[0] - initial_model(config.diagnosis, 0)["head.weight"]).max() > 1e-3


def test_a_finished_run_is_scored_again(finished: tuple[StudyConfig, Path, Events], phantom_cohort: Cohort) -> None:
    _, out, _ = finished
    table = rescore(out, phantom_cohort.folder, "test", lambda _: None)
    assert table.to_csv(index=False) == (out / "results.csv").read_text()


STOPS = [
    # The last two settings pretrain alike: the second takes up what the first has done.
    (["real", "augmented", "synthetic", "pretrained"], [
        ("share", "augmented"), ("train", "augmented"), ("score", "augmented"), ("features", "synthetic"),
        ("pretrain", "synthetic"), ("train", "pretrained"),
    ]),
    (["pretrained"], [("pretrain", "pretrained")]),
]  # fmt: skip


@pytest.mark.parametrize(("named", "stops"), STOPS, ids=["every", "pretrained"])
def test_a_run_stopped_in_any_stage_goes_on_to_the_same_bytes(
    new_study: Callable[[], dict[str, Any]],
    phantom_cohort: Cohort,
    tmp_path: Path,
    named: list[str],
    stops: list[tuple[str, str]],
) -> None:
    """The federated arm, interrupted where one stage of a setting after the other first reports; with curves."""
    more = {"arms": ["federated"], "settings": named, "evaluation": {"every": 1}}
    config = study_of(new_study(), phantom_cohort, **more)
    for stop in stops:

        def interrupt(event: dict[str, Any], stop: tuple[str, str] = stop) -> None:
            if (event["stage"], event["deployment"]["setting"]) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            go(config, tmp_path / "stopped", report=interrupt)
    expected = files(go(config, tmp_path / "whole"))
    assert files(go(config, tmp_path / "stopped")) == expected


# Sharing


def federated(study: dict[str, Any], cohort: Cohort) -> StudyConfig:
    return study_of(study, cohort, arms=["federated"], settings=["augmented"])


def with_share(handler: Callable[[Message, Context, ClientApp], Message]) -> Callable[[Path], ClientApp]:
    """The hospitals' app with another answer to `share`, which may ask the app itself."""

    def made(hospitals: Path) -> ClientApp:
        own, other = app_of(hospitals), ClientApp()
        for name in ("hello", "declare", "features"):
            other.query(name)(own)
        other.query("share")(lambda message, context: handler(message, context, own))
        other.train()(own)
        other.evaluate()(own)
        return other

    return made


def test_hospitals_that_lost_the_pool_get_it_with_the_message(
    phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    """As on other machines: nothing of the pool is there when the message comes, and training has it all the same."""
    kept: list[bool] = []

    def elsewhere(message: Message, context: Context, own: ClientApp) -> Message:
        for folder in (tmp_path / "lost/synthetic").glob("*/"):
            shutil.rmtree(folder)
            reply = own(message, context)
            kept.append(folder.is_dir())
        return reply

    config = federated(phantom_study, phantom_cohort)
    lost = go(config, tmp_path / "lost", app_in=with_share(elsewhere))
    assert kept == [True, True, True]
    assert files(lost) == files(go(config, tmp_path / "plain"))


def test_one_other_byte_on_the_way_ends_the_study(
    phantom_study: dict[str, Any], phantom_cohort: Cohort, tmp_path: Path
) -> None:
    spoiled: list[bool] = []

    def altered(message: Message, context: Context, own: ClientApp) -> Message:
        if context.node_config["partition-id"] == 1 and not spoiled:  # what is asked again is the same message
            spoiled.append(True)
            for folder in (tmp_path / "run/synthetic").glob("*/"):
                shutil.rmtree(folder)
            array = message.content.array_records["arrays"]["patches.npy"]
            array.data = array.data[:-1] + bytes([array.data[-1] ^ 1])
        return own(message, context)

    with pytest.raises(StudyError, match=r"stage share: .*hospital-2 failed: StudyError: .* that the server named"):
        go(federated(phantom_study, phantom_cohort), tmp_path / "run", app_in=with_share(altered))
