"""Generators under a budget, from end to end on the inline grid: what is sent, spent, promised; restarts."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from fedmammo.cohort.store import Cohort
from fedmammo.config.study import StudyConfig, parse
from fedmammo.disk.files import read_tensors
from fedmammo.errors import InputError, StudyError
from fedmammo.federation.server import Server
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.answer import Answer
from fedmammo.stages import embedding
from fedmammo.stages.generator import Generator
from fedmammo.synthesis import radiomics
from fedmammo.synthesis.sources import FromGan

Finish = Callable[..., Path]
GAN = {
    "source": "gan", "images": 8, "image_size": 32, "width": 4, "rounds": 2, "local_steps": 2, "batch": 4,
    "phantom_steps": 2, "combine": "discriminator",
}  # fmt: skip
METHODS = ["adversarial", "mean_embedding"]


def budgeted(content: dict[str, Any], cohort: Cohort) -> dict[str, Any]:
    """Three hospitals with a budget of 6, of which generators get a third."""
    return {
        **content,
        "cohort": {"path": str(cohort.folder)},
        "arms": ["federated"],
        "settings": ["pretrained-epsilon-6"],
        "synthesis": dict(GAN),
        "privacy": {"generator_share": 1 / 3},
    }


@pytest.fixture
def study(small_study: dict[str, Any], phantom_cohort: Cohort, without_radiomics: None) -> dict[str, Any]:
    return budgeted(small_study, phantom_cohort)


class Whole(NamedTuple):
    """A study whose secrets everybody knows, its folder, and the names of the numbers that were sent, by stage."""

    config: StudyConfig
    folder: Path
    sent: dict[str, set[str]]


@pytest.fixture(scope="module")
def whole(
    new_study: Callable[[], dict[str, Any]],
    phantom_cohort: Cohort,
    run_inline: Finish,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Whole]:
    """Run the study with generators of a method, once."""

    @cache
    def of(method: str) -> Whole:
        content = budgeted(new_study(), phantom_cohort)
        content["synthesis"]["method"] = method
        content["privacy"]["secret_seed"] = 1
        sent: dict[str, set[str]] = {}
        ask = Server.ask

        def watched(self: Server, deployment: Any, job: Any, *rest: Any) -> dict[str, Any]:
            answers = ask(self, deployment, job, *rest)
            for answer in answers.values():
                assert isinstance(answer, Answer)
                sent.setdefault(job.stage, set()).update(answer.numbers)
            return answers

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Server, "ask", watched)
            patched.setattr(radiomics, "is_installed", lambda: False)
            config = parse(content, "test")
            return Whole(config, run_inline(config, tmp_path_factory.mktemp(method) / "whole"), sent)

    return of


def ledger(folder: Path, hospital: str, name: str) -> list[dict[str, Any]]:
    lines = (folder / "hospitals" / hospital / "ledger" / f"{name}.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "request" in line]


def manifests(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The manifest of each pool, by arm, setting and holder."""
    table = pd.read_csv(folder / "synthetic/pools.csv", dtype=str, na_filter=False)
    return {
        (row.arm, row.setting, row.holder): json.loads(
            (folder / "synthetic" / row.digest[:16] / "manifest.json").read_text()
        )
        for row in table.itertuples()
    }


@pytest.mark.parametrize(
    ("method", "arms", "kind"),
    [("adversarial", ["local", "federated"], "pretrained"), ("mean_embedding", ["centralized", "local"], "synthetic")],
)
def test_every_arm_has_pools_that_say_what_they_guarantee(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path, method: str, arms: list[str], kind: str
) -> None:
    """Of the squared parameter mu^2 a generator has a third, or in `synthetic` all; so its epsilon is less, or 6."""
    study["synthesis"]["method"] = method
    study |= {"arms": arms, "settings": [f"{kind}-epsilon-6"]}
    out = run_inline(parse(study, "test"), tmp_path / "run")
    found = manifests(out)
    assert len(found) == len({each["digest"] for each in found.values()}) == 4
    stage = "generator" if method == "adversarial" else "embedding"
    for (arm, setting, holder), manifest in found.items():
        who = {"centralized": "centralized", "local": f"alone-{holder}", "federated": "federated"}[arm]
        name = f"generator-{who}-none-{setting}-draw0"
        hospital = {"centralized": "all", "local": holder, "federated": "hospital-2"}[arm]
        lines = ledger(out, hospital, name)
        assert [line["stage"] for line in lines] == [stage] * (2 if method == "adversarial" else 1)
        assert manifest["guarantee"] == {"epsilon": lines[-1]["epsilon"]["0.0001"], "delta": 1e-4, "unit": "patient"}
        assert [each["images"] for each in manifest["counts"]] == [4, 4]
        assert ("noise_over_contrast" in manifest) == (method == "mean_embedding")
        sigma = lines[0]["mechanism"]["noise_multiplier"]
        alone = epsilon(((1.0, sigma, 4 if method == "adversarial" else 1),), 1e-4)
        assert manifest["guarantee"]["epsilon"] == pytest.approx(alone)
        assert (5.9 < alone <= 6) if setting.startswith("synthetic") else (2 < alone < 4)
    table = pd.read_csv(out / "synthetic/pools.csv")
    assert table["guarantee"].str.match(r"epsilon [0-9.]+ at delta 0\.0001 per patient").all()
    results = pd.read_csv(out / "results.csv").query("arm != 'reader'")
    assert (results["end_to_end"] == "patient").all()
    assert results["epsilon"].between(5.9, 6).all()


