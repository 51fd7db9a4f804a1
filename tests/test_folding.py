"""Folding: the folded layer computes what layer and batch norm computed, also at the border."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from helpers import whole

from refbn import batch_norm_infer
from refbn.folding import (
    Line,
    fold_into_next,
    fold_into_previous,
    identity_parameters,
    padding_value,
    scale_and_shift,
)
from refbn.gradcheck import complex_step

U = 2.0**-53  # unit round-off of float64: the relative error of one operation
EPS = 1e-3  # so large that forgetting it shows
KERNELS = [(3,), (3, 2), (2, 3, 2)]
FOLDS = [fold_into_previous, fold_into_next]
HAND = Line(np.array([1.5, -2.0]), np.array([-0.5, 1.0]))


# Worked example by hand


def test_the_line_by_hand():
    """Slope 3 / sqrt(4) = 1.5, and at 0 the value 1 - 1.5 * 1 = -0.5."""
    line = scale_and_shift([1.0], [3.0], [3.0], [1.0], eps=1.0)
    assert (line.scale.tolist(), line.shift.tolist()) == ([1.5], [-0.5])


def test_without_gamma_and_beta_the_line_standardises():
    """Without gamma the slope is 1 / sqrt(4), without beta the shift is minus the scaled mean."""
    line = scale_and_shift([1.0], [4.0], eps=0.0)
    assert (line.scale.tolist(), line.shift.tolist()) == ([0.5], [-0.5])
    assert scale_and_shift([1.0], [4.0], [3.0], eps=0.0).shift.tolist() == [-1.5]
    assert scale_and_shift([1.0], [4.0], None, [3.0], eps=0.0).scale.tolist() == [0.5]


def test_the_layer_before_by_hand():
    """Each output's weights and bias are scaled, and the bias is shifted after that."""
    weight, bias = fold_into_previous([[2.0, 4.0], [1.0, 0.0]], [1.0, 3.0], HAND)
    assert weight.tolist() == [[3.0, 6.0], [-2.0, 0.0]]
    assert bias.tolist() == [1.5 * 1 - 0.5, -2 * 3 + 1]


def test_the_layer_after_by_hand():
    """Each input's weights are scaled; the bias takes the weights times the shift, unscaled."""
    weight, bias = fold_into_next([[2.0, 4.0], [1.0, 0.0]], [1.0, 3.0], HAND)
    assert weight.tolist() == [[3.0, -8.0], [1.5, 0.0]]
    assert bias.tolist() == [1 + 2 * -0.5 + 4 * 1, 3 + 1 * -0.5]


def test_a_padded_convolution_by_hand():
    """At the border of the input 2, 4 a folded bias counts a shift that the zeros never had."""
    line = Line(np.array([2.0]), np.array([10.0]))  # 2, 4 becomes 14, 18, then 0, 14, 18, 0
    kernel, nothing = np.ones((1, 1, 3)), np.zeros(1)
    right = [14.0 + 18.0, 14.0 + 18.0]
    weight, bias = fold_into_next(kernel, nothing, line, zero_padding=False)
    assert (weight.tolist(), bias.tolist()) == ([[[2.0, 2.0, 2.0]]], [30.0])
    wrong = convolve(np.array([[[0.0, 2.0, 4.0, 0.0]]]), weight, bias)
    assert wrong.ravel().tolist() == [42.0, 42.0]
    assert padding_value(line).tolist() == [-5.0]
    folded = convolve(np.array([[[-5.0, 2.0, 4.0, -5.0]]]), weight, bias)
    assert folded.ravel().tolist() == right


def test_the_identity_by_hand():
    """With gamma = sqrt(3 + 1) and beta = 5 the value 7 stays 7."""
    gamma, beta = identity_parameters([5.0], [3.0], eps=1.0)
    assert (gamma.tolist(), beta.tolist()) == ([2.0], [5.0])
    assert batch_norm_infer([[7.0]], [5.0], [3.0], gamma, beta, eps=1.0).tolist() == [[7.0]]


def test_the_default_epsilon():
    """The epsilon is 1e-5 if nobody says otherwise, as in the batch norm itself."""
    x = [[3.0, -1.0]]
    statistics = [1.0, 2.0], [1e-4, 4e-6]
    scale, shift = scale_and_shift(*statistics)
    np.testing.assert_allclose(scale * x + shift, batch_norm_infer(x, *statistics), rtol=1e-12)
    gamma, _ = identity_parameters(*statistics)
    np.testing.assert_allclose(gamma, np.sqrt([1.1e-4, 1.4e-5]), rtol=1e-15)


