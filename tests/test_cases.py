"""What people who do this job met in a study, its weights or its statistics; cases of readers are in tests/cohort."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from fedmammo.cohort.store import Cohort, write_cohort
from fedmammo.commands.evaluate import rescore
from fedmammo.config.sections import DiagnosisConfig
from fedmammo.config.study import load, parse
from fedmammo.errors import InputError, StudyError
from fedmammo.hospitals.profiles import load_profile
from fedmammo.hospitals.site_file import read_site_file
from fedmammo.models.classifier import Classifier, build_classifier

Run = Callable[..., Path]


def diagnosis(network: str, **more: Any) -> DiagnosisConfig:
    content = {"network": network, "weights": "none", "image_size": 64, "optimizer": {"learning_rate": 0.1}}
    return DiagnosisConfig.model_validate(content | more)


# Wrong results without a word


@pytest.mark.parametrize("network", ["resnet18", "test_efficientnet", "test_convnext", "test_vit", "test_resnet"])
def test_frozen_network_with_batch_normalisation(network: str) -> None:
    """Features are those of timm's own network, whose buffers nobody has touched, also after images have passed."""
    torch.manual_seed(0)
    keys = {"img_size": 64} if network == "test_vit" else {}
    plain = timm.create_model(network, num_classes=0, **keys).eval()
    classifier = build_classifier(diagnosis(network))
    state = plain.state_dict()
    classifier.chain.network.load_state_dict(state)
    images = torch.rand(3, 1, 64, 64)
    with torch.no_grad():
        for _ in range(2):
            found = classifier.prefix(images)
        expected = plain.forward_head(plain.forward_features(classifier.normalize(images)), pre_logits=True)
    assert torch.allclose(found, expected, atol=1e-5)
    fresh = build_classifier(diagnosis(network)).chain.network
    again = build_classifier(diagnosis(network)).chain.network.state_dict()
    assert all(tensor.equal(again[name]) for name, tensor in fresh.state_dict().items())
    for name, buffer in fresh.named_buffers():
        if name.endswith("running_mean"):
            assert not buffer.any(), "as timm initialises it: no image has passed in training mode"


def test_networks_that_cannot_be_trained_with_batch_normalisation_say_why() -> None:
    with pytest.raises(InputError, match="resnet18 has batch normalisation, whose statistics would stay"):
        Classifier(diagnosis("resnet18", train="all"))


def test_hospital_that_tests_three_patients(phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path) -> None:
    """Four patients are tested here: there is neither an interval nor a p, and a note says why."""
    out = run_inline(parse(phantom_study, "test"), tmp_path / "run")
    results, differences = (pd.read_csv(out / f"{name}.csv") for name in ("results", "comparisons"))
    for table in (results, differences):
        unknown = [column for column in ("ci_low", "ci_high", "at_least", "p", "p_holm") if column in table]
        assert len(unknown) >= 2 and table[unknown].isna().all(axis=None)
        assert table["note"].str.contains("no interval: fewer than 10 patients of a class").any()


def test_evaluating_a_run_on_its_own_cohorts_training_split(
    phantom_study: dict[str, Any], phantom_cohort: Cohort, run_inline: Run, tmp_path: Path
) -> None:
    """Or on the same images, prepared anew under other names."""
    out = run_inline(parse(phantom_study | {"arms": ["federated"]}, "test"), tmp_path / "run")
    manifest = phantom_cohort.manifest
    renamed = manifest.assign(patient="x" + manifest["patient"], image="x" + manifest["image"], split="test")
    write_cohort(
        tmp_path / "renamed", renamed.assign(listed_in="x", listed_row=range(len(renamed))), [],
        lambda row: phantom_cohort.patches[row["listed_row"]], 128, lambda: {"notes": {}, "source": "x"},
    )  # fmt: skip
    places = ((phantom_cohort.folder, "train", "37 of the 37"), (tmp_path / "renamed", "test", "37 of the 46"))
    for folder, split, images in places:
        with pytest.raises(InputError, match=f"--split {split}: the run's models were trained on {images} images"):
            rescore(out, folder, split, lambda _: None)
    assert len(rescore(out, phantom_cohort.folder, "test", lambda _: None))


