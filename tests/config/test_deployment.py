"""A deployment is a value: its digest changes with what it uses and with nothing else."""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedmammo.commands.canaries import as_audited
from fedmammo.config.deployment import Deployment
from fedmammo.config.reading import set_key
from fedmammo.config.study import StudyConfig, parse

GAN = {"source": "gan", "images": 8, "image_size": 32, "width": 4, "rounds": 1, "local_steps": 1}
NAMES = {"real": "real", "private": "real-epsilon-6", "pretrained": "pretrained", "both": "pretrained-epsilon-2"}


@pytest.fixture
def whole(small_study: dict[str, Any]) -> dict[str, Any]:
    """A study with and without budgets and synthetic images."""
    return small_study | {"synthesis": copy.deepcopy(GAN), "settings": list(NAMES.values())}


def changed(content: dict[str, Any], key: str, value: Any) -> StudyConfig:
    content = copy.deepcopy(content)
    set_key(content, key, value)
    return parse(content, "small")


def digests(config: StudyConfig) -> dict[str, str]:
    """Digests of the federated arm by setting."""
    return {name: config.deployment("federated", setting).digest for name, setting in NAMES.items()}


EVERYTHING = set(NAMES)
USED: list[tuple[str, Any, set[str]]] = [
    ("diagnosis.network", "test_vit2", EVERYTHING),
    ("diagnosis.image_size", 48, EVERYTHING),
    ("diagnosis.optimizer.learning_rate", 0.02, EVERYTHING),
    ("diagnosis.augmentation.crops", 1, EVERYTHING),
    ("federation.rounds", 3, EVERYTHING),
    ("federation.strategy", {"name": "FedAvgM"}, EVERYTHING),
    ("hospitals.validation_fraction", 0.3, EVERYTHING),
    ("evaluation.test", "val", EVERYTHING),
    ("evaluation.folds", 2, EVERYTHING),
    ("evaluation.subgroups", ["view"], EVERYTHING),
    ("evaluation.every", 1, {"real", "pretrained"}),
    ("privacy.delta", 1e-5, {"private", "both"}),
    ("privacy.clipping_norm", 2.0, {"private", "both"}),
    ("synthesis.images", 16, {"pretrained", "both"}),
    ("synthesis.seed", 3, {"pretrained", "both"}),
    ("settings.pretrained", {"federation.rounds": 9}, {"pretrained"}),
    ("arms.federated", {"diagnosis.patient_fraction": 0.5}, EVERYTHING),
]
NOT_USED: list[tuple[str, Any]] = [
    ("name", "another"),
    ("cohort.path", "/elsewhere"),
    ("hospitals.assignment", {"by": "dirichlet", "count": 5, "alpha": 1.0}),
    ("engine.name", "ray"),
    ("engine.threads_per_hospital", 2),
    ("engine.timeout", 7.0),
    ("engine.spread", "hospitals"),
    ("engine.checkpoint_seconds", 60.0),
    ("evaluation.primary.margin", 0.1),
    ("evaluation.prevalence", 0.01),
    ("privacy.secret_seed", 7),
    ("arms.local", {"diagnosis.patient_fraction": 0.5}),
]


@pytest.fixture
def told(whole: dict[str, Any]) -> dict[str, Any]:
    """The same with arms and settings as mappings, which can be overridden."""
    return whole | {"arms": {"local": {}, "federated": {}}, "settings": {name: {} for name in NAMES.values()}}


@pytest.mark.parametrize(("key", "value", "whose"), USED, ids=[key for key, _, _ in USED])
def test_a_digest_changes_with_what_is_used(told: dict[str, Any], key: str, value: Any, whose: set[str]) -> None:
    before, after = digests(parse(told, "small")), digests(changed(told, key, value))
    assert {name for name in NAMES if before[name] != after[name]} == whose


@pytest.mark.parametrize(("key", "value"), NOT_USED, ids=lambda value: str(value)[:40])
def test_a_digest_changes_with_nothing_else(told: dict[str, Any], key: str, value: Any) -> None:
    assert digests(changed(told, key, value)) == digests(parse(told, "small"))


