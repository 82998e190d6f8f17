"""Masks: what leaves a hospital is uniform, and so is every sum but that of all members; shares of noise are enough."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from math import exp, pi
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2
from torch import Tensor

from fedmammo.errors import StudyError
from fedmammo.privacy.central import noised_mean
from fedmammo.privacy.masks import Masks, Party, added, public_key, unmasked_mean
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.noise import Grid, noised
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret

NAMES = ("a", "b", "c", "d", "e")
SECRETS = {name: Secret.of(Path(name), 1) for name in NAMES}
KEYS = {name: public_key(secret) for name, secret in SECRETS.items()}
MECHANISM = Mechanism("train", 1.0, 2.0, 1.0, 3, 1)
ASKED = {"deployment": "0" * 64, "incoming": "1" * 64}
MANY = 4096  # numbers: 32768 bytes
Sums = dict[str, Tensor]


def plan_of(names: Iterable[str], dropouts: int = 0, colluding: int = 0) -> Plan:
    mechanism = replace(MECHANISM, spare=dropouts)
    return Plan("study", "secure", 6.0, 1e-4, (mechanism,), dict.fromkeys(names, 10), dropouts, colluding)


def masks_of(name: str, members: Iterable[str], plan: Plan | None = None, **changes: Any) -> Masks:
    """A hospital's masks in the first attempt of round 1; `changes`: of what is asked, or of the hospital."""
    members = tuple(members)
    party = Party(name, KEYS, changes.pop("attempt", 1), members)
    about = {"stage": "train", "number": 1, "asked": ASKED, "secret": SECRETS[name]} | changes
    return party.masks(plan or plan_of(members), **about)


def stream(name: str, purpose: str = "noise") -> Any:
    return SECRETS[name].stream("request", purpose, 0)


def hidden(name: str, sums: list[Tensor], members: Iterable[str], **changes: Any) -> list[Tensor]:
    grid = Grid.of(1.0, 2.0, sum(one.numel() for one in sums))
    return masks_of(name, members, **changes).hide(sums, grid, stream(name))


def nothing(count: int = MANY) -> list[Tensor]:
    return [torch.zeros(count, dtype=torch.int64)]


def looks_uniform(numbers: Tensor) -> bool:
    """By chi-square on bytes, and by each of 64 bits: both pass uniform numbers but for one time in ten thousand."""
    data = np.frombuffer(numbers.numpy().tobytes(), dtype=np.uint8)
    counts = np.bincount(data, minlength=256)
    expected = len(data) / 256
    bits = np.unpackbits(data).reshape(len(numbers), 64).mean(axis=0)
    low, high = chi2.ppf([5e-5, 1 - 5e-5], 255)
    return bool(low < ((counts - expected) ** 2 / expected).sum() < high and abs(bits - 0.5).max() < 5 * 0.5 / 64)


