"""One noised sum of clipped patients, by hand and by properties."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fedmammo.privacy.optimizer import PatientOptimizer
from fedmammo.privacy.secret import Stream

KEY = bytes(range(32))


def optimizer(*shapes: tuple[int, ...], sigma: float = 0.0, norm: float = 1.0, expected: float = 1.0):
    parameters = [nn.Parameter(torch.zeros(shape)) for shape in shapes]
    return PatientOptimizer(torch.optim.SGD(parameters, lr=1.0), sigma, norm, expected), parameters


def released(gradients: list[Tensor], chunks: int = 1, **keys: float) -> list[Tensor]:
    made, parameters = optimizer(*(tuple(gradient.shape[1:]) for gradient in gradients), **keys)
    for chunk in range(chunks):
        made.accumulate([part.tensor_split(chunks)[chunk] for part in gradients])
    made.release(Stream(KEY))
    return [parameter.grad for parameter in parameters]


def test_every_patient_is_clipped_over_all_parameters_together() -> None:
    """Patient A is (3; 4), of norm 5: at norm 1 it counts as (.6; .8). B is (.1; 0) and stays. Divided by 4."""
    found = released([torch.tensor([[3.0], [0.1]]), torch.tensor([[4.0], [0.0]])], expected=4.0)
    assert [part.item() for part in found] == pytest.approx([0.7 / 4, 0.8 / 4], rel=1e-5)


def test_a_step_goes_along_the_released_gradient() -> None:
    made, (parameter,) = optimizer((2,), expected=2.0)
    made.accumulate([torch.tensor([[0.2, 0.4]])])
    made.release(Stream(KEY))
    made.original_optimizer.step()
    assert parameter.tolist() == pytest.approx([-0.1, -0.2])


@given(seed=st.integers(0, 99), patients=st.integers(1, 9), chunks=st.integers(1, 5), norm=st.floats(0.1, 10))
def test_chunks_make_no_difference(seed: int, patients: int, chunks: int, norm: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(patients, *shape, generator=generator) for shape in ((3, 2), (4,))]
    for once, apart in zip(released(gradients, norm=norm), released(gradients, chunks, norm=norm), strict=True):
        torch.testing.assert_close(once, apart, rtol=1e-5, atol=1e-5)


@given(seed=st.integers(0, 99), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e18]), norm=st.floats(0.01, 100))
def test_one_patient_adds_no_more_than_the_norm(seed: int, scale: float, norm: float) -> None:
    """Also where its squared norm is too large for float32."""
    generator = torch.Generator().manual_seed(seed)
    gradients = [scale * torch.randn(1, *shape, generator=generator) for shape in ((5, 2), (4,))]
    found = torch.cat([part.flatten() for part in released(gradients, norm=norm)])
    assert found.double().norm().item() <= norm * (1 + 1e-6)


def test_half_precision_is_clipped_after_it_was_made_single() -> None:
    """1000 times the same bfloat16 gradient of norm above 1: each counts with norm 1, not with bfloat16's 3 digits."""
    one = torch.randn(1, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    (found,) = released([one.repeat(1000, 1)])
    exact = 1000 * one.double()[0] / one.double().norm()
    assert (found.double() - exact).norm().item() < 0.01


@pytest.mark.parametrize("fault", [torch.nan, torch.inf, -torch.inf])
def test_a_patient_that_is_not_finite_counts_as_zero(fault: float) -> None:
    """In one number of one parameter: all its numbers of all parameters are zero, the others' are what they were."""
    first, second = torch.full((3, 2), 0.1), torch.full((3, 1), 0.2)
    first[1, 0] = fault
    found = released([first, second])
    assert torch.cat([part.flatten() for part in found]).tolist() == pytest.approx([0.2, 0.2, 0.4])


def test_noise_is_the_streams_normal_times_norm_and_multiplier() -> None:
    """On the sum, before it is divided: multiplier 2, norm 3, expected patients 4 make 1.5 times the stream's."""
    found = released([torch.zeros(1, 3, 2), torch.zeros(1, 5)], sigma=2.0, norm=3.0, expected=4.0)
    stream = Stream(KEY)
    for part in found:
        assert part.numpy() == pytest.approx(1.5 * stream.normal(tuple(part.shape)), rel=1e-6)


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_step_without_patients_is_noised_all_the_same(chunks: int) -> None:
    made, (parameter,) = optimizer((7,), sigma=1.0)
    for _ in range(chunks):
        made.accumulate([torch.zeros(0, 7)])
    made.release(Stream(KEY))
    assert parameter.grad.numpy() == pytest.approx(Stream(KEY).normal((7,)), rel=1e-6)


def test_a_released_sum_is_forgotten() -> None:
    made, (parameter,) = optimizer((1,))
    for _ in range(2):
        made.accumulate([torch.tensor([[0.5]])])
        made.release(Stream(KEY))
        assert parameter.grad.item() == 0.5


def test_noise_of_different_parameters_is_different() -> None:
    first, second = released([torch.zeros(1, 4), torch.zeros(1, 4)], sigma=1.0)
    assert not np.isin(first.numpy(), second.numpy()).any()