def test_every_deployment_has_a_name_and_a_digest_of_its_own(whole: dict[str, Any]) -> None:
    whole |= {"seeds": [0, 3], "hospitals": {**whole["hospitals"], "seed": [0, 1]}, "evaluation": {"folds": 2}}
    config = parse(whole, "small")
    found = list(config.deployments)
    assert len(found) == 3 * 4 * 2 * 2 * 2
    assert len({one.name for one in found}) == len({one.digest for one in found}) == len(found)
    assert len({one.study for one in found}) == 3 * 4, "who approves a study does so for all seeds, draws and folds"
    assert len({one.stream for one in found}) == len(found)
    for one in found:
        assert one == config.deployment(one.arm_name, one.setting_name, one.seed, one.draw, one.fold)
        assert one.place == dict(zip(("arm", "setting", "seed", "draw", "fold"), one.place.values(), strict=True))


def test_a_study_that_grows_keeps_its_deployments(small_study: dict[str, Any]) -> None:
    """More arms, seeds, draws, settings without a budget; a finished deployment is the same one as before."""
    first = parse(small_study | {"arms": ["local"], "settings": ["real"]}, "small")
    hospitals = small_study["hospitals"] | {"seed": [0, 4]}
    more = {"arms": ["federated", "local"], "settings": ["pretrained", "real"], "seeds": [5, 0], "synthesis": GAN}
    grown = parse(small_study | more | {"hospitals": hospitals}, "small")
    by_name = {one.name: one.digest for one in grown.deployments}
    assert len(by_name) == 2 * 2 * 2 * 2
    for one in first.deployments:
        assert by_name[one.name] == one.digest


def test_among_budgets_another_one_changes_nothing(small_study: dict[str, Any]) -> None:
    """The first one does: from then on hospitals divide their patients without looking at labels."""
    none, one, two = (
        parse(small_study | {"settings": settings}, "small")
        for settings in (["real"], ["real", "real-epsilon-6"], ["real", "real-epsilon-6", "real-epsilon-2"])
    )
    assert (none.dealing.stratified, one.dealing.stratified, two.dealing.stratified) == (True, False, False)
    for setting in ("real", "real-epsilon-6"):
        assert one.deployment("local", setting).digest == two.deployment("local", setting).digest
    assert none.deployment("local", "real").digest != one.deployment("local", "real").digest


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"draw": 1}, {"fold": 1}, {"arm_name": "local"}],
)
def test_a_copy_has_the_digest_of_what_it_says(told: dict[str, Any], change: dict[str, Any]) -> None:
    """Also where the digest of the first was asked for before: none is ever stale."""
    first = parse(told, "small").deployment("federated", "real-epsilon-6")
    before, study = first.digest, first.study
    copied = first.model_copy(update=change)
    fresh = Deployment.model_validate_json(copied.model_dump_json())
    assert copied.digest == fresh.digest != before
    assert copied.study == fresh.study
    assert (copied.study == study) == (set(change) <= {"seed", "draw", "fold"})
    assert first.digest == before


def test_it_travels_as_text(told: dict[str, Any]) -> None:
    """And means the same where it arrives; the digest is that of its sections in order of their names."""
    for one in parse(told, "small").deployments:
        text = one.model_dump_json()
        arrived = Deployment.model_validate_json(text)
        assert arrived == one and arrived.digest == one.digest
        content = json.dumps(json.loads(text), sort_keys=True)
        assert hashlib.sha256(content.encode()).hexdigest() == one.digest
        assert len(text) < 3000


@pytest.mark.parametrize("source", ["gan", "folder"])
def test_no_path_and_no_secret_travels(whole: dict[str, Any], tmp_path: Path, source: str) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"tensors")
    whole["cohort"]["path"] = str(tmp_path / "cohort")
    whole["diagnosis"]["weights"] = str(weights)
    whole["privacy"] = {"secret_seed": 471147}
    whole["engine"]["address"] = f"{tmp_path}:6379"
    if source == "folder":
        whole |= {
            "synthesis": {"source": "folder", "path": str(tmp_path / "images")},
            "settings": ["real", "augmented"],
        }
    name = hashlib.sha256(b"tensors").hexdigest()
    config = parse(whole, "small")
    assert config.weights == {name: weights.resolve()}
    for one in config.deployments:
        text = one.model_dump_json()
        assert str(tmp_path) not in text and "471147" not in text and "safetensors" not in text
        assert one.diagnosis.weights == name
        assert one.privacy is None or one.privacy.secret_seed is None