@pytest.mark.parametrize("method", METHODS)
def test_hospitals_send_no_number_that_depends_on_patients(whole: Callable[[str], Whole], method: str) -> None:
    """Stage `count` is not asked for at all; there is neither a loss nor a time that tells the number of images."""
    _, out, sent = whole(method)
    stage = "generator" if method == "adversarial" else "embedding"
    released = {stage: {"num-examples", "epsilon"}, "train": {"num-examples", "epsilon"}}
    assert sent == released | {"declare": {"num-examples"}, "agree": set(), "features": {"remaining"}, "score": set()}
    rounds = pd.read_csv(out / "rounds.csv")
    assert set(rounds["stage"]) == {stage, "pretrain", "train"}
    own = rounds[rounds["stage"] == stage]
    assert own["loss"].isna().all() and own["simulated_seconds"].isna().all() and own["epsilon_spent"].notna().all()


def contents(run: Path) -> dict[str, bytes]:
    """What must be the same in equal runs."""
    found = [path for path in run.rglob("*") if path.is_file() and path.name not in {"timings.csv", "run.log", ".lock"}]
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


class Stopped(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("method", METHODS)
def test_a_study_that_is_stopped_between_rounds_goes_on_to_the_same_bytes(
    whole: Callable[[str], Whole], run_inline: Finish, tmp_path: Path, without_radiomics: None, method: str
) -> None:
    config, undisturbed, _ = whole(method)

    def stop(event: dict[str, Any]) -> None:
        if event["stage"] == "generator" and event["round"] == 2:
            raise Stopped

    with pytest.raises(Stopped):
        run_inline(config, tmp_path / "run", report=stop)
    assert contents(run_inline(config, tmp_path / "run")) == contents(undisturbed)
    found = manifests(undisturbed).values()
    assert all(manifest["guarantee"] == "none" for manifest in found)  # everybody knows the seed


def test_the_private_generator_owes_nothing_to_one_without_privacy(
    study: dict[str, Any], whole: Callable[[str], Whole], run_inline: Finish, tmp_path: Path
) -> None:
    """With and without a setting that trains one before, its bytes are the same."""
    study["privacy"]["secret_seed"] = 1
    study["settings"] = ["synthetic", *study["settings"]]
    name = "models/generator-federated-none-pretrained-epsilon-6-draw0.safetensors"
    alone, _ = read_tensors(whole("adversarial").folder / name)
    after, _ = read_tensors(run_inline(parse(study, "test"), tmp_path / "after") / name)
    # The plan names the settings of its own deployment alone, so that the noise is the same too.
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_a_trusted_server_noises_the_sum_of_features_once(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three hospitals' noises a third of the variance is left: the noise is less by sqrt(3).

    What is released differs from the mean of a generator without a share of the budget by noise of this spread.
    """
    study["synthesis"]["method"] = "mean_embedding"
    study["federation"]["local_steps"] = 1
    spreads: dict[str, float] = {}
    found: dict[str, Tensor] = {}
    of = embedding.ClassMeans.of
    kinds = {"local": {}, "central": {"trust": "central"}, "clean": {"generator_share": 0.0}}

    for kind, changes in kinds.items():

        def watched(released: Tensor, norm: float, spread: float, kind: str = kind) -> Any:
            spreads[kind], found[kind] = spread, released
            return of(released, norm, spread)

        monkeypatch.setattr(embedding.ClassMeans, "of", watched)
        run_inline(parse(study | {"privacy": study["privacy"] | changes}, "test"), tmp_path / kind)
    assert spreads["local"] == pytest.approx(3**0.5 * spreads["central"]) and spreads["clean"] == 0
    for kind in ("local", "central"):
        noise = (found[kind] - found["clean"]).double() / spreads[kind]
        low, high = chi2.ppf([5e-6, 1 - 5e-6], noise.numel())
        assert low < float(noise.square().sum()) < high


def test_without_a_budget_the_same_path_has_no_noise(study: dict[str, Any], run_inline: Finish, tmp_path: Path) -> None:
    study["settings"] = ["synthetic"]
    study["synthesis"]["method"] = "mean_embedding"
    study["arms"] = ["local", "federated"]
    out = run_inline(parse(study, "test"), tmp_path / "run")
    assert all(each["guarantee"] == "none" and each["noise_over_contrast"] == 0 for each in manifests(out).values())
    assert len(manifests(out)) == 4
    assert set(pd.read_csv(out / "rounds.csv")["stage"]) == {"embedding", "pretrain"}


def test_more_rounds_of_a_generator_than_were_agreed_to_are_refused(
    study: dict[str, Any], run_inline: Finish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that goes on after the last round gets nothing."""
    monkeypatch.setattr(Generator, "rounds", lambda *_: 3)
    with pytest.raises(StudyError, match="refused: round 3 was asked for, 2 were agreed to"):
        run_inline(parse(study, "test"), tmp_path / "run")
    assert len(ledger(tmp_path / "run", "hospital-1", "generator-federated-none-pretrained-epsilon-6-draw0")) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"synthesis": {**GAN, "combine": "pool"}}, "a generator that cannot be private"),
        ({"synthesis": {**GAN, "batch": 3, "method": "mean_embedding"}}, "takes 4 images or more"),
        (
            {"privacy": {"generator_share": 0.5, "trust": "central"}, "federation": {"rounds": 2, "local_steps": 1}},
            "protects generators by method: mean_embedding alone",
        ),
    ],
)
def test_what_cannot_be_is_said_at_once(study: dict[str, Any], changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse(study | changes, "test")


def test_what_can_be_private() -> None:
    def can(**keys: str) -> bool:
        return FromGan.model_validate({"source": "gan", **keys}).can_be_private

    assert can(combine="discriminator") and can(method="mean_embedding")
    assert not can() and not can(combine="average")
