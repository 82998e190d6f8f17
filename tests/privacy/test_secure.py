"""Trap 28: a server that unmasks. What it may ask of hospitals whose sums masks hide, through the client app.

Three hospitals, of whom one may drop out: five, six and six patients train.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from fedmammo.errors import StudyError
from fedmammo.privacy.accounting import epsilon
from fedmammo.privacy.masks import added, public_key, unmasked_mean
from fedmammo.privacy.noise import Grid, noised
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.stage import Job

Deploy = Callable[..., Any]
SECURE = {
    "privacy": {"trust": "secure", "dropouts": 1},
    "federation": {"rounds": 3, "local_steps": 1},
    "diagnosis": {"augmentation": {"flips": "none"}, "optimizer": {"momentum": 0.0}},
}
ALL = ("hospital-1", "hospital-2", "hospital-3")
Sums = dict[str, Tensor]


def agreed(deploy: Deploy, *args: Any, **changes: Any) -> Any:
    one = deploy(*args, **(SECURE | changes))
    for node in range(3):
        one.agree(node)
    return one


def ask(one: Any, node: int, number: int = 1, members: tuple[str, ...] = ALL, attempt: int = 1, **more: Any) -> Sums:
    sent, _ = one.train(node, number, attempt=attempt, members=members, **more)
    return dict(sent)


def unmasks(one: Any, *sums: Sums) -> bool:
    """Whether a server can read the total of what hospitals sent."""
    try:
        unmasked_mean(sums, one.plan.mechanism("train"), 17, 17.0)
    except StudyError:
        return False
    return True


def own_noise(one: Any, node: int, like: Sums, line: int = -1) -> Sums:
    """The share of noise that a hospital added, drawn again from its secret."""
    mechanism = one.plan.mechanism("train")
    grid = Grid.of(mechanism.clipping_norm, mechanism.noise_multiplier, 65).shared(one.plan.shares)
    stream = one.site(node).secret.stream(one.ledger(node)[line]["request"], "noise", 0)
    zeros = [torch.zeros_like(tensor) for tensor in like.values()]
    return dict(zip(like, noised(zeros, grid, stream), strict=True))


def test_the_total_is_that_of_clean_sums_and_shares_of_noise_exactly(deploy: Deploy) -> None:
    """What a trusted server is sent, and the noise that hospitals' own secrets give; of all three, and of two in a
    second attempt; the first attempt of these two cannot be read.
    """
    one, trusting = agreed(deploy), deploy("central", **SECURE | {"privacy": {"trust": "central"}})
    clean = []
    for node in range(3):
        trusting.agree(node)
        clean.append(trusting.train(node)[0])
    sent = [ask(one, node) for node in range(3)]
    noise = [own_noise(one, node, sent[node]) for node in range(3)]
    total, expected = added(sent), added([*clean, *noise])
    assert all(torch.equal(total[name], expected[name]) for name in total)
    assert unmasks(one, *sent) and not unmasks(one, *sent[:2]) and not unmasks(one, sent[0])
    again = [ask(one, node, members=ALL[:2], attempt=2) for node in range(2)]
    assert unmasks(one, *again) and not unmasks(one, again[0], sent[1])
    later = [own_noise(one, node, again[node]) for node in range(2)]
    total, expected = added(again), added([*clean[:2], *later])
    assert all(torch.equal(total[name], expected[name]) for name in total)
    assert not any(torch.equal(later[0][name], noise[0][name]) for name in ("head.weight",))


def test_both_attempts_are_charged_and_the_plan_pays_for_them(deploy: Deploy) -> None:
    """Three rounds and a spare one: the noise is that of four releases, each of two shares of three hospitals."""
    one = agreed(deploy)
    mechanism = one.plan.mechanism("train")
    assert (mechanism.rounds, mechanism.spare, mechanism.steps) == (3, 1, 4)
    whole = epsilon(((1.0, mechanism.noise_multiplier, 4),), 1e-4)
    assert one.plan.epsilon(1e-4) == whole and 5.99 < whole <= 6
    told = [one.train(0, number, attempt=attempt, members=ALL[: 3 - (attempt > 1)])[1]["epsilon"]
            for number, attempt in ((1, 1), (1, 2), (2, 1), (3, 1))]  # fmt: skip
    assert told == [epsilon(((1.0, mechanism.noise_multiplier, steps),), 1e-4) for steps in (1, 2, 3, 4)]
    assert [(line["round"], line["attempt"]) for line in one.ledger(0)] == [(1, 1), (1, 2), (2, 1), (3, 1)]
    for number, attempt in ((2, 2), (4, 1), (3, 2)):
        with pytest.raises(RefusalError):
            ask(one, 0, number, attempt=attempt)
    assert len(one.ledger(0)) == 4


def test_trap_28_a_second_request_under_one_attempt(deploy: Deploy) -> None:
    """Another model, or other members: two sums under the same masks would differ by what patients do. The same
    request has the same bytes, for nothing.
    """
    one = agreed(deploy)
    first = ask(one, 0)
    near = {name: tensor + 1e-3 for name, tensor in one.model.items()}
    before = one.files(0)
    for change in ({"model": near}, {"members": ALL[:2]}, {"members": ("hospital-1", "hospital-3")}):
        with pytest.raises(
            RefusalError, match=r"^refused: attempt 1 of round 1 has had an answer, to another request$"
        ):
            ask(one, 0, **change)
    assert one.files(0) == before
    again = ask(one, 0, members=tuple(reversed(ALL)))
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items()) and len(one.ledger(0)) == 1


def test_trap_28_other_members_to_each_hospital(deploy: Deploy) -> None:
    """Whoever is told of others has masks that nobody takes off: no two of these sums add up to anything."""
    one = agreed(deploy)
    told = [ask(one, 0, members=ALL[:2]), ask(one, 1, members=ALL), ask(one, 2, members=("hospital-1", "hospital-3"))]
    assert not unmasks(one, *told)
    assert not any(unmasks(one, told[a], told[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    other = {name: tensor + 1e-3 for name, tensor in one.model.items()}
    assert not unmasks(one, *(ask(one, node, 2, model=other if node == 0 else None) for node in range(3)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"attempt": 0}, "attempt 0 was asked for, 2 were agreed to"),
        ({"attempt": 2}, "attempt 2 of round 1 was asked for before the one before it"),
        ({"attempt": 3}, "attempt 3 was asked for, 2 were agreed to"),
        ({"members": ()}, "it is not among the hospitals that are added up"),
        ({"members": ALL[:1]}, "1 hospitals would be added up, 2 are the fewest"),
        ({"members": ALL[1:]}, "it is not among the hospitals that are added up"),
        ({"members": (*ALL, "hospital-2")}, "a hospital is named twice among those who are added up"),
        ({"members": (*ALL, "hospital-4")}, "hospital-4 has no part in the plan that was agreed to"),
        ({"number": 4}, "round 4 was asked for, 3 were agreed to"),
    ],
    ids=str,
)
def test_trap_28_attempts_and_members_that_were_not_agreed_to(
    deploy: Deploy, asked: dict[str, Any], expected: str
) -> None:
    one = agreed(deploy)
    before = one.files(0)
    with pytest.raises(RefusalError) as refused:
        ask(one, 0, **asked)
    assert str(refused.value) == f"refused: {expected}" and one.files(0) == before


def test_trap_28_rounds_are_asked_again_no_more_often_than_agreed_to(deploy: Deploy) -> None:
    """Once in all, in whichever round; what else is left of the releases is for first attempts."""
    one = agreed(deploy)
    for number, attempt in ((1, 1), (2, 1), (2, 2)):
        ask(one, 0, number, attempt=attempt, members=ALL[:2])
    with pytest.raises(RefusalError, match=r"^refused: no more than 1 rounds are asked again$"):
        ask(one, 0, 1, attempt=2, members=ALL[:2])
    ask(one, 0, 3)


def rewritten(one: Any, node: int, **keys: Any) -> None:
    """Change a hospital's own site file."""
    path = one.folder(node) / "site.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | keys))