def test_weights_are_the_same_wherever_they_lie(whole: dict[str, Any], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "weights").write_bytes(b"tensors")
    first, second = (
        digests(changed(whole, "diagnosis.weights", str(tmp_path / folder / "weights"))) for folder in ("a", "b")
    )
    assert first == second


# What is worked out from it


def test_overrides_are_resolved(told: dict[str, Any]) -> None:
    """A setting's over an arm's over the study's; no other deployment has a part in them."""
    told["arms"]["federated"] = {"federation.rounds": 5, "diagnosis.optimizer.learning_rate": 0.5}
    told["settings"]["pretrained"] = {"federation.rounds": 7}
    config = parse(told, "small")
    found = {
        (arm, setting): config.deployment(arm, setting)  # type: ignore[arg-type]
        for arm in ("local", "federated")
        for setting in ("real", "pretrained")
    }
    assert {place: one.federation.rounds for place, one in found.items()} == {
        ("local", "real"): 2,
        ("local", "pretrained"): 7,
        ("federated", "real"): 5,
        ("federated", "pretrained"): 7,
    }
    assert {place[0]: one.diagnosis.optimizer.learning_rate for place, one in found.items()} == {
        "local": 0.01,
        "federated": 0.5,
    }


def test_a_pool_is_trained_on_as_its_arm_says(told: dict[str, Any]) -> None:
    """What a setting overrides of rounds and steps holds on patients only; its network is the same in both."""
    told["arms"]["federated"] = {"federation.rounds": 5}
    told["settings"]["pretrained"] = {
        "federation.rounds": 7,
        "diagnosis.optimizer.learning_rate": 0.5,
        "diagnosis.image_size": 48,
    }
    config = parse(told, "small")
    one = config.deployment("federated", "pretrained")
    pretraining = config.pretraining(one)
    assert (one.federation.rounds, pretraining.federation.rounds) == (7, 5)
    assert (one.diagnosis.optimizer.learning_rate, pretraining.diagnosis.optimizer.learning_rate) == (0.5, 0.01)
    assert one.diagnosis.image_size == pretraining.diagnosis.image_size == 48


def test_without_a_budget_nothing_of_privacy_is_left(whole: dict[str, Any]) -> None:
    config = parse(whole, "small")
    assert config.deployment("local", "pretrained-epsilon-2").without_budget() == config.deployment(
        "local", "pretrained"
    )
    plain = config.deployment("local", "real")
    assert plain.privacy is None and plain.without_budget() is plain


@pytest.mark.parametrize(
    ("setting", "share", "expected"),
    [
        ("real-epsilon-6", 0.25, 0.0),
        ("pretrained", 0.25, 0.0),
        ("pretrained-epsilon-2", 0.25, 0.25),
        ("synthetic-epsilon-2", 0.25, 1.0),
        ("synthetic-epsilon-2", 0.0, 1.0),
        ("augmented-epsilon-2", 0.0, 0.0),
    ],
)
def test_the_generators_share_of_the_budget(
    small_study: dict[str, Any], setting: str, share: float, expected: float
) -> None:
    source = GAN | {"combine": "discriminator"}
    more = {"synthesis": source, "settings": [setting], "privacy": {"generator_share": share}}
    assert parse(small_study | more, "small").deployment("local", setting).generator_share == expected


def test_no_deployment_under_a_budget_is_scored_between_rounds(small_study: dict[str, Any]) -> None:
    """What hospitals agree to there is the same with curves and without: so are their noise and their ledgers."""
    more = {"settings": ["real", "real-epsilon-6"], "evaluation": {"every": 2}}
    config = parse(small_study | more, "small")
    plain, private = (config.deployment("federated", setting) for setting in ("real", "real-epsilon-6"))
    assert (plain.scored_every, private.scored_every) == (2, 0)
    with pytest.raises(ValueError, match="scored_every: under a budget tested patients are scored in the end alone"):
        Deployment.model_validate(private.model_dump() | {"scored_every": 2})


