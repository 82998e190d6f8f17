import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmammo.phantom.masses import Mass, choose_mass
from fedmammo.phantom.rates import MARGINS, SHAPES


def mass(shape="ROUND", margins="CIRCUMSCRIBED", radius=30.0, seed=1, reaction=0.0) -> Mass:
    reaction = 1.0 if margins == "SPICULATED" else reaction
    return Mass(False, shape, margins, 4, 0.2, reaction, radius, 0.5, seed)


def draw(lesion: Mass, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return lesion.draw(0.0, np.random.default_rng(seed))


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Dice coefficient of two masks."""
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    margins=st.sampled_from(MARGINS),
    radius=st.floats(18, 46),
    reaction=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_every_mass_has_its_middle_inside_and_fades_before_the_edge(shape, margins, radius, reaction, seed):
    added, body = draw(mass(shape, margins, radius, seed, reaction), seed)
    size = 2 * int(3 * radius) + 1
    assert added.shape == body.shape == (size, size)
    assert added.min() >= 0 and added.max() <= 0.2001
    assert body[size // 2, size // 2] and added[size // 2, size // 2] > 0.8 * 0.2
    rim = np.concatenate([added[0], added[-1], added[:, 0], added[:, -1]])
    assert rim.max() < 0.1 * 0.2


def test_a_round_mass_has_the_area_of_its_circle():
    """The ellipse's half axes are r / sqrt(a) and r sqrt(a): area pi r^2; waves and roughness of a few percent."""
    areas = [draw(mass(seed=i), i)[1].sum() for i in range(9)]
    assert np.mean(areas) == pytest.approx(np.pi * 30**2, rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_both_views_show_the_same_mass_and_others_another(shape):
    """Two circles of one radius have a Dice coefficient of 1; views of one mass are alike but not equal."""
    same, other = [], []
    for seed in range(12):
        views = [draw(mass(shape, seed=seed), 100 * seed + view)[1] for view in (0, 1)]
        same.append(overlap(*views))
        other.append(overlap(views[0], draw(mass(shape, seed=seed + 50), 100 * seed + 1)[1]))
    assert 0.85 < np.mean(same) < 0.999
    assert np.mean(same) > np.mean(other) + 0.01


def edge(lesion: Mass, seed: int) -> float:
    """Steepest fall of the profile from one pixel to the next, as a share of the contrast: mean over directions."""
    added, _ = draw(lesion, seed)
    middle = len(added) // 2
    rays = [added[middle, middle:], added[middle, middle::-1], added[middle:, middle], added[middle::-1, middle]]
    return float(np.mean([np.max(-np.diff(ray)) for ray in rays])) / lesion.contrast


def test_margins_differ_as_their_names_say():
    """Circumscribed edges are the sharpest, ill-defined ones the softest; obscured ones are sharp in part."""
    sharp, obscured, soft = (
        np.mean([edge(mass("OVAL", margins, seed=i), i) for i in range(20)])
        for margins in ("CIRCUMSCRIBED", "OBSCURED", "ILL_DEFINED")
    )
    assert sharp > obscured + 0.01 > soft + 0.02


def perimeter(body: np.ndarray) -> float:
    """Squared perimeter, in pixel edges, over the area: 64 r^2 / (pi r^2) = 20.4 for a circle, more if frayed."""
    edges = np.abs(np.diff(body.astype(int), axis=0)).sum() + np.abs(np.diff(body.astype(int), axis=1)).sum()
    return edges**2 / body.sum()


def test_shapes_differ_as_their_names_say():
    """A circle has 64 / pi; lobes, small lobes and irregular outlines have more."""
    compact = {
        words: np.mean([perimeter(draw(mass(*words, seed=i), i)[1]) for i in range(15)])
        for words in [(shape, "CIRCUMSCRIBED") for shape in SHAPES] + [("ROUND", "MICROLOBULATED")]
    }
    round_, oval, lobulated, irregular, microlobulated = compact.values()
    assert round_ == pytest.approx(64 / np.pi, rel=0.06)
    assert round_ < oval < lobulated < irregular
    assert microlobulated > round_ * 1.1


def test_only_strands_reach_beyond_the_body():
    y, x = np.mgrid[-90:91, -90:91]
    beyond = np.hypot(y, x) > 1.5 * 30
    reach = [
        draw(mass(margins=margins, reaction=reaction))[0][beyond].max()
        for margins, reaction in (("CIRCUMSCRIBED", 0), ("ILL_DEFINED", 0.5), ("SPICULATED", 1))
    ]
    assert reach[0] < 0.01 * 0.2 < 0.1 * 0.2 < reach[1] < reach[2]


def test_chosen_masses_follow_kind_and_difficulty():
    """At difficulty .5 91.5 of 413 malignant masses are irregular and spiculated; the standard error of 800 is .015."""
    chosen = {
        (malignant, difficulty): [choose_mass(malignant, difficulty, np.random.default_rng(i)) for i in range(800)]
        for malignant in (False, True)
        for difficulty in (0.0, 0.5, 1.0)
    }
    spiculated = [np.mean([m.margins == "SPICULATED" for m in chosen[True, d]]) for d in (0.0, 0.5, 1.0)]
    both = np.mean([(m.shape, m.margins) == ("IRREGULAR", "SPICULATED") for m in chosen[True, 0.5]])
    assert both == pytest.approx(91.5 / 413, abs=0.06)
    assert spiculated == sorted(spiculated, reverse=True)
    for kind in (False, True):
        assert [np.mean([m.contrast for m in chosen[kind, d]]) for d in (1.0, 0.5, 0.0)] == sorted(
            np.mean([m.contrast for m in chosen[kind, d]]) for d in (0.0, 0.5, 1.0)
        )
    masses = [m for kind in chosen.values() for m in kind]
    assert {m.subtlety for m in masses} == {1, 2, 3, 4, 5}
    assert all(18 <= m.radius <= 46 for m in masses)
    assert all((m.reaction == 1) == (m.margins == "SPICULATED") for m in masses)
    assert not any(m.reaction for m in masses if m.margins == "CIRCUMSCRIBED" or (not m.malignant and m.reaction < 1))