# Laws


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("parameters", ["gamma, beta", "gamma", "beta", ""])
def test_the_layer_before(parameters, has_bias, offset, rng):
    """A linear layer with the batch norm after it folded in computes what both computed."""
    norm = random_norm(rng, 4, parameters, offset)
    x, weight = rng.standard_normal((50, 6)), rng.standard_normal((4, 6))
    bias = rng.standard_normal(4) + offset if has_bias else None
    expected = batch_norm_infer(linear(x, weight, bias), *norm, eps=EPS)
    line = scale_and_shift(*norm, eps=EPS)
    folded = fold_into_previous(weight, bias, line)
    size = linear(abs(x), abs(weight), None if bias is None else abs(bias)) + abs(norm[0])
    assert_close(linear(x, *folded), expected, abs(line.scale) * size + beta_of(norm), terms=6)


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("parameters", ["gamma, beta", "gamma", "beta", ""])
def test_the_layer_after(parameters, has_bias, offset, rng):
    """A linear layer with the batch norm before it folded in computes what both computed."""
    norm = random_norm(rng, 6, parameters, offset)
    x, weight = rng.standard_normal((50, 6)) + offset, rng.standard_normal((4, 6))
    bias = rng.standard_normal(4) if has_bias else None
    expected = linear(batch_norm_infer(x, *norm, eps=EPS), weight, bias)
    line = scale_and_shift(*norm, eps=EPS)
    folded = fold_into_next(weight, bias, line)
    size = abs(line.scale) * (abs(x) + abs(norm[0])) + beta_of(norm)
    size = linear(size, abs(weight), None if bias is None else abs(bias))
    assert_close(linear(x, *folded), expected, size, terms=6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_convolution_before(kernel, rng):
    """A convolution of any rank takes in the batch norm after it, its zero padding included."""
    norm, line = norm_and_line(rng, 4)
    x, weight, bias = random_convolution(rng, kernel, inputs=3, outputs=4)
    x = padded(x, np.zeros(3))
    expected = batch_norm_infer(convolve(x, weight, bias), *norm, eps=EPS)
    folded = fold_into_previous(weight, bias, line)
    size = convolve(abs(x), abs(weight), abs(bias)) + along(abs(norm[0]), x.ndim)
    size = along(abs(line.scale), x.ndim) * size + along(beta_of(norm), x.ndim)
    assert_close(convolve(x, *folded), expected, size, terms=3 * np.prod(kernel))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_convolution_after(kernel, has_bias, rng):
    """A convolution of any rank that pads nothing takes in the batch norm before it."""
    norm, line = norm_and_line(rng, 3)
    x, weight, bias = random_convolution(rng, kernel, inputs=3, outputs=4)
    bias = bias if has_bias else None
    expected = convolve(batch_norm_infer(x, *norm, eps=EPS), weight, bias)
    folded = fold_into_next(weight, bias, line, zero_padding=False)
    size = convolve_size(x, weight, bias, norm, line)
    assert_close(convolve(x, *folded), expected, size, terms=3 * np.prod(kernel))


@pytest.mark.parametrize("kernel", KERNELS)
def test_padding_what_becomes_zero_is_right_up_to_the_border(kernel, rng):
    """Zeros after the batch norm are -shift/scale before it; zeros before it are wrong there."""
    norm, line = norm_and_line(rng, 3)
    x, weight, bias = random_convolution(rng, kernel, inputs=3, outputs=4)
    expected = convolve(padded(batch_norm_infer(x, *norm, eps=EPS), np.zeros(3)), weight, bias)
    folded = fold_into_next(weight, bias, line, zero_padding=False)
    right = padded(x, padding_value(line))
    size = convolve_size(right, weight, bias, norm, line)
    assert_close(convolve(right, *folded), expected, size, terms=3 * np.prod(kernel))
    error = abs(convolve(padded(x, np.zeros(3)), *folded) - expected)
    interior = (slice(None), slice(None), *(slice(2, -2) for _ in kernel))
    assert error[interior].size > 0
    assert error[interior].max() < 1e-12
    error[interior] = 1.0
    assert error.min() > 1e-6  # on the border not one output is right


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_that_repeats_the_input_does_no_harm(mode, rng):
    """Reflected, replicated and circular padding before the batch norm and after it agree."""
    norm, line = norm_and_line(rng, 3)
    x, weight, bias = random_convolution(rng, (3, 3), inputs=3, outputs=4)
    widths = [(0, 0), (0, 0), (2, 2), (2, 2)]
    normed = np.pad(batch_norm_infer(x, *norm, eps=EPS), widths, mode=mode)
    x = np.pad(x, widths, mode=mode)
    folded = fold_into_next(weight, bias, line, zero_padding=False)
    size = convolve_size(x, weight, bias, norm, line)
    assert_close(convolve(x, *folded), convolve(normed, weight, bias), size, terms=27)


def test_a_scale_alone_may_be_folded_under_zero_padding(rng):
    """Where every shift is 0, zeros stay zeros, and a convolution that pads with them is taken."""
    line = Line(rng.standard_normal(3), np.zeros(3))
    x, weight, bias = random_convolution(rng, (3, 3), inputs=3, outputs=4)
    folded = fold_into_next(weight, bias, line, zero_padding=True)
    x = padded(x, np.zeros(3))
    expected = convolve(x * along(line.scale, 4), weight, bias)
    size = convolve(abs(x) * along(abs(line.scale), 4), abs(weight), abs(bias))
    assert_close(convolve(x, *folded), expected, size, terms=27)
    assert padding_value(line).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("kernel", [(), *KERNELS])
def test_weights_may_lie_in_any_order(kernel, rng):
    """Weights with their axes in another order give the same numbers in that order."""
    weight, bias = rng.standard_normal((3, 3, *kernel)), rng.standard_normal(3)
    _, line = norm_and_line(rng, 3)
    for outputs, inputs in [(0, 1), (1, 0), (-1, -2), (-2, -1), (0, -1), (-1, 0)]:
        turned = np.moveaxis(weight, (0, 1), (outputs, inputs))
        for expected, folded in (
            (
                fold_into_previous(weight, bias, line),
                fold_into_previous(turned, bias, line, output_axis=outputs),
            ),
            (
                fold_into_next(weight, bias, line, zero_padding=False),
                fold_into_next(turned, bias, line, axes=(outputs, inputs), zero_padding=False),
            ),
        ):
            back = np.moveaxis(folded[0], (outputs, inputs), (0, 1))
            assert back.tolist() == expected[0].tolist()
            # the order of summation may differ: at most 36 terms below 40
            np.testing.assert_allclose(folded[1], expected[1], rtol=0, atol=36 * 36 * 40 * U)


@pytest.mark.parametrize("groups", [2, 4])
def test_a_grouped_convolution_before(groups, rng):
    """Grouped and depthwise convolutions take in the batch norm after them as they are."""
    norm, line = norm_and_line(rng, 4)
    x, bias = rng.standard_normal((2, 4, 5, 5)), rng.standard_normal(4)
    weight = rng.standard_normal((4, 4 // groups, 2, 2))
    expected = batch_norm_infer(grouped(x, weight, bias, groups), *norm, eps=EPS)
    folded = fold_into_previous(weight, bias, line)
    np.testing.assert_allclose(grouped(x, *folded, groups), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("groups", [2, 4])
def test_a_grouped_convolution_after(groups, rng):
    """A grouped convolution takes in the batch norm before it group by group."""
    norm, line = norm_and_line(rng, 4)
    x, bias = rng.standard_normal((2, 4, 5, 5)), rng.standard_normal(4)
    weight = rng.standard_normal((4, 4 // groups, 2, 2))
    expected = grouped(batch_norm_infer(x, *norm, eps=EPS), weight, bias, groups)
    parts = (
        fold_into_next(w, b, Line(scale, shift), zero_padding=False)
        for w, b, scale, shift in zip(
            *(np.split(v, groups) for v in (weight, bias, *line)), strict=True
        )
    )
    folded = (np.concatenate(part) for part in zip(*parts, strict=True))
    np.testing.assert_allclose(grouped(x, *folded, groups), expected, rtol=0, atol=1e-13)


def test_a_transposed_convolution_before(rng):
    """A transposed convolution, with its outputs along axis 1, takes in the batch norm after it."""
    norm, line = norm_and_line(rng, 4)
    x, bias = rng.standard_normal((2, 3, 5)), rng.standard_normal(4)
    weight = rng.standard_normal((3, 4, 2))
    expected = batch_norm_infer(transposed(x, weight, bias), *norm, eps=EPS)
    folded = fold_into_previous(weight, bias, line, output_axis=1)
    np.testing.assert_allclose(transposed(x, *folded), expected, rtol=0, atol=1e-13)


def test_a_transposed_convolution_after_takes_a_scale_only(rng):
    """A transposed convolution takes in a scale; a shift reaches its outputs unevenly."""
    _, line = norm_and_line(rng, 3)
    x, bias = rng.standard_normal((2, 3, 5)), rng.standard_normal(4)
    weight = rng.standard_normal((3, 4, 3))
    scaled = x * along(line.scale, 3)
    folded = fold_into_next(weight, bias, Line(line.scale, np.zeros(3)), axes=(1, 0))
    expected = transposed(scaled, weight, bias)
    np.testing.assert_allclose(transposed(x, *folded), expected, rtol=0, atol=1e-13)
    folded = fold_into_next(weight, bias, line, axes=(1, 0), zero_padding=False)  # not true
    wrong = transposed(x, *folded) - transposed(scaled + along(line.shift, 3), weight, bias)
    assert abs(wrong).max() > 1e-2


def test_both_ways_are_the_same(rng):
    """A batch norm between two linear layers can be folded into either."""
    _, line = norm_and_line(rng, 4)
    x, first, second = (rng.standard_normal(shape) for shape in [(50, 6), (4, 6), (3, 4)])
    b, c = rng.standard_normal(4), rng.standard_normal(3)
    before = linear(linear(x, *fold_into_previous(first, b, line)), second, c)
    after = linear(linear(x, first, b), *fold_into_next(second, c, line))
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-12)


def test_a_line_folded_in_can_be_folded_out(rng):
    """Folding in the inverse line afterwards gives the layer back."""
    _, (scale, shift) = norm_and_line(rng, 4)
    weight, bias = rng.standard_normal((4, 6)), rng.standard_normal(4)
    there = fold_into_previous(weight, bias, Line(scale, shift))
    back = fold_into_previous(*there, Line(1.0 / scale, -shift / scale))
    np.testing.assert_allclose(back[0], weight, rtol=4 * U)
    np.testing.assert_allclose(back[1], bias, rtol=0, atol=1e-14)


def test_rounding_errors_grow_with_the_mean(rng):
    """The layer after loses the digits of the mean: 1e8 with deviations of 1 costs eight of them."""
    x, weight = rng.standard_normal((50, 6)), rng.standard_normal((4, 6))
    errors = []
    for mean in (0.0, 2.0**27):
        rounded = (x + mean) - mean  # these values and no others are left of x
        norm = np.full(6, mean), np.ones(6)
        folded = fold_into_next(weight, None, scale_and_shift(*norm, eps=0.0))
        exact = linear(rounded, weight, None)
        unfolded = linear(batch_norm_infer(rounded + mean, *norm, eps=0.0), weight, None)
        np.testing.assert_allclose(unfolded, exact, rtol=0, atol=1e-14)
        errors.append(abs(linear(rounded + mean, *folded) - exact).max())
    assert errors[0] < 1e-14
    assert 1e-9 < errors[1] < 1e-6


@pytest.mark.parametrize("fold", FOLDS)
def test_the_identity_folds_to_the_same_layer(fold, rng):
    """A batch norm with the identity parameters leaves the layer that it is folded into."""
    mean, var = rng.standard_normal(4), rng.random(4)
    line = scale_and_shift(mean, var, *identity_parameters(mean, var, eps=EPS), eps=EPS)
    np.testing.assert_allclose(line.scale, 1.0, rtol=3 * U)
    np.testing.assert_allclose(line.shift, 0.0, rtol=0, atol=10 * U)
    weight, bias = rng.standard_normal((4, 4)), rng.standard_normal(4)
    folded = fold(weight, bias, line)
    np.testing.assert_allclose(folded[0], weight, rtol=4 * U)
    np.testing.assert_allclose(folded[1], bias, rtol=0, atol=100 * U)


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("spread", [1e-4, 1.0, 1e4])
def test_the_identity_parameters_change_nothing(spread, offset, rng):
    """Inference with the identity parameters returns its input, to four roundings."""
    mean, var = offset + rng.standard_normal(3), spread**2 * rng.random(3)
    x = mean + spread * rng.standard_normal((100, 3))
    y = batch_norm_infer(x, mean, var, *identity_parameters(mean, var, eps=EPS), eps=EPS)
    # x - mean, the quotient and the product are rounded at the size of x - mean, the sum at x's
    assert np.all(abs(y - x) <= (3 * abs(x - mean) + abs(x)) * U * 1.01)


def test_without_epsilon_it_is_not_the_identity():
    """With gamma = sqrt(var), at var = 1e-6, a value moves three quarters of the way to the mean.

    1e-3 / sqrt(1e-6 + 1.5e-5) = 1 / 4.
    """
    x, mean, var = [[1.004]], [1.0], [1e-6]
    y = batch_norm_infer(x, mean, var, np.sqrt(var), mean, eps=1.5e-5)
    np.testing.assert_allclose(y, [[1.001]], rtol=1e-14)
    gamma, beta = identity_parameters(mean, var, eps=1.5e-5)
    np.testing.assert_allclose(batch_norm_infer(x, mean, var, gamma, beta, eps=1.5e-5), x, rtol=U)


def test_a_dead_channel_folds_to_its_beta():
    """Where gamma is 0, the weights become 0 and the bias becomes beta."""
    line = scale_and_shift([1.0], [4.0], [0.0], [3.0])
    weight, bias = fold_into_previous([[2.0, 4.0]], [1.0], line)
    assert (weight.tolist(), bias.tolist()) == ([[0.0, 0.0]], [3.0])
    assert fold_into_next([[2.0]], [1.0], line)[1].tolist() == [7.0]


def test_a_channel_that_is_zero_throughout_is_padded_with_zero():
    """Where scale and shift are 0, every value would do, and 0 is returned."""
    line = Line(np.array([0.0, 2.0]), np.array([0.0, 3.0]))
    assert padding_value(line).tolist() == [0.0, -1.5]


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32])
@pytest.mark.parametrize("fold", FOLDS)
def test_low_precision_is_rounded_once(fold, dtype, rng):
    """Weights and bias come back in their own dtypes, rounded from the result in float64."""
    weight, bias = rng.standard_normal((3, 3)).astype(dtype), rng.standard_normal(3)
    line = Line(*(rng.standard_normal(3).astype(dtype) for _ in range(2)))
    exact = fold(weight.astype(float), bias, Line(*(v.astype(float) for v in line)))
    folded = fold(weight, bias, line)
    assert [v.dtype for v in folded] == [dtype, np.float64]
    assert folded[0].tolist() == exact[0].astype(dtype).tolist()
    assert folded[1].tolist() == exact[1].tolist()
    exact = fold(weight.astype(float), bias.astype(dtype).astype(float), Line(*line))
    folded = fold(weight, bias.astype(dtype), line)
    assert folded[1].dtype == dtype
    assert folded[1].tolist() == exact[1].astype(dtype).tolist()
    assert fold(weight, None, line)[1].dtype == dtype


def test_lines_are_double_whatever_the_parameters_are():
    """The line, the padding and the identity parameters are float64, and share no memory."""
    arrays = [np.array([v], np.float32) for v in (1.0, 3.0, 2.0, 5.0)]
    line = scale_and_shift(*arrays, eps=1.0)
    identity = identity_parameters(*arrays[:2], eps=1.0)
    assert {v.dtype for v in (*line, *identity, padding_value(line))} == {np.dtype(np.float64)}
    mean = np.ones(1)
    assert not np.shares_memory(identity_parameters(mean, mean)[1], mean)


@pytest.mark.parametrize("fold", FOLDS)
def test_arguments_are_not_written_to(fold, rng):
    """Folding returns new arrays and leaves the old ones as they were."""
    weight, bias, scale, shift = (rng.standard_normal(shape) for shape in [(3, 3), 3, 3, 3])
    before = [v.copy() for v in (weight, bias, scale, shift)]
    results = fold(weight, bias, Line(scale, shift))
    for argument, copy in zip((weight, bias, scale, shift), before, strict=True):
        assert argument.tolist() == copy.tolist()
        assert not any(np.shares_memory(argument, result) for result in results)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_channel(value):
    """A statistic that is NaN or Inf spoils its own output alone, without a warning."""
    line = scale_and_shift([0.0, value], [1.0, 1.0])
    weight, bias = fold_into_previous([[1.0, 0.0], [1.0, 0.0]], None, line)
    assert np.isfinite(weight).all()
    assert np.isfinite(bias).tolist() == [True, False]
    _, bias = fold_into_next([[1.0, 0.0]], None, line)
    assert np.isnan(bias).tolist() == [True]  # 0 * Inf, too
    weight, _ = fold_into_previous([[0.0], [0.0]], None, Line(np.array([value, 1.0]), np.zeros(2)))
    assert np.isnan(weight).tolist() == [[True], [False]]


@pytest.mark.parametrize("fold", FOLDS)
def test_the_complex_step_goes_through(fold, rng):
    """The derivative by weight, bias, scale and shift is that of a product and a sum."""
    arguments = [rng.standard_normal(shape) for shape in [(3, 3), 3, 3, 3]]
    directions = [rng.standard_normal(shape) for shape in [(3, 3), 3, 3, 3]]

    def bias_of(w, b, scale, shift):
        return fold(w, b, Line(scale, shift))[1]

    def weight_of(w, b, scale, shift):
        return fold(w, b, Line(scale, shift))[0]

    (w, b, k, t), (dw, db, dk, dt) = arguments, directions
    if fold is fold_into_previous:
        dweight, dbias = dw * k[:, None] + w * dk[:, None], db * k + b * dk + dt
    else:
        dweight, dbias = dw * k + w * dk, db + dw @ t + w @ dt
    for part, expected in ((weight_of, dweight), (bias_of, dbias)):
        derivative = complex_step(part, arguments, directions, step=1e-100)  # its square is no 0
        np.testing.assert_allclose(derivative, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("fold", FOLDS)
def test_a_complex_line_makes_a_complex_layer(fold):
    """No imaginary part is dropped where the weights are real and the line is complex."""
    weight, bias = fold(np.ones((1, 1)), np.ones(1), Line(np.array([1j]), np.array([2j])))
    assert weight.tolist() == [[1j]]
    assert bias.tolist() == [3j if fold is fold_into_previous else 1 + 2j]


# Edges and errors


def test_a_layer_may_be_one_weight_for_each_channel():
    """A layer that only scales, its weights on one axis, takes in the batch norm after it."""
    weight, bias = fold_into_previous([2.0, 3.0], None, HAND)
    assert (weight.tolist(), bias.tolist()) == ([3.0, -6.0], [-0.5, 1.0])


@pytest.mark.parametrize("keywords", [{}, {"zero_padding": True}])
def test_zero_padding_is_refused(keywords):
    """A shift is not folded into a convolution unless somebody says that it pads no zeros."""
    message = (
        "a shift cannot be folded into a convolution that pads with zeros, which are not shifted; "
        "got zero_padding=True for weight.shape=(1, 2, 1). If it does not, pass "
        "zero_padding=False; if it does, pad outside of it with padding_value(line)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        fold_into_next(np.ones((1, 2, 1)), None, HAND, **keywords)


def test_a_channel_that_is_never_zero_cannot_be_padded():
    """Where scale is 0 and shift is not, no value before the batch norm is 0 after it."""
    line = Line(np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.0, -2.0]))
    message = (
        "scale must not be 0 where shift is not, because nothing is mapped to 0 there; "
        "got scale=0 in channels [2]. Keep this batch norm."
    )
    with pytest.raises(ValueError, match=whole(message)):
        padding_value(line)


@pytest.mark.parametrize(
    ("fold", "shapes", "wanted"),
    [
        (fold_into_previous, [(2, 3), (3,), (2,), (2,)], "(2,), scale and shift (2,)"),
        (fold_into_previous, [(2, 3), (2,), (3,), (2,)], "(2,), scale and shift (2,)"),
        (fold_into_previous, [(2, 3), (2,), (2,), (1,)], "(2,), scale and shift (2,)"),
        (fold_into_previous, [(2, 3), (2, 1), (2,), (2,)], "(2,), scale and shift (2,)"),
        (fold_into_next, [(2, 3), (1,), (3,), (3,)], "(2,), scale and shift (3,)"),
        (fold_into_next, [(2, 3), (2,), (2,), (3,)], "(2,), scale and shift (3,)"),
        (fold_into_next, [(2, 3), (2,), (3,), ()], "(2,), scale and shift (3,)"),
        (fold_into_next, [(4, 1, 3), (4,), (4,), (4,)], "(4,), scale and shift (1,)"),
    ],
)
def test_shapes_must_fit(fold, shapes, wanted):
    """There is one bias for each output, and one scale and shift for each channel."""
    weight, bias, scale, shift = (np.ones(shape) for shape in shapes)
    axes = (0,) if fold is fold_into_previous else (0, 1)
    message = (
        f"bias must have shape {wanted}; got {shapes[1]}, {shapes[2]} and {shapes[3]} for "
        f"weight.shape={shapes[0]} and axes {axes}. "
        "Name other axes, or fold a grouped convolution group by group."
    )
    with pytest.raises(ValueError, match=whole(message)):
        fold(weight, bias, Line(scale, shift))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((0, 2), "axes: axis 2 is out of bounds for array of dimension 2"),
        ((-3, 1), "axes: axis -3 is out of bounds for array of dimension 2"),
        ((1, -1), "repeated axis in `axes` argument"),
    ],
)
def test_axes_must_exist_and_differ(axes, message):
    """Outputs and inputs lie on two axes that the weights have."""
    with pytest.raises(ValueError, match=whole(message)):
        fold_into_next(np.ones((2, 2)), None, HAND, axes=axes)


def test_the_output_axis_must_exist():
    """Outputs lie on an axis that the weights have."""
    message = "axes: axis 2 is out of bounds for array of dimension 2"
    with pytest.raises(ValueError, match=whole(message)):
        fold_into_previous(np.ones((2, 2)), None, HAND, output_axis=2)


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("name", ["weight", "bias", "scale", "shift"])
def test_integers_are_refused(fold, name):
    """Every array is floating; integers are refused with the name of the argument."""
    arrays = {"weight": np.ones((2, 2)), "bias": np.ones(2), **HAND._asdict()}
    arrays[name] = arrays[name].astype(int)
    message = f"{name} must be an array of float16, bfloat16, float32, float64; got dtype int64. "
    with pytest.raises(TypeError, match=f"^{message}"):
        fold(arrays["weight"], arrays["bias"], Line(arrays["scale"], arrays["shift"]))


def test_the_fields_of_a_line_must_fit():
    """Padding needs as many shifts as scales, floating."""
    message = r"^shift must have one value for each of the 2 channels, shape \(2,\); "
    with pytest.raises(ValueError, match=message):
        padding_value(Line(np.ones(2), np.ones(1)))
    with pytest.raises(TypeError, match=r"^scale must be an array of float16"):
        padding_value(Line(np.ones(2, int), np.ones(2)))


@pytest.mark.parametrize(
    ("mean", "var", "eps", "message"),
    [
        ([0.0], [-1.0], 1e-5, "var must not be negative; got var=[-1.0]. "),
        ([0.0], [0.0], 0.0, "var + eps must be positive to divide by its root; "),
        ([0.0], [1.0], -1.0, "eps must be a finite number, not negative; got eps=-1.0. "),
        ([0.0], [1.0, 1.0], 1e-5, "var must have one value for each of the 1 channels, "),
        (0.0, [1.0], 1e-5, "mean must have one value for each of the 1 channels, "),
        ([[0.0, 0.0]], [1.0, 1.0], 1e-5, "mean must have one value for each of the 2 channels, "),
    ],
)
def test_what_no_batch_norm_takes_is_refused(mean, var, eps, message):
    """Statistics and epsilon are checked as the batch norm itself checks them."""
    pattern = whole(message).removesuffix(r"\Z")
    for function in (scale_and_shift, identity_parameters):
        with pytest.raises(ValueError, match=pattern):
            function(mean, var, eps=eps)


def test_parameters_must_fit():
    """Gamma and beta have one value per channel too."""
    for gamma, beta, name in (([1.0, 1.0], None, "gamma"), (None, [1.0, 1.0], "beta")):
        message = f"^{name} must have one value for each of the 1 channels"
        with pytest.raises(ValueError, match=message):
            scale_and_shift([0.0], [1.0], gamma, beta)


# Oracles


def test_the_layer_before_in_exact_rationals(rng):
    """What the folded layer computes differs from the exact value by some K roundings."""
    mean, gamma, beta, bias, std, eps = rational_norm(rng, 3)
    weight, x = dyadic(rng, 3, 5), dyadic(rng, 7, 5)
    line = scale_and_shift(mean, std * std - eps, gamma, beta, eps=eps)
    y = linear(x, *fold_into_previous(weight, bias, line))
    f = np.vectorize(Fraction, otypes=[object])
    exact = f(gamma) * (f(x) @ f(weight).T + f(bias) - f(mean)) / f(std) + f(beta)
    size = abs(x) @ abs(weight).T + abs(bias) + abs(mean)
    # 5 terms, and up to 10 roundings in scale, shift, weights and bias
    assert np.all(abs(f(y) - exact) <= 15 * U * (abs(gamma) / std * size + abs(beta)))


def test_the_layer_after_in_exact_rationals(rng):
    """The same holds for the layer after the batch norm."""
    mean, gamma, beta, _, std, eps = rational_norm(rng, 5)
    weight, x, bias = dyadic(rng, 3, 5), dyadic(rng, 7, 5), dyadic(rng, 3)
    line = scale_and_shift(mean, std * std - eps, gamma, beta, eps=eps)
    y = linear(x, *fold_into_next(weight, bias, line))
    f = np.vectorize(Fraction, otypes=[object])
    exact = (f(gamma) * (f(x) - f(mean)) / f(std) + f(beta)) @ f(weight).T + f(bias)
    size = abs(gamma) / std * (abs(x) + abs(mean)) + abs(beta)
    # 5 terms for the shift, 5 for the inputs, and up to 10 roundings in scale, shift and weights
    assert np.all(abs(f(y) - exact) <= 20 * U * (size @ abs(weight).T + abs(bias)))


def test_the_reference_convolution_is_that_of_numpy(rng):
    """In one dimension it is np.convolve with the kernel turned round."""
    x, kernel = rng.standard_normal(9), rng.standard_normal(4)
    y = convolve(x[None, None], kernel[None, None], np.array([2.0]))
    expected = np.convolve(x, kernel[::-1], mode="valid") + 2.0
    np.testing.assert_allclose(y[0, 0], expected, rtol=0, atol=1e-14)


def test_the_reference_convolution_of_any_rank_is_separable(rng):
    """With a product of kernels it is np.convolve along one axis after the other, summed."""
    x = rng.standard_normal((2, 2, 5, 6, 7))
    a, b, c = (rng.standard_normal((2, k)) for k in (2, 3, 4))
    weight = np.einsum("ia,ib,ic->iabc", a, b, c)[None]
    expected = np.zeros((2, 4, 4, 4))
    for i in range(2):
        part = x[:, i]
        for axis, kernel in ((1, a), (2, b), (3, c)):
            part = np.apply_along_axis(np.convolve, axis, part, kernel[i, ::-1], "valid")
        expected += part
    np.testing.assert_allclose(convolve(x, weight, None)[:, 0], expected, rtol=0, atol=1e-13)


def linear(x, weight, bias):
    """Return x W' + b for weights (out, in)."""
    return x @ weight.T + (0.0 if bias is None else bias)


def convolve(x, weight, bias):
    """Return the convolution of x (N, in, *spatial) with weights (out, in, *kernel), unpadded."""
    kernel = weight.shape[2:]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=tuple(range(2, x.ndim)))
    summed = range(x.ndim, x.ndim + len(kernel))
    y = np.tensordot(windows, weight, axes=((1, *summed), tuple(range(1, weight.ndim))))
    return np.moveaxis(y + (0.0 if bias is None else bias), -1, 1)