def test_recipes_are_tried_without_a_budget_in_folds_that_were_approved(small_study: dict[str, Any]) -> None:
    """Each has a name of its own; how many folds there are is a part of what a hospital's people approve."""
    arms = {"federated": {}, "federated-b": {}, "averaged": {}, "local": {}}
    plain = parse(small_study | {"arms": arms}, "small").deployment("federated", "real")
    study = parse(small_study | {"arms": arms | {"chosen": {}}, "evaluation": {"inner_folds": 3}}, "small")
    outer, local, averaged, chosen = (
        study.deployment(arm, "real") for arm in ("federated", "local", "averaged", "chosen")
    )
    assert (plain.inner_folds, outer.inner_folds, local.inner_folds) == (0, 3, 0)
    assert averaged.recipes == ("federated", "federated-b")
    assert chosen.recipes == ("federated", "federated-b", "averaged")
    tried = outer.tried
    assert len({one.name for one in (outer, *tried)}) == len({one.digest for one in (outer, *tried)}) == 4
    assert {one.study for one in tried} == {outer.study} != {plain.study}
    assert plain.tried == local.tried == []
    for changes, line in (
        ({"inner_fold": 3}, "inner_fold: there is no fold 3 of 3"),
        ({"inner_folds": 0, "inner_fold": 0}, "inner_fold: there is no fold 0 of 0"),
        ({"arm_name": "local"}, "inner_folds: recipes are tried where all hospitals learn together"),
    ):
        with pytest.raises(ValueError, match=line):
            Deployment.model_validate(outer.model_dump() | changes)
    private = parse(small_study | {"settings": ["real-epsilon-6"]}, "small").deployment("federated", "real-epsilon-6")
    with pytest.raises(ValueError, match="inner_folds: under a budget no recipe is tried on patients"):
        Deployment.model_validate(private.model_dump() | {"inner_folds": 3})


def test_only_a_federation_combines_models(small_study: dict[str, Any]) -> None:
    small_study["federation"]["strategy"] = {"name": "FedProx", "proximal_mu": 0.1}
    config = parse(small_study, "small")
    named = {arm: config.deployment(arm, "real").strategy.name for arm in ("centralized", "local", "federated")}
    assert named == {"centralized": "FedAvg", "local": "FedAvg", "federated": "FedProx"}


def test_images_that_come_from_no_gan(small_study: dict[str, Any], new_study: Callable[[], dict[str, Any]]) -> None:
    more = {"synthesis": {"source": "phantom", "images": 4}, "settings": ["pretrained"]}
    with pytest.raises(ValueError, match="do not come from a GAN"):
        _ = parse(small_study | more, "small").deployment("local", "pretrained").gan
    gan = parse(new_study() | {"synthesis": GAN, "settings": ["pretrained"]}, "small")
    assert gan.deployment("local", "pretrained").gan.images == 8


def test_where_a_budget_is_who_adds_the_noise(small_study: dict[str, Any]) -> None:
    small_study["federation"]["local_steps"] = 1
    more = {"privacy": {"trust": "central"}, "settings": ["real", "real-epsilon-6"]}
    config = parse(small_study | more, "small")
    assert config.deployment("federated", "real-epsilon-6").trust == "central"
    assert config.deployment("federated", "real").trust == "local"


def test_who_learns_with_nobody_has_nobody_to_share_the_noise_with(small_study: dict[str, Any]) -> None:
    """A holder alone adds its own, also the one that is left of two; and what is audited is a hospital alone."""
    small_study["federation"]["local_steps"] = 1
    small_study["hospitals"]["assignment"] = {"by": "uniform", "count": 2}
    small_study |= {"arms": ["centralized", "local", "federated", "without_one"], "settings": ["real-epsilon-6"]}
    config = parse(small_study | {"privacy": {"trust": "secure"}}, "small")
    trusts = {arm: config.deployment(arm, "real-epsilon-6").trust for arm in config.arms}
    assert trusts == {"centralized": "local", "local": "local", "federated": "secure", "without_one": "local"}
    assert as_audited(config.deployment("federated", "real-epsilon-6"), 5.0).trust == "local"
    some = config.deployment("without_one", "real-epsilon-6").model_copy(update={"members": ("a", "c")})
    assert some.trust == "secure"
