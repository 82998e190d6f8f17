"""Arms: who learns with whom, by name."""

import pytest

from fedmammo.config.arm import ALL, ARMS, KINDS, Arm, ArmName, Group

HOSPITALS = ["B", "A", "C"]
EXPECTED: dict[ArmName, list[Group]] = {
    "centralized": [Group(ALL, (ALL,))],
    "local": [Group("B", ("B",)), Group("A", ("A",)), Group("C", ("C",))],
    "federated": [Group(ALL, ("B", "A", "C"))],
}


@pytest.mark.parametrize("name", ARMS)
def test_who_learns_with_whom(name: ArmName) -> None:
    """In the hospitals' own order, which may be that of no alphabet."""
    assert Arm.of(name).groups(HOSPITALS) == EXPECTED[name]


def test_one_arm_pools_patients_and_another_combines_models() -> None:
    assert {name: (Arm.of(name).pooled, Arm.of(name).federated) for name in ARMS} == {
        "centralized": (True, False),
        "local": (False, False),
        "federated": (False, True),
    }


def test_in_which_arms_hospitals_join() -> None:
    alone_or_in_part = {"centralized", "local", "without_one", "coalitions"}
    assert {kind for kind in KINDS if Arm.of(kind).joins} == set(KINDS) - alone_or_in_part


def test_one_hospital_is_a_group_of_one_in_every_arm() -> None:
    assert Arm.of("local").groups(["A"]) == [Group("A", ("A",))]
    assert Arm.of("federated").groups(["A"]) == [Group(ALL, ("A",))]