def test_trap_28_keys_come_from_a_hospitals_own_file(deploy: Deploy) -> None:
    """Who is not there is nobody to add sums up with, whatever the server says of its patients; who has another key
    there can be added up with nobody.
    """
    one = agreed(deploy)
    keys = {name: public_key(one.site(node).secret) for node, name in enumerate(ALL)}
    assert one.site(0).file.peers == {name: keys[name] for name in ALL[1:]}
    other = deploy("other", **SECURE)
    other.declare(0)
    invented = other.sizes | {"hospital-4": 9}
    with pytest.raises(RefusalError, match=r"^refused: the site file has no key of hospital-4 under peers$"):
        other.agree(0, sizes=invented)
    rewritten(one, 0, peers={"hospital-2": keys["hospital-2"]})
    with pytest.raises(RefusalError, match=r"^refused: the site file has no key of hospital-3 under peers$"):
        ask(one, 0)
    assert one.ledger(0) == []
    ask(one, 0, members=ALL[:2])
    rewritten(other, 0, peers={})
    with pytest.raises(RefusalError, match=r"^refused: peers: no other hospital's key is there"):
        other.declare(0)
    rewritten(one, 1, peers=keys | {"hospital-1": keys["hospital-3"]})
    assert not unmasks(one, ask(one, 0, members=ALL[:2]), ask(one, 1, members=ALL[:2]))


