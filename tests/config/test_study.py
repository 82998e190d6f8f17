"""A study is checked before anything runs: what is wrong is one line that names the key."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fedmammo.config.about import About
from fedmammo.config.arm import ARMS
from fedmammo.config.reading import set_key
from fedmammo.config.study import StudyConfig, dump, parse
from fedmammo.errors import InputError
from fedmammo.personal.fine_tuning import FineTuning

UNKNOWN_KEYS = [
    "nonsense",
    "cohort.nonsense",
    "hospitals.nonsense",
    "hospitals.assignment.alpha",  # belongs to another rule
    "diagnosis.nonsense",
    "diagnosis.optimizer.lr",
    "diagnosis.augmentation.rotations",
    "federation.nonsense",
    "federation.strategy.proximal_mu",  # belongs to another strategy
    "engine.nonsense",
    "evaluation.nonsense",
    "synthesis.path",  # belongs to another source
]
MISSING_KEYS = [
    "name",
    "cohort.path",
    "hospitals",
    "hospitals.assignment",
    "hospitals.assignment.by",
    "hospitals.assignment.count",
    "diagnosis",
    "diagnosis.network",
    "diagnosis.image_size",
    "diagnosis.optimizer",
    "diagnosis.optimizer.learning_rate",
    "federation",
    "federation.rounds",
    "federation.local_steps",
]
WRONG_VALUES = {
    "name": ["", "a b", "a/b", 7, None],
    "cohort": [None, "folder", ["folder"]],
    "cohort.path": [None, 7, ["folder"]],
    "cohort.fraction": [0, 1.1, "half", [], ["half"]],
    "hospitals.assignment": [None, "uniform", {"by": "nonsense"}, {"by": "profiles", "profiles": []}],
    "hospitals.assignment.count": [0, -1, 2.5, "many", None, True],
    "hospitals.seed": [-1, "first", [], [1, 1], 0.5],
    "hospitals.schedule": [None, {}, [{}], [{"hospital": "hospital-1", "joins": 0}], [{"hospital": "hospital-1"}]],
    "hospitals.validation_fraction": [-0.1, 1, "all", float("nan")],
    "diagnosis.network": [None, 7],
    "diagnosis.image_size": [0, 15, 32.5],
    "diagnosis.features": ["all", 7, [], [0], [2, 1], [1, 1], [1, "two"], [1.5], [True], None],
    "diagnosis.directions": [0, 2000, "all"],
    "diagnosis.whitening": [-0.1, 0.6, "all"],
    "diagnosis.loss": ["hinge", 1],
    "diagnosis.train": ["nothing", "last_blocks", "last_blocks:0", "last_blocks:-1", "head ", "Head", 3],
    "diagnosis.precision": ["float16", 32],
    "diagnosis.head": ["none", 1],
    "evaluation.pooling": ["mean", 1],
    "diagnosis.stand_ins": ["real", 1],
    "diagnosis.harmonisation": ["zscore", 1],
    "diagnosis.augmentation": [None, "flips"],
    "diagnosis.augmentation.flips": ["vertical", True, False],
    "diagnosis.augmentation.crops": [-1, 6],
    "diagnosis.augmentation.views_per_step": [0],
    "diagnosis.optimizer.name": ["adam", "AdamW"],
    "diagnosis.optimizer.learning_rate": [0, -1, "fast", float("inf"), float("nan"), True],
    "diagnosis.optimizer.head_learning_rate": [0, -1, "fast"],
    "diagnosis.optimizer.weight_decay": [-0.1],
    "diagnosis.optimizer.momentum": [-0.1, 1],
    "diagnosis.patient_fraction": [0, 1.01],
    "diagnosis.label_smoothing": [-0.1, 1],
    "federation.rounds": [0, "two", 1.5, None, True, [1]],
    "federation.local_steps": [0],
    "federation.strategy": ["FedAvg", {"name": "FedSGD"}, {}, None, [], [7]],
    "federation.min_hospitals": [0],
    "federation.personal": [
        None,
        "Ditto",
        {},
        {"name": "APFL"},
        {"name": "Ditto", "penalty": -1},
        {"name": "FineTuning", "steps": 0},
        {"name": "FineTuning", "learning_rate": 0},
        {"name": "FineTuning", "tensors": "body"},
    ],
    "engine.name": ["spark"],
    "engine.device": ["gpu", "mps"],
    "engine.threads_per_hospital": [0],
    "engine.gpus_per_hospital": [-0.5],
    "engine.timeout": [0],
    "engine.checkpoint_seconds": [-1, "often", None],
    "engine.spread": ["patients", None, 1],
    "engine.features": [7],
    "faults": [None, {"hospital": "a"}, [{"hospital": "a"}], [{"hospital": "a", "kind": "sleeps"}]],
    "engine.track": [None, "mlflow"],
    "engine.track.tensorboard": ["gs://bucket", "", 7],
    "engine.track.mlflow": ["https://tracking", "sqlite://", 7],
    "engine.track.wandb": ["https://api.wandb.ai", " ", 7],
    "evaluation.test": [None, 7],
    "evaluation.folds": [-1, 1, "five"],
    "evaluation.inner_folds": [0, 1, 2.5],
    "evaluation.folds_over": [[], "train", ["trian"]],
    "evaluation.every": [-1, 1.5, "round"],
    "evaluation.unit": ["lesions", None],
    "evaluation.thresholds": [[], [0.0], [1], 0.5],
    "evaluation.prevalence": [0, 1, "rare"],
    "evaluation.subgroups": ["view", None],
    "evaluation.primary.arm": ["all", None],
    "evaluation.primary.against": ["reader"],
    "evaluation.primary.setting": [None, 6],
    "evaluation.primary.margin": [0, 1, "small"],
    "evaluation.primary.metric": ["accuracy", None],
    "arms": [[], {}, None, 7, "federated", [["federated"]], ["hybrid"], {"hybrid": {}}, {"local": None}],
    "synthesis": ["phantom", {}, {"source": "dream"}, {"source": "phantom", "images": 3}, ["phantom"]],
    "federation.averaged_rounds": [0, 1.5, "all"],
    "privacy.delta": [0, 0.1, "small"],
    "privacy.trust": ["everybody", None],
    "privacy.dropouts": [-1, 0.5, "some"],
    "privacy.colluding": [-1, 0.5, "some"],
    "privacy.clipping_norm": [0, -1, "one"],
    "privacy.generator_share": [-0.1, 1],
    "privacy.generator_clipping_norm": [0, "one"],
    "privacy.generator_fraction": [0, 1.1],
    "privacy.secret_seed": ["secret", 0.5],
    "settings": [[], "real", ["imagined"], ["real-epsilon-"], ["real-epsilon-0"], {"real": {"seeds": [1]}}],
    "seeds": [[], "x", "3..1", "0..5000", [-1], [1, 1], ["first"], [True]],
    "about.items": [None, "all", ["tripod_ai-1"], {"1a": "x"}, {"claim_2024-1": 7}],
    **{f"about.{name}": [7] for name in About.model_fields if name != "items"},
}


def changed(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(content)
    set_key(content, key, value)
    return content


def fault(content: Any) -> str:
    """The one line that a bad study gives."""
    with pytest.raises(InputError) as caught:
        parse(content, "study.yaml")
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize("key", UNKNOWN_KEYS)
def test_an_unknown_key_is_named(small_study: dict[str, Any], key: str) -> None:
    content = changed(small_study, "federation.strategy", {"name": "FedAvg"})
    content["synthesis"] = {"source": "phantom"}
    assert fault(changed(content, key, 1)) == f"study.yaml: {key}: unknown key"


@pytest.mark.parametrize("key", MISSING_KEYS)
def test_a_missing_key_is_named(small_study: dict[str, Any], key: str) -> None:
    *parents, last = key.split(".")
    section = small_study
    for parent in parents:
        section = section[parent]
    del section[last]
    named = key.removesuffix(".by")  # of a rule without `by`: the rule is named, the message says `by`
    line = fault(small_study)
    assert line.startswith(f"study.yaml: {named}: ")
    assert "is missing" in line or "'by'" in line


@pytest.mark.parametrize(
    ("key", "value"),
    [pytest.param(key, value, id=f"{key}={value}") for key in WRONG_VALUES for value in WRONG_VALUES[key]],
)
def test_a_wrong_value_is_named(small_study: dict[str, Any], key: str, value: Any) -> None:
    line = fault(changed(small_study, key, value)).removeprefix("study.yaml: ")
    assert line.startswith(key)
    if not isinstance(value, dict | list | bool):
        assert repr(value) in line


def test_every_key_has_its_wrong_values(small_study: dict[str, Any]) -> None:
    """So that a new key comes with its own: sections without one are tested by their parts."""

    def keys(content: dict[str, Any], prefix: str) -> Iterator[str]:
        for key, value in content.items():
            if isinstance(value, dict) and key not in ("arms", "settings"):
                yield from keys(value, f"{prefix}{key}.")
            else:
                yield prefix + key

    free = {"diagnosis.weights", "engine.address", "hospitals.assignment.by", "federation.strategy.name"}
    free |= {"engine.link"}  # of real hospitals: tests/config/test_at_sites.py
    free |= {f"federation.personal.{key}" for key in FineTuning.model_fields}
    everything = set(keys(parse(small_study, "").model_dump(mode="json"), ""))
    assert everything - free <= WRONG_VALUES.keys()


@pytest.mark.parametrize("alpha", [0, -1, 1e6 + 1])
def test_dirichlet_has_a_concentration_that_can_be_drawn_from(small_study: dict[str, Any], alpha: float) -> None:
    small_study["hospitals"]["assignment"] = {"by": "dirichlet", "count": 3, "alpha": alpha}
    assert fault(small_study).startswith("study.yaml: hospitals.assignment.alpha: ")


@pytest.mark.parametrize(
    ("key", "value", "train", "other", "said"),
    [
        ("loss", "contrast", "all", "head", "loss: contrast is of a head alone"),
        ("optimizer.head_learning_rate", 0.1, "head", "all", "optimizer.head_learning_rate: with train: head"),
    ],
)
def test_what_goes_with_some_trained_layers_alone(
    small_study: dict[str, Any], key: str, value: Any, train: str, other: str, said: str
) -> None:
    content = changed(small_study, f"diagnosis.{key}", value)
    assert fault(changed(content, "diagnosis.train", train)).startswith(f"study.yaml: diagnosis: {said}")
    parse(changed(content, "diagnosis.train", other), "study.yaml")


def test_an_unknown_arm_is_named(small_study: dict[str, Any]) -> None:
    expected = "nobody knows an arm 'hybrid'; there are centralized, local, federated, without_one, personalized"
    for arms in (["local", "hybrid"], {"hybrid": {}}, {"local-": {}}, {"federated-a/b": {}}):
        name = list(arms)[-1]
        assert expected.replace("hybrid", name) in fault(small_study | {"arms": arms})


def test_several_faults_are_counted(small_study: dict[str, Any]) -> None:
    content = changed(changed(small_study, "federation.rounds", 0), "seeds", [])
    assert fault(content).endswith(" (and 1 more)")


def test_a_key_that_is_no_text_or_holds_line_breaks(small_study: dict[str, Any]) -> None:
    assert "study.yaml: cohort.1: " in fault(changed(small_study, "cohort", {"path": "x", 1: 2}))
    assert fault(small_study | {"a\nb\x85c": 1}) == "study.yaml: a b c: unknown key"


@pytest.mark.parametrize("content", [None, 3, "study", [], [{"name": "small"}]])
def test_a_study_is_a_mapping(content: Any) -> None:
    assert fault(content) == f"study.yaml: expected a YAML mapping of keys, found {type(content).__name__}"


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
things = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(leaves, inner, max_size=3))


@given(key=st.sampled_from([*MISSING_KEYS, *WRONG_VALUES, *UNKNOWN_KEYS]), value=things)
def test_whatever_is_written_is_a_study_or_one_line(
    new_study: Callable[[], dict[str, Any]], key: str, value: Any
) -> None:
    content = new_study()
    set_key(content, key, value)
    try:
        study = parse(content, "study.yaml")
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert parse(yaml.safe_load(dump(study)), "again") == study


# Arms


def test_arms_are_a_list_or_a_mapping(small_study: dict[str, Any]) -> None:
    assert list(parse(small_study, "").arms) == list(ARMS)
    assert parse(small_study | {"arms": ["local"]}, "").arms == {"local": {}}
    assert list(parse(small_study | {"arms": {"federated": {}, "local": {}}}, "").arms) == ["federated", "local"]


def test_an_arm_overrides_what_it_names_and_nothing_else(small_study: dict[str, Any]) -> None:
    override = {
        "diagnosis.optimizer.learning_rate": 0.5,
        "federation.strategy": {"name": "FedProx", "proximal_mu": 0.1},
        "federation.rounds": 7,
    }
    study = parse(small_study | {"arms": {"federated": override, "local": {}}}, "")
    arm = study.for_arm("federated")
    assert study.for_arm("local") == study
    assert arm.diagnosis.optimizer.learning_rate == 0.5
    assert arm.federation.strategy.model_dump() == {"name": "FedProx", "proximal_mu": 0.1}
    assert arm.federation.rounds == 7
    assert arm.for_arm("federated") == arm, "asked again it is the same"
    expected = study.model_dump()
    expected["diagnosis"]["optimizer"]["learning_rate"] = 0.5
    expected["federation"] |= {"strategy": override["federation.strategy"], "rounds": 7}
    assert arm.model_dump() == expected | {"arms": {"federated": {}}}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"engine.name": "ray"}, "engine.name cannot differ between arms"),
        ({"seeds": [1]}, "seeds cannot differ between arms"),
        ({"hospitals.seed": 1}, "hospitals.seed cannot differ between arms"),
        ({"diagnosis.optimizer.lr": 1}, "diagnosis.optimizer.lr: unknown key"),
        ({"federation.rounds": 0}, "federation.rounds: Input should be greater than or equal to 1"),
        ({"diagnosis": {"network": "test_vit"}}, "diagnosis.image_size: is missing"),
        (
            {"federation.strategy.name": "FedSGD"},
            "federation.strategy: expected one of FedAvg, FedAvgSquared, FedProx, ",
        ),
    ],
)
def test_a_wrong_override_names_arm_and_key(
    small_study: dict[str, Any], override: dict[str, Any], expected: str
) -> None:
    line = fault(small_study | {"arms": {"centralized": {}, "local": override}})
    assert line.startswith(f"study.yaml: arms.local: {expected}")


# What is written of a study


def test_a_dumped_study_parses_to_the_same(small_study: dict[str, Any]) -> None:
    small_study |= {
        "arms": {"federated": {"diagnosis.optimizer.learning_rate": 1e-5}, "local": {}},
        "seeds": [3, 1],
    }
    small_study["federation"]["strategy"] = {"name": "FedTrimmedAvg", "beta": 0.1}
    small_study["hospitals"]["assignment"] = {"by": "profiles", "profiles": ["größte"]}
    study = parse(small_study, "")
    text = dump(study)
    assert "größte" in text
    assert parse(yaml.safe_load(text), "") == study
    assert list(parse(yaml.safe_load(text), "").arms) == ["federated", "local"]
    assert dump(parse(yaml.safe_load(text), "")) == text


def test_what_determines_results(small_study: dict[str, Any]) -> None:
    """Where hospitals compute and what people tell do not; the device, its threads and everything else do."""
    study = parse(small_study, "")
    free = {"name": "ray", "address": "127.0.0.1:6379", "timeout": 5, "gpus_per_hospital": 0.5, "track.wandb": "runs"}
    for key, value in free.items():
        assert parse(changed(small_study, f"engine.{key}", value), "").without_engine() == study.without_engine()
    told = changed(changed(small_study, "about.title", "A study"), "about.items.tripod_ai-3a", "told")
    assert parse(told, "").about.items == {"tripod_ai-3a": "told"}
    assert parse(told, "").without_engine() == study.without_engine()
    assert [one.digest for one in parse(told, "").deployments] == [one.digest for one in study.deployments]
    for key, value in {"engine.device": "cuda", "engine.threads_per_hospital": 2, "federation.rounds": 3}.items():
        assert parse(changed(small_study, key, value), "").without_engine() != study.without_engine()


def test_a_study_does_not_change(small_study: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(small_study, "").federation.rounds = 3  # type: ignore[misc]


def test_every_key_of_the_schema_is_described() -> None:
    schema = StudyConfig.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    undescribed = [
        f"{section['title']}.{name}"
        for section in sections
        for name, field in section["properties"].items()
        if not field.keys() & {"description", "$ref", "const"}  # a section says it itself; a constant is a rule's name
    ]
    assert not undescribed
    assert all(section["description"] for section in sections)
    assert all(section["additionalProperties"] is False for section in sections)


@pytest.mark.parametrize(
    ("privacy", "more", "expected"),
    [
        ({"dropouts": 1}, {}, "privacy: dropouts and colluding belong to trust: secure, not to local"),
        ({"trust": "central", "colluding": 1}, {}, "privacy: dropouts and colluding belong to trust: secure"),
        (
            {"trust": "secure"},
            {"federation": {"rounds": 2, "local_steps": 2}},
            "privacy.trust: secure takes federation.local_steps: 1 and the strategy FedAvg",
        ),
        (
            {"trust": "secure"},
            {"federation": {"rounds": 2, "local_steps": 1, "strategy": {"name": "FedMedian"}}},
            "privacy.trust: secure takes federation.local_steps: 1 and the strategy FedAvg",
        ),
        (
            {"trust": "secure", "generator_share": 0.5},
            {
                "settings": ["pretrained-epsilon-6"],
                "federation": {"rounds": 2, "local_steps": 1},
                "synthesis": {"source": "gan", "combine": "discriminator"},
            },
            "privacy.trust: secure protects generators by method: mean_embedding alone; take that, or trust: local",
        ),
    ],
)
def test_what_sharing_the_noise_does_not_go_with(
    small_study: dict[str, Any], privacy: dict[str, Any], more: dict[str, Any], expected: str
) -> None:
    content = small_study | {"settings": ["real-epsilon-6"], "privacy": privacy} | more
    assert expected in fault(content)
