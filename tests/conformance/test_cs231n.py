"""The numbers that the notebooks of Stanford's course CS231n print.

The notebooks are BatchNormalization.ipynb and, for images, ConvolutionalNetworks.ipynb of the second
assignment (https://cs231n.github.io, MIT). The numbers are quoted from executed copies of several
years, which agree; what the cells do is done here in our own words.

Numbers are printed with eight digits, and all eight must be there: texts are compared, not values.
Means of what was just normalised with beta 0 are left out, as they are rounding errors. Of
gradients the notebooks say to expect relative errors up to 1e-8, and up to 1e-6 for images: their
central differences have a step of 1e-5, and the derivatives of images are small.
"""

import numpy as np
import pytest

from refbn import batch_norm_backward, batch_norm_train, layer_norm
from refbn.conventions import CS231N
from refbn.gradcheck import central_difference

ROWS, IMAGES = 0, (0, 2, 3)  # the axes that are reduced
passed = []


def activations(random, n):
    """Return what two layers without batch norm make of random samples."""
    x, first, second = random.randn(n, 50), random.randn(50, 60), random.randn(60, 3)
    return np.maximum(0, x @ first) @ second


def normalised(x, gamma, beta):
    """Return a batch normalised in training."""
    return batch_norm_train(x, np.array(gamma, float), np.array(beta, float))[0]


def after_fifty_batches(batch, channels):
    """Return one more batch, normalised with the running statistics of fifty."""
    layer = CS231N.layer(channels)
    for _ in range(50):
        layer(batch())
    return layer.eval()(batch())


def samples_at_test_time(random):
    """Return activations at test time; here the weights are drawn before all samples."""
    first, second = random.randn(50, 60), random.randn(60, 3)
    return after_fifty_batches(lambda: np.maximum(0, random.randn(200, 50) @ first) @ second, 3)


def images(random, *shape):
    """Return a batch of images of noise."""
    return 4 * random.randn(*shape) + 10


CELLS = {
    "before": (
        lambda random: activations(random, 200),
        ROWS,
        "[ -2.3814598  -13.18038246   1.91780462]",
        "[27.18502186 34.21455511 37.68611762]",
    ),
    "after": (
        lambda random: normalised(activations(random, 200), [1, 1, 1], [0, 0, 0]),
        ROWS,
        None,
        "[0.99999999 1.         1.        ]",
    ),
    "with gamma and beta": (
        lambda random: normalised(activations(random, 200), [1, 2, 3], [11, 12, 13]),
        ROWS,
        "[11. 12. 13.]",
        "[0.99999999 1.99999999 2.99999999]",
    ),
    "test time": (
        samples_at_test_time,
        ROWS,
        "[-0.03927354 -0.04349152 -0.10452688]",
        "[1.01531428 1.01238373 0.97819988]",
    ),
    "images before": (
        lambda random: images(random, 2, 3, 4, 5),
        IMAGES,
        "[9.33463814 8.90909116 9.11056338]",
        "[3.61447857 3.19347686 3.5168142 ]",
    ),
    "images after": (
        lambda random: normalised(images(random, 2, 3, 4, 5), [1, 1, 1], [0, 0, 0]),
        IMAGES,
        None,
        "[0.99999962 0.99999951 0.9999996 ]",
    ),
    "images with gamma and beta": (
        lambda random: normalised(images(random, 2, 3, 4, 5), [3, 4, 5], [6, 7, 8]),
        IMAGES,
        "[6. 7. 8.]",
        "[2.99999885 3.99999804 4.99999798]",
    ),
    "images at test time": (
        lambda random: after_fifty_batches(lambda: 2.3 * random.randn(10, 4, 11, 12) + 13, 4),
        IMAGES,
        "[-0.08034406  0.07562881  0.05716371  0.04378383]",
        "[0.96718744 1.0299714  1.02887624 1.00585577]",
    ),
    "layer norm before": (
        lambda random: activations(random, 4),
        1,
        "[-59.06673243 -47.60782686 -43.31137368 -26.40991744]",
        "[10.07429373 28.39478981 35.28360729  4.01831507]",
    ),
    "layer norm after": (
        lambda random: layer_norm(activations(random, 4))[0],
        1,
        None,
        "[0.99999995 0.99999999 1.         0.99999969]",
    ),
    "layer norm with gamma and beta": (
        lambda random: layer_norm(activations(random, 4), np.full(3, 3.0), np.full(3, 5.0))[0],
        1,
        "[5. 5. 5. 5.]",
        "[2.99999985 2.99999998 2.99999999 2.99999907]",
    ),
}
GRADIENTS = {(4, 5): 1e-8, (2, 3, 4, 5): 1e-6}  # the largest error to expect, by the shape of x


@pytest.mark.parametrize("cell", CELLS)
def test_printed_numbers(cell):
    """refbn's means and standard deviations print as in the notebook, to the last digit."""
    values, axis, means, stds = CELLS[cell]
    result = values(np.random.RandomState(231))  # the notebook's own
    assert str(result.std(axis)) == stds
    assert means in {None, str(result.mean(axis))}
    passed.append(cell)


@pytest.mark.parametrize("shape", GRADIENTS)
def test_gradients(shape):
    """The numerical gradients of the notebook are refbn's, as nearly as the notebook expects."""
    random = np.random.RandomState(231)
    inputs = 5 * random.randn(*shape) + 12, random.randn(shape[1]), random.randn(shape[1])
    dy = random.randn(*shape)
    gradients = batch_norm_backward(dy, batch_norm_train(*inputs)[1])
    for i, gradient in enumerate(gradients):
        numerical = [
            np.sum(dy * central_difference(forward_of(i, inputs), [inputs[i]], [unit], 1e-5))
            for unit in units(inputs[i].shape)
        ]
        assert relative_error(np.reshape(numerical, gradient.shape), gradient) <= GRADIENTS[shape]
    passed.append(shape)


def forward_of(i, inputs):
    """Return the forward pass as a function of one of its inputs."""
    return lambda value: batch_norm_train(*inputs[:i], value, *inputs[i + 1 :])[0]


def units(shape):
    """Return the arrays of a shape that are 1 at one place and 0 at all others."""
    size = int(np.prod(shape))
    return np.eye(size).reshape(size, *shape)


def relative_error(a, b):
    """Return the largest relative error, as the notebook defines it."""
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def test_results(record):
    """Every number is refbn's too."""
    record(
        "CS231n notebook",
        "CS231N",
        suite=True,
        passed=len(passed),
        of=len(CELLS) + len(GRADIENTS),
        says="The printed means and standard deviations of BatchNormalization.ipynb and, for "
        "images, of ConvolutionalNetworks.ipynb to all eight digits, and their gradient checks.",
    )
    assert passed == [*CELLS, *GRADIENTS]