def test_trap_28_a_plan_with_hospitals_that_do_not_learn_together(deploy: Deploy) -> None:
    """All three would share the noise of what two learn: a third of it would be in no sum."""
    one = deploy(**SECURE | {"privacy": {"trust": "secure"}})
    two = one.of("real-epsilon-6", arm_name="without_one", group="without-hospital-3", members=list(ALL[:2]))
    with pytest.raises(RefusalError, match=r"^refused: the plan's hospitals are not those that learn together$"):
        one.agree(0, two)
    one.agree(0, two, sizes={name: one.sizes[name] for name in ALL[:2]})


def test_trap_28_a_plan_of_fewer_honest_hospitals_than_a_hospital_wants(deploy: Deploy) -> None:
    one = deploy(**SECURE)
    rewritten(one, 0, limits={"minimum_honest": 3})
    with pytest.raises(RefusalError, match=r"^refused: 2 hospitals would share the noise, fewer than 3$"):
        one.agree(0)
    one.agree(1)
    alone = {"hospital-1": one.sizes["hospital-1"]}
    with pytest.raises(RefusalError, match=r"^refused: of 1 hospitals fewer than 2 are left where 1 drop out$"):
        one.agree(0, sizes=alone)


def test_trap_28_trust_is_not_what_a_message_says(deploy: Deploy) -> None:
    """The clean sum, as for a trusted server, under a plan that hospitals share the noise of: no such plan."""
    one = agreed(deploy)
    for trust in ("central", "local"):
        plan = replace(one.plan, trust=trust)
        with pytest.raises(RefusalError, match=r"^refused: the plan that is asked for is not the one"):
            one.agree(0, plan=plan)
        with pytest.raises(RefusalError, match=r"^refused: it was not agreed to this plan$"):
            ask(one, 0, plan=plan.digest)
    assert one.ledger(0) == []


@pytest.mark.parametrize("changes", [{"federation": {"rounds": 3, "local_steps": 2}}])
def test_trap_28_masks_hide_one_sum_a_round(deploy: Deploy, changes: dict[str, Any]) -> None:
    """A deployment of two steps, which no study says, is not agreed to."""
    one = deploy(**SECURE)
    two = one.of("real-epsilon-6", **changes)
    with pytest.raises(RefusalError, match=r"^refused: masks hide one sum a round$"):
        one.agree(0, two)


def test_real_hospitals_add_sums_up_with_keys_that_their_people_told_each_other(deploy: Deploy) -> None:
    """Each its own secret of the operating system, and others' public keys in its file."""
    one = deploy(real={"secret_seed": None}, **SECURE)
    keys = {name: public_key(one.site(node).secret) for node, name in enumerate(ALL)}
    assert len(set(keys.values())) == 3 and keys["hospital-1"] not in one.site(1).file.peers.values()
    one.sizes = dict.fromkeys(ALL, len(one.site(0).holder(one.deployment).training))
    for node in range(3):
        rewritten(one, node, peers=keys)
        one.site(node).approve(one.deployment.study)
        one.agree(node)
    sent = [one.train(node, attempt=1, members=ALL)[0] for node in range(3)]
    assert not unmasks(one, *sent[:2])
    assert unmasked_mean(sent, one.plan.mechanism("train"), 48, 48.0)


def test_a_job_says_who_is_added_up() -> None:
    job = Job("train", "0" * 64, 2, plan="1" * 64, attempt=1, members=ALL)
    assert Job.from_json(job.to_json()) == job and '"members"' not in Job("train", "0" * 64).to_json()
    for members in ('"abc"', "3", '["a", 3]', '["../a"]', '["a\\n"]', '[["a"]]', "null"):
        with pytest.raises(RefusalError, match=r"^refused: not a job that is understood here"):
            Job.from_json(f'{{"stage": "train", "deployment": "{"0" * 64}", "members": {members}}}')
    for attempt in ("-1", "true", '"1"', "1.5"):
        with pytest.raises(RefusalError, match=r"^refused: not a job that is understood here"):
            Job.from_json(f'{{"stage": "train", "deployment": "{"0" * 64}", "attempt": {attempt}}}')


def test_the_folder_of_hospitals_has_no_private_key(deploy: Deploy, tmp_path: Path) -> None:
    """What leaves a hospital or lies in its site file is a public key alone."""
    one = agreed(deploy)
    ask(one, 0)
    private = one.site(0).secret.key("masks")
    assert not any(private in content or private.hex().encode() in content for content in one.files(0).values())