def test_a_section_twice_in_a_yaml_file(new_study: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    """Of a study, its base, a site file or a profile; on any depth. Both lines are named."""
    section = "federation:\n  rounds: 1\n  local_steps: 2\n"
    text = f"name: small\nabout: {{}}\n{section}arms: [local]\n{section}"
    (tmp_path / "twice.yaml").write_text(text)
    (tmp_path / "deep.yaml").write_text("federation:\n  rounds: 1\n  'rounds': 2\n")
    (tmp_path / "based.yaml").write_text("base: twice.yaml\n")
    for read in (load, read_site_file, lambda path: load_profile(str(path))):
        with pytest.raises(InputError, match=r"federation is there twice, in lines 3 and 7; leave one of them out"):
            read(tmp_path / "twice.yaml")  # type: ignore[operator]
    with pytest.raises(InputError, match=r"twice.yaml: not valid YAML: federation is there twice, in lines 3 and 7"):
        load(tmp_path / "based.yaml")
    with pytest.raises(InputError, match=r"rounds is there twice, in lines 2 and 3"):
        load(tmp_path / "deep.yaml")
    content = new_study() | {"name": "merged"}
    anchored = yaml.safe_dump({key: value for key, value in content.items() if key != "federation"})
    merged = "federation: {rounds: 2, <<: {rounds: 1, local_steps: 2}}\n"
    (tmp_path / "merged.yaml").write_text(merged + anchored)
    assert load(tmp_path / "merged.yaml").federation.rounds == 2, "a merge may be overridden"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("data/hospital #2", "data/hospital #2"),
        ("data #2/x", "data #2/x"),
        ("'data #2'", "data #2"),
        ('"data #2"', "data #2"),
        ("# 2", "# 2"),
        ("a#b", "a#b"),
    ],
)
def test_set_cohort_path_with_a_number_sign(
    new_study: Callable[[], dict[str, Any]], tmp_path: Path, given: str, found: str
) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(new_study()))
    assert load(tmp_path / "study.yaml", [f"cohort.path={given}"]).cohort.path == found
    assert load(tmp_path / "study.yaml", ["seeds=[1, 2]"]).seeds == [1, 2]


@pytest.mark.parametrize("number", ["010", "1:30", "0_7"])
def test_numbers_that_yaml_reads_otherwise_than_people(
    new_study: Callable[[], dict[str, Any]], tmp_path: Path, number: str
) -> None:
    """8, 90 and 7."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(new_study()))
    with pytest.raises(InputError, match=f"{number} is another number to YAML than to people"):
        load(tmp_path / "study.yaml", [f"federation.rounds={number}"])


def test_a_run_does_not_lie_in_a_cohort(phantom_study: dict[str, Any], own_cohort: Cohort, run_inline: Run) -> None:
    """Whoever shares or deletes one would take the other along."""
    phantom_study["cohort"]["path"] = str(own_cohort.folder)
    with pytest.raises(InputError, match=r"lies in the cohort .*, which holds identities; name another --out"):
        run_inline(parse(phantom_study, "test"), own_cohort.folder / "runs/first")
    assert not (own_cohort.folder / "runs").exists()


# Surroundings


def weights(path: Path, **changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Weights of a tiny ViT, changed; written to a file."""
    torch.manual_seed(1)
    state = timm.create_model("test_vit", num_classes=0, img_size=32).state_dict()
    state |= {name: tensor for name, tensor in changes.items() if tensor is not None}
    save_file(state, path)
    return state


def opened(path: Path) -> Classifier:
    return build_classifier(diagnosis("test_vit", weights=str(path), image_size=32))


def test_weights_with_a_nan(tmp_path: Path) -> None:
    broken = torch.full_like(weights(tmp_path / "whole")["blocks.1.norm1.bias"], torch.nan)
    weights(tmp_path / "w.safetensors", **{"blocks.1.norm1.bias": broken})
    with pytest.raises(InputError, match=r"w.safetensors has values in blocks.1.norm1.bias that are no numbers"):
        opened(tmp_path / "w.safetensors")


@pytest.mark.parametrize("prefix", ["module.", "backbone.", "model.encoder."])
def test_weights_whose_keys_have_a_prefix(tmp_path: Path, prefix: str) -> None:
    """The line says how to save them without: done so, they fit."""
    state = weights(tmp_path / "plain.safetensors")
    save_file({f"{prefix}{name}": tensor for name, tensor in state.items()}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=rf"names of its tensors begin with '{prefix}'; save them without") as caught:
        opened(tmp_path / "w.safetensors")
    assert f"k.removeprefix('{prefix}')" in str(caught.value)
    assert opened(tmp_path / "plain.safetensors").digest()


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.ckpt", "pytorch_model.bin"])
def test_weights_as_pickles(tmp_path: Path, name: str) -> None:
    """They are not read: reading one may run its code."""
    torch.save({}, tmp_path / name)
    with pytest.raises(InputError, match=rf"{name} is no safetensors file.*convert it: safetensors.torch.save_file"):
        opened(tmp_path / name)


def test_epsilon_above_a_hospitals_ceiling(phantom_study: dict[str, Any], run_inline: Run, tmp_path: Path) -> None:
    """Refused before anything is computed, and not by a promise that the same command continues."""
    profiles = []
    for name, most in (("A", 100), ("B", 5)):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"{{name: {name}, privacy: {{without_budget: accepted, maximum_epsilon: {most}}}}}")
        profiles.append(str(path))
    phantom_study["hospitals"] = {"assignment": {"by": "profiles", "profiles": profiles}}
    phantom_study["settings"] = ["real", "real-epsilon-6"]
    told: list[str] = []
    with pytest.raises(StudyError) as caught:
        run_inline(parse(phantom_study, "test"), tmp_path / "run", report=lambda event: told.append(event["stage"]))
    said = str(caught.value)
    assert "B failed: RefusalError: refused: epsilon 6.0 is not between 0 and the maximum_epsilon of 5" in said
    assert "same command" not in said and "ask for what its site file allows" in said
    assert set(told) == {"declare"} and not list((tmp_path / "run/deployments").rglob("*.safetensors"))
    assert not np.any([path.suffix == ".jsonl" for path in (tmp_path / "run").rglob("*")])