@given(
    count=st.integers(2, 5),
    left=st.integers(0, 3),
    shapes=st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_total_is_the_sum_of_noised_vectors_exactly(
    count: int, left: int, shapes: list[list[int]], seed: int
) -> None:
    """Whoever takes part, in whatever order, and whatever the shapes; one number alone too."""
    names = NAMES[:count]
    dropouts = min(left, count - 2)
    plan, members = plan_of(names, dropouts), names[dropouts:]
    grid = Grid.of(1.0, 2.0, sum(int(np.prod(shape)) for shape in shapes))
    own, generator = grid.shared(plan.shares), np.random.default_rng(seed)
    sent, expected = [], []
    for name in generator.permutation(members):
        sums = [torch.from_numpy(np.array(generator.integers(-grid.sensitivity, grid.sensitivity, shape)))
                for shape in shapes]  # fmt: skip
        masks = masks_of(name, generator.permutation(members).tolist(), plan)
        sent.append({str(at): one for at, one in enumerate(masks.hide(sums, grid, stream(name)))})
        expected.append({str(at): one for at, one in enumerate(noised(sums, own, stream(name)))})
    total, clean = added(sent), added(expected)
    for at, shape in enumerate(shapes):
        assert total[str(at)].shape == tuple(shape) and total[str(at)].dtype == torch.int64
        plain = sum(one[str(at)] for one in expected)
        assert torch.equal(total[str(at)], clean[str(at)]) and torch.equal(total[str(at)], plain)  # type: ignore[arg-type]


def test_what_leaves_and_every_sum_but_that_of_all_is_uniform() -> None:
    """Of four hospitals, without anything to hide: fourteen sums; the total is noise of hardly more than a thousand."""
    members = NAMES[:4]
    sent = {name: hidden(name, nothing(), members)[0] for name in members}
    for some in (some for count in (1, 2, 3) for some in combinations(members, count)):
        total = added([{"sum": sent[name]} for name in some])["sum"]
        assert looks_uniform(total), some
    total = added([{"sum": one} for one in sent.values()])["sum"]
    assert not looks_uniform(total)
    deviation = Grid.of(1.0, 2.0, MANY).deviation
    assert abs(total).max() < 6 * deviation and total.any()


def test_who_colludes_with_the_server_takes_off_its_own_masks_alone() -> None:
    """What is left of an honest hospital's vector, without the masks that it shares with two of three others."""
    sent = hidden("a", nothing(), NAMES[:4])[0]
    known = masks_of("a", NAMES[:4]).keys[:2]
    left = replace(masks_of("a", NAMES[:4]), keys=tuple((key, not adds) for key, adds in known))
    undone = left.hide([sent], Grid.of(1.0, 2.0, MANY), stream("a", "other"))[0]
    assert looks_uniform(undone)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"attempt": 2},
        {"stage": "embedding"},
        {"asked": ASKED | {"incoming": "2" * 64}},
        {"asked": ASKED | {"pool": "2" * 64}},
        {"members": NAMES[:4]},
        {"plan": replace(plan_of(NAMES, 2), study="other")},
        {"secret": Secret.of(Path("a"), 2)},
    ],
    ids=str,
)
def test_another_request_has_other_masks(change: dict[str, Any]) -> None:
    """So that what two vectors differ by is uniform too: nobody learns how two sums differ, whoever colludes. Not one
    pair of hospitals has a mask again.
    """
    one = {"members": NAMES, "plan": plan_of(NAMES, 2)}
    first, second = (hidden("a", nothing(), **(one | some))[0] for some in ({}, change))  # type: ignore[arg-type]
    assert looks_uniform(first) and looks_uniform(second)
    keys = [{key for key, _ in masks_of("a", **(one | some)).keys} for some in ({}, change)]  # type: ignore[arg-type]
    assert keys[0].isdisjoint(keys[1]) and len(keys[0]) == 4
    assert looks_uniform(added([{"sum": first}, {"sum": -second}])["sum"])
    assert torch.equal(first, hidden("a", nothing(), **one)[0])  # type: ignore[arg-type]


def test_members_who_were_asked_for_different_sums_have_a_total_that_nobody_can_read() -> None:
    """A server that names other members, or another model, to one of three."""
    members = NAMES[:3]
    plan = plan_of(NAMES[:4], 1)
    for change in ({"members": NAMES[:4]}, {"asked": ASKED | {"incoming": "2" * 64}}, {"number": 2}):
        sent = [{"sum": hidden(name, nothing(), members, plan=plan)[0]} for name in members[1:]]
        odd = {"members": members, "plan": plan} | change
        sent.append({"sum": hidden("a", nothing(), **odd)[0]})  # type: ignore[arg-type]
        assert looks_uniform(added(sent)["sum"])
        with pytest.raises(StudyError, match=r"^the hospitals' masks do not cancel; compare the keys"):
            unmasked_mean(sent, MECHANISM, 30, 30.0)


def test_keys_follow_the_secret_and_tell_nothing_of_it() -> None:
    assert len(set(KEYS.values())) == len(NAMES) and all(len(key) == 64 for key in KEYS.values())
    assert public_key(SECRETS["a"]) == KEYS["a"] != public_key(Secret.of(Path("a"), 2))
    assert SECRETS["a"].key("masks") != SECRETS["a"].key("others")
    shown = repr(masks_of("a", NAMES))
    assert not any(repr(key) in shown for key, _ in masks_of("a", NAMES).keys)


@pytest.mark.parametrize(
    ("party", "expected"),
    [
        ({"members": ("a", "b", "b", "c", "d")}, "a hospital is named twice among those who are added up"),
        ({"members": ("b", "c", "d", "e")}, "it is not among the hospitals that are added up"),
        ({"members": ("a", "b", "c")}, "3 hospitals would be added up, 4 are the fewest"),
        ({"members": ()}, "it is not among the hospitals that are added up"),
        ({"members": ("a", "b", "c", "x")}, "x has no part in the plan that was agreed to"),
        ({"peers": {"b": KEYS["b"], "d": KEYS["d"]}}, "the site file has no key of c e under peers"),
        ({"attempt": 0}, "attempt 0 was asked for, 2 were agreed to"),
        ({"attempt": 3}, "attempt 3 was asked for, 2 were agreed to"),
    ],
    ids=str,
)
def test_members_other_than_agreed_to_are_refused(party: dict[str, Any], expected: str) -> None:
    one = Party("a", KEYS, 1, NAMES)
    assert one.masks(plan_of(NAMES, 1), "train", 1, ASKED, SECRETS["a"]).patients == 50
    with pytest.raises(RefusalError) as refused:
        replace(one, **party).masks(plan_of(NAMES, 1), "train", 1, ASKED, SECRETS["a"])
    assert str(refused.value) == f"refused: {expected}"


