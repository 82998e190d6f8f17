"""Where a plan's numbers come from at each place: assumptions alone, and a pilot where there is one."""

from collections.abc import Mapping, Sequence

import numpy as np

from fedmammo.config.arm import ALL
from fedmammo.planning.assumptions import Arms, Assumptions, assumed_parts
from fedmammo.planning.pilot import Pilot
from fedmammo.planning.precision import Components
from fedmammo.planning.tables import Basis
from fedmammo.planning.tested import Tested


def bases_of(
    places: Sequence[Tested], assumed: Assumptions, arms: Arms, pilots: Mapping[str, Pilot] | None = None
) -> list[Basis]:
    """Return for each place what is assumed, and below it what the pilot tells.

    Args:
        places: over all first, then each hospital.
        assumed: by the planner.
        arms: that are compared.
        pilots: by place of the pilot (`fedmammo.planning.pilot.pilots_of`).
    """
    found = []
    for here in places:
        if not here.patients:
            continue
        parts = assumed_parts(assumed, arms, places[0], here)
        found.append(Basis("assumed", here, parts, arms.repeats))
        if pilots:
            found.append(_from_pilot(here, parts, pilots, assumed, arms))
    return found


def _from_pilot(
    here: Tested, parts: Components, pilots: Mapping[str, Pilot], assumed: Assumptions, arms: Arms
) -> Basis:
    """Take a place's numbers from the pilot, and what it cannot tell from what is assumed."""
    notes = []
    hospitals = [one for name, one in pilots.items() if name != ALL]
    if here.name in pilots:
        own = [pilots[here.name]]
    elif hospitals:
        own = hospitals
        notes.append("no such hospital in the pilot: the mean of its hospitals")
    else:
        own = [pilots[ALL]]
        notes.append("no hospital in the pilot is assessable: as over all")
    found = Components(*np.mean([one.components.with_patients(here.patients) for one in own], axis=0))
    had, wants = own[0].repeats, arms.repeats
    if wants.draws > 1 and had.draws == 1:
        shared = found.alone * parts.shared / parts.alone
        found = found._replace(draws=assumed.deviation_of_draws**2 + found.alone - shared, shared=shared)
        notes.append("one draw in the pilot: what draws differ by is assumed")
    if wants.seeds > 1 and had.seeds == 1:
        shared = found.alone if wants.draws == 1 else found.shared
        found = found._replace(seeds=assumed.deviation_of_seeds**2, shared=shared)
        notes.append("one seed in the pilot: what seeds differ by is assumed")
    return Basis("pilot", here, found, wants, "; ".join(notes))