def grouped(x, weight, bias, groups):
    """Return the convolution in which each group of outputs sees its own group of inputs."""
    parts = zip(
        np.split(x, groups, axis=1), np.split(weight, groups), np.split(bias, groups), strict=True
    )
    return np.concatenate([convolve(*part) for part in parts], axis=1)


def transposed(x, weight, bias):
    """Return the transposed convolution with stride 2, weights (in, out, kernel)."""
    spread = np.zeros((*x.shape[:2], 2 * x.shape[2] - 1))
    spread[..., ::2] = x
    width = weight.shape[2] - 1
    spread = np.pad(spread, [(0, 0), (0, 0), (width, width)])
    return convolve(spread, weight.swapaxes(0, 1)[..., ::-1], bias)


def padded(x, values, width=2):
    """Return x with a border of two, one value for each channel."""
    shape = (*x.shape[:2], *(length + 2 * width for length in x.shape[2:]))
    result = np.broadcast_to(along(values, x.ndim), shape).copy()
    result[(..., *(slice(width, -width) for _ in x.shape[2:]))] = x
    return result


def along(values, ndim):
    """Return one value per channel, to broadcast against (N, C, *spatial)."""
    return np.reshape(values, (-1, *[1] * (ndim - 2)))


def random_norm(rng, channels, parameters="gamma, beta", offset=0.0):
    """Return mean, variance, gamma and beta of a batch norm, some of the last two perhaps None."""
    mean, gamma, beta = rng.standard_normal((3, channels))
    return (
        mean + offset,
        rng.random(channels),
        gamma if "gamma" in parameters else None,
        beta if "beta" in parameters else None,
    )