def test_a_sum_that_would_not_fit_is_refused() -> None:
    """Of so many patients as somebody declares; it would be read wrong."""
    plan = replace(plan_of(NAMES), patients=dict.fromkeys(NAMES, 2**50))
    with pytest.raises(RefusalError, match=r"^refused: the sum of so many patients would not fit 64 bits$"):
        hidden("a", nothing(), NAMES, plan=plan)


# Shares of noise


@given(deviation=st.integers(1, 10**8), shares=st.integers(1, 500))
def test_shares_together_are_what_is_planned_and_no_share_is_larger_than_it_must(deviation: int, shares: int) -> None:
    grid = Grid(1.0, 1000, deviation)
    try:
        own = grid.shared(shares).deviation
    except ValueError as error:
        assert "is below 10" in str(error) and (deviation**2 <= 81 * shares)
        return
    assert shares * own**2 >= deviation**2 > shares * (own - 1) ** 2 and own >= 10


def test_a_share_of_few_steps_is_refused_before_anything_is_drawn() -> None:
    masks = masks_of("a", NAMES)
    with pytest.raises(RefusalError, match=r"^refused: a share of the noise of 9 steps is below 10"):
        masks.hide(nothing(4), Grid(1.0, 1000, 20), None)  # type: ignore[arg-type]


def pmf(deviation: float, reach: int) -> NDArray[np.float64]:
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    return weights / weights.sum()


@pytest.mark.parametrize("deviation", [0.6, 0.8, 1.0, 1.3])
def test_a_sum_of_discrete_gaussians_is_as_near_to_one_as_the_paper_says(deviation: float) -> None:
    """By exact convolution, of two to five, out to eight deviations: logarithms of probabilities differ by
    10 sum_k<n exp(-2 pi^2 s^2 k / (k + 1)) at most (Kairouz, Liu and Steinke 2021, theorem 1). At ten steps that is
    nothing in the largest vector.
    """
    reach = 60
    total = one = pmf(deviation, reach)
    for count in range(2, 6):
        total = np.convolve(total, one)
        whole = pmf(deviation * count**0.5, len(total) // 2)
        far = int(8 * deviation * count**0.5)
        middle = slice(len(total) // 2 - far, len(total) // 2 + far + 1)
        apart = abs(np.log(total[middle] / whole[middle])).max()
        bound = 10 * sum(exp(-2 * pi**2 * deviation**2 * k / (k + 1)) for k in range(1, count))
        assert apart <= bound and (deviation > 1 or apart > bound / 1e4)
    assert 2**30 * 10 * 499 * exp(-((pi * 10) ** 2)) < 1e-300


def test_noise_is_that_of_a_trusted_server_where_nobody_drops_out_or_colludes() -> None:
    """Of five hospitals' total and of the server's, as a mean over 50 patients: chi-square; more by shares else."""
    sent = [{"sum": hidden(name, nothing(), NAMES)[0]} for name in NAMES]
    secure = unmasked_mean(sent, MECHANISM, 50, 50.0)["sum"]
    central = noised_mean([{"sum": nothing()[0]}], MECHANISM, 50.0, {}, SECRETS["a"])["sum"]
    grid = Grid.of(1.0, 2.0, MANY)
    low, high = chi2.ppf([5e-5, 1 - 5e-5], MANY)
    for mean in (secure, central):
        assert low < ((mean * 50 / (grid.step * grid.deviation)) ** 2).sum() < high
    plan = plan_of(NAMES, 1, 1)
    more = [{"sum": hidden(name, nothing(), NAMES, plan=plan)[0]} for name in NAMES]
    noise = unmasked_mean(more, MECHANISM, 50, 50.0)["sum"] * 50 / (grid.step * grid.deviation)
    assert low < (noise**2).sum() * 3 / 5 < high


def test_the_mean_of_all_members_by_hand() -> None:
    """(3 + 4) steps over 7 patients, and noise below six deviations; another order is the same."""
    grid = Grid.of(1.0, 2.0, 1)
    sent: Mapping[str, Sums] = {
        name: {"sum": hidden(name, [torch.tensor([value])], ("a", "b"))[0]} for name, value in (("a", 3), ("b", 4))
    }
    found = unmasked_mean(list(sent.values()), MECHANISM, 20, 7.0)["sum"]
    own = grid.shared(2)
    noise = sum(int(noised([torch.tensor([0])], own, stream(name))[0]) for name in ("a", "b"))
    assert found.dtype == torch.float64 and float(found) == (7 + noise) * grid.step / 7
    assert torch.equal(found, unmasked_mean(list(reversed(sent.values())), MECHANISM, 20, 7.0)["sum"])
