"""Lists in a study where one value would do: each further value is a variant of the arms that it is about."""

from typing import Any

from fedmammo.config.arm import ARMS

LEARNING = ("centralized", "local", "federated")  # arms of which a learning curve is drawn
FRACTION = "-fraction"  # after an arm's name: the part of the patients that trains follows


def expand(content: Any) -> Any:
    """Return a study's content with lists replaced by arms.

    `federation.strategy: [FedAvg, {name: FedProx}]` adds the arm `federated-FedProx`; `cohort.fraction: [.25, .5, 1]`
    adds `local-fraction0.25` and so on, for each of `LEARNING` that the study runs. The arms as they are take the first
    strategy, and the largest fraction. Raises ValueError where a list is empty.
    """
    if not isinstance(content, dict):
        return content
    content = dict(content)
    arms = content.get("arms", list(ARMS))
    if not isinstance(arms, list | dict):
        return content
    variants: dict[str, dict[str, Any]] = {}
    strategies = _list(content, "federation", "strategy")
    if strategies:
        named = [{"name": one} if isinstance(one, str) else one for one in strategies]
        content["federation"] = {**content["federation"], "strategy": named[0]}
        for one in named[1:]:
            name = one.get("name") if isinstance(one, dict) else None
            name = str(name).rpartition(":")[2]  # of an import path its class
            taken = sum(key.startswith(f"federated-{name}") for key in variants)
            if "federated" in arms:
                variants[f"federated-{name}{taken + 1 if taken else ''}"] = {"federation.strategy": one}
    fractions = _list(content, "cohort", "fraction")
    if fractions:
        if not all(isinstance(one, int | float) for one in fractions):
            raise ValueError("cohort.fraction: expected a number, or a list of numbers")
        largest = max(fractions)
        content["cohort"] = {**content["cohort"], "fraction": largest}
        for one in sorted({float(one) for one in fractions} - {float(largest)}):
            variants |= {f"{arm}{FRACTION}{one:g}": {"cohort.fraction": one} for arm in LEARNING if arm in arms}
    if variants:
        plain = {name: {} for name in arms} if isinstance(arms, list) else dict(arms)
        for name, overrides in variants.items():
            kind = name.partition("-")[0]
            plain.setdefault(name, {**(plain[kind] or {}), **overrides})
        content["arms"] = plain
    return content


def _list(content: dict[str, Any], section: str, key: str) -> list[Any]:
    """Return the list that stands under a key, or nothing. Raises ValueError where it is empty."""
    value = content.get(section)
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        return []
    if not found:
        raise ValueError(f"{section}.{key}: an empty list; name at least one")
    return found