def norm_and_line(rng, channels):
    """Return a batch norm and its line."""
    norm = random_norm(rng, channels)
    return norm, scale_and_shift(*norm, eps=EPS)


def beta_of(norm):
    """Return the size of beta, 0 where there is none."""
    return np.zeros_like(norm[0]) if norm[3] is None else abs(norm[3])


def random_convolution(rng, kernel, inputs, outputs):
    """Return a batch, weights and a bias that is not 0."""
    x = rng.standard_normal((2, inputs, *(6 for _ in kernel)))
    return x, rng.standard_normal((outputs, inputs, *kernel)), rng.standard_normal(outputs)


def convolve_size(x, weight, bias, norm, line):
    """Return the sum of the sizes of all that a batch norm and a convolution add up."""
    size = along(abs(line.scale), x.ndim) * (abs(x) + along(abs(norm[0]), x.ndim))
    size += along(beta_of(norm), x.ndim)
    return convolve(size, abs(weight), None if bias is None else abs(bias))


def assert_close(folded, expected, size, terms):
    """Assert that two ways of adding up the same terms agree.

    Each way rounds once for a term, and not more than 10 times for scale, shift, weights and bias;
    folding sums the shifts before. `size` is the sum of the sizes of what is added up.
    """
    assert np.all(abs(folded - expected) <= (3 * terms + 20) * U * size)


def dyadic(rng, *shape):
    """Return multiples of 1/16 between -4 and 4, other than 0."""
    return rng.integers(1, 65, shape) / 16 * rng.choice([-1, 1], shape)


def rational_norm(rng, channels):
    """Return mean, gamma, beta, a bias, a rational standard deviation with eps in it, and eps."""
    mean, gamma, beta, bias = dyadic(rng, 4, channels)
    return mean, gamma, beta, bias, abs(dyadic(rng, channels)), 2.0**-10
