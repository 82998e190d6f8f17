"""Profiles are found by name and by path, checked, and travel with the package."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

from fedmammo.config.sections import HospitalsConfig
from fedmammo.errors import InputError
from fedmammo.hospitals.profiles import (
    OPEN,
    Profile,
    digest_of_profiles,
    load_profile,
    load_profiles,
    profiles_of,
)

ROOT = Path(__file__).parents[2]
NAMES = [
    "cancer_centre",
    "community_hospital",
    "digital_centre",
    "mobile_unit",
    "private_practice",
    "rural_clinic",
    "screening_centre",
    "university_hospital",
]
FILMS = [name for name in NAMES if name != "digital_centre"]  # whose case mixes are those of CBIS-DDSM


def write(folder: Path, **content: object) -> str:
    path = folder / "profile.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", FILMS)
def test_a_profile_is_found_by_its_name_and_carries_it(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.prevalence is not None
    assert profile.density is not None


def test_the_folder_holds_these_profiles_and_they_differ() -> None:
    assert sorted(path.stem for path in (ROOT / "sites").glob("*.yaml")) == NAMES
    profiles = load_profiles(FILMS)
    assert len({(p.share, p.prevalence, p.density) for p in profiles}) == 7
    assert len({p.digitiser for p in profiles} - {None}) == 6
    assert load_profile("digital_centre").digitiser == "digital_detector"


@pytest.mark.parametrize("chosen", [["university_hospital", "screening_centre", "rural_clinic"], FILMS])
def test_case_mixes_add_up_to_the_masses_of_cbis_ddsm(chosen: list[str]) -> None:
    """578 training patients: 289 malignant; densities 104, 256, 161, 57, that is .180, .443, .279, .099."""
    profiles = load_profiles(chosen)
    weights = np.array([profile.share for profile in profiles])
    density = np.average([profile.density for profile in profiles], axis=0, weights=weights)
    assert np.abs(density - [0.180, 0.443, 0.279, 0.099]).max() < 0.005
    assert abs(np.average([profile.prevalence for profile in profiles], weights=weights) - 0.5) < 0.03


def test_a_profile_names_a_digitiser_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^profile a: digitiser 'xerox' is not known; expected one of dba_m2100, "):
        load_profile(write(tmp_path, name="a", digitiser="xerox"))


def test_a_profile_is_found_by_path(tmp_path: Path) -> None:
    assert load_profile(write(tmp_path, name="here", share=2)) == Profile(name="here", share=2)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError) as error:
        load_profile("rural")
    assert str(error.value).startswith(f"profile 'rural' is not known; expected one of {', '.join(NAMES)}")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"name": "a", "shares": 1}, "shares"),
        ({"share": 1}, "name"),
        ({"name": "all"}, "stands for all hospitals"),
        ({"name": "../a"}, "name"),
        ({"name": "a", "share": 0}, "share"),
        ({"name": "a", "prevalence": 1.2}, "prevalence"),
        ({"name": "a", "density": [0.5, 0.5, 0.5, 0]}, "sum to 1.5"),
        ({"name": "a", "density": [0.5, 0.5]}, "density"),
        ({"name": "a", "images_per_second": 0}, "images_per_second"),
        ({"name": "a", "masses": 1.5}, "masses"),
        ({"name": "a", "label_noise": -0.1}, "label_noise"),
        ({"name": "a", "privacy": {"central_trust": "perhaps"}}, "privacy.central_trust"),
        ({"name": "a", "privacy": {"budget": 1}}, "privacy.budget: unknown key"),
        ({"name": "a", "scores": "all"}, "scores"),
    ],
)
def test_bad_content_is_one_line_with_file_and_key(tmp_path: Path, content: dict[str, object], part: str) -> None:
    path = write(tmp_path, **content)
    with pytest.raises(InputError) as error:
        load_profile(path)
    assert path in str(error.value)
    assert part in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"name: [", b"", b"- a", b"\xff\xfe", b"name: 2020-99-99", b"[" * 5000])
def test_a_broken_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_profile(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere/a\.yaml: cannot be read"):
        load_profile("nowhere/a.yaml")


def test_two_hospitals_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="second hospital named rural_clinic"):
        load_profiles(["rural_clinic", "rural_clinic"])


def test_the_package_lists_every_folder_of_code_and_the_profiles() -> None:
    """`pip install .` takes exactly what pyproject.toml lists, so a room that is not listed would be missing."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "fedmammo").rglob("*.py")}
    rooms = {".".join(folder.parts) for folder in folders}
    assert rooms | {"fedmammo.sites"} <= set(settings["packages"])
    assert settings["package-dir"] == {"fedmammo.sites": "sites"}
    assert settings["package-data"]["fedmammo.sites"] == ["*.yaml", "digitisers/*.yaml"]


def test_yes_is_no_number(tmp_path: Path) -> None:
    """Pydantic would take YAML's yes for 1."""
    with pytest.raises(InputError, match=r"\.share: expected another kind of value than yes or no"):
        load_profile(write(tmp_path, name="a", share=True))


def test_who_is_described_must_say_that_it_takes_part_without_a_budget(tmp_path: Path) -> None:
    """Shipped profiles do; hospitals that nothing describes take part in everything."""
    limits = load_profile(write(tmp_path, name="a")).privacy
    assert (limits.without_budget, limits.central_trust) == ("refused", "refused")
    for profile in load_profiles(NAMES):
        assert (profile.privacy.without_budget, profile.scores) == ("accepted", "rows")
    config = HospitalsConfig.model_validate({"assignment": {"by": "uniform", "count": 2}})
    assert [(one.name, one.privacy) for one in profiles_of(config, ["x", "y"])] == [("x", OPEN), ("y", OPEN)]
    assert (OPEN.without_budget, OPEN.central_trust) == ("accepted", "accepted")


def test_the_digest_is_of_what_profiles_and_digitisers_say(tmp_path: Path) -> None:
    """Wherever their files lie; a digitiser counts by its content too."""

    def digest(folder: str, **content: object) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        path = write(tmp_path / folder, name="a", **content)
        config = HospitalsConfig.model_validate({"assignment": {"by": "profiles", "profiles": [path]}})
        return digest_of_profiles(config, ["a"])

    assert digest("one") == digest("two")
    assert len({digest("one"), digest("one", share=2), digest("one", digitiser="howtek_960")}) == 3
    device = tmp_path / "device.yaml"
    device.write_text((ROOT / "sites/digitisers/howtek_960.yaml").read_text())
    before = digest("one", digitiser=str(device))
    device.write_text((ROOT / "sites/digitisers/dba_m2100.yaml").read_text())
    assert digest("one", digitiser=str(device)) != before
