"""Batch norms as people write them, for the diagnosis: right unless their docstring says otherwise."""

import sys
import time
import warnings

import numpy as np


def plain(x, gamma, beta, eps=1e-5):
    """Parameters by position, and no inference."""
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps) + beta


# In the style of a course: a dict of settings, which also keeps the running statistics


def course_forward(x, gamma, beta, bn_param):
    """Say by a word in a dict whether to train, and keep the statistics there."""
    eps, momentum = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    mean, var = bn_param["running_mean"], bn_param["running_var"]
    if bn_param["mode"] == "test":
        return gamma * (x - mean) / np.sqrt(var + eps) + beta, None
    bn_param["running_mean"] = momentum * mean + (1 - momentum) * x.mean(axis=0)
    bn_param["running_var"] = momentum * var + (1 - momentum) * x.var(axis=0)
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, (x_hat, gamma, std)


def course_backward(dout, cache):
    """Return the gradients in a tuple."""
    x_hat, gamma, std = cache
    dgamma, dbeta = (dout * x_hat).sum(axis=0), dout.sum(axis=0)
    return gamma / std * (dout - dout.mean(axis=0) - x_hat * dgamma / len(dout)), dgamma, dbeta


# In the style of a book: statistics go in and come out


def book(X, gamma, beta, moving_mean, moving_var, eps=1e-5, momentum=0.9, training=True):  # noqa: FBT002, N803
    """Return output and new statistics; images too."""
    axes = tuple(axis for axis in range(X.ndim) if axis != 1)
    shape = (1, -1, *[1] * (X.ndim - 2))
    mean, var = moving_mean, moving_var
    if training:
        mean, var = X.mean(axis=axes), X.var(axis=axes)
        moving_mean = momentum * moving_mean + (1 - momentum) * mean
        moving_var = momentum * moving_var + (1 - momentum) * var
    x_hat = (X - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    return gamma.reshape(shape) * x_hat + beta.reshape(shape), moving_mean, moving_var


def book_infer(x, gamma, beta, moving_mean, moving_var):
    """Return the output at inference only."""
    return gamma * (x - moving_mean) / np.sqrt(moving_var + 1e-5) + beta


def functional(x, running_mean, running_var, weight=None, bias=None, mode="train"):
    """Move the statistics in place; say by a word whether to train."""
    mean, var = running_mean.copy(), running_var.copy()
    if mode == "train":
        mean, var = x.mean(axis=0), x.var(axis=0)
        running_mean += 0.1 * (mean - running_mean)
        running_var += 0.1 * (var - running_var)
    return (x - mean) / np.sqrt(var + 1e-5) * weight + bias


def with_dicts(x, params):
    """Take the parameters in a dict, and return the output in one."""
    return {"cache": None, "out": plain(x, params["gamma"], params["beta"])}


def in_a_list(x, scale, offset, *, eps):
    """Take epsilon by name, without a default, and return lists."""
    return plain(x, scale, offset, eps).tolist()


def two_in_a_list(x, gamma, beta):
    """Return a list of output and what backward would want."""
    return [plain(x, gamma, beta), x]


def masked(x, gamma, beta, where=None):
    """Count what a mask says, under which the rest may be anything."""
    where = np.ones(x.shape, bool) if where is None else where
    mean = x.mean(axis=0, where=where)
    return gamma * (x - mean) / np.sqrt(x.var(axis=0, where=where) + 1e-5) + beta


def features_first(z, gamma, beta, eps=1e-8):
    """Have the features along the rows."""
    return plain(z.T, gamma, beta, eps).T


# Classes


class Layer:
    """Say with forward whether to train; leave the gradients as attributes."""

    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        self.gamma, self.beta = np.ones((1, num_features)), np.zeros((1, num_features))
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)
        self.eps, self.momentum = eps, momentum

    def forward(self, x, training=True):  # noqa: FBT002
        mean, var = self.running_mean, self.running_var
        if training:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.running_mean + self.momentum * (mean - self.running_mean)
            self.running_var = self.running_var + self.momentum * (var - self.running_var)
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.x_hat = (x - mean) * self.inv_std
        return self.gamma * self.x_hat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.x_hat).sum(axis=0), dy.sum(axis=0)
        centred = dy - dy.mean(axis=0) - self.x_hat * self.dgamma / len(dy)
        return self.gamma * self.inv_std * centred


class Called:
    """Is called, and told by methods whether to train; its parameters are in a dict."""

    def __init__(self, num_features):
        self.params = {"gamma": np.ones(num_features), "beta": np.zeros(num_features)}
        self.moving_mean, self.moving_var = np.zeros(num_features), np.ones(num_features)
        self.batch, self.grads = True, {}

    def train(self):
        self.batch = True

    def eval(self):
        self.batch = False

    def __call__(self, x):
        mean, var = self.moving_mean, self.moving_var
        if self.batch:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.moving_mean = 0.99 * self.moving_mean + 0.01 * mean
            self.moving_var = 0.99 * self.moving_var + 0.01 * var
        return book_infer(x, self.params["gamma"], self.params["beta"], mean, var)

    def backward(self, x, grad):
        """Take the batch again, and leave the gradients of the parameters in a dict."""
        layer = Layer(x.shape[1])
        layer.gamma = self.params["gamma"]
        layer.forward(x)
        dx = layer.backward(grad)
        self.grads = {"gamma": layer.dgamma, "beta": layer.dbeta}
        return dx


class Switched:
    """Is told by an attribute whether to train, made with its parameters, and has no backward."""

    def __init__(self, gamma, beta, momentum=0.9):
        self.gamma, self.beta, self.momentum, self.mode = gamma, beta, momentum, "train"
        self.running_mean = self.running_var = None

    def forward(self, x):
        if self.mode == "test":
            return book_infer(x, self.gamma, self.beta, self.running_mean, self.running_var)
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * x.mean(axis=0)
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * x.var(axis=0)
        return plain(x, self.gamma, self.beta)


class OnlyTraining:
    """Has neither parameters nor running statistics, and returns all gradients there are."""

    training = True

    def forward(self, x):
        self.layer = Layer(x.shape[1])
        return self.layer.forward(x)

    def backward(self, dy):
        return self.layer.backward(dy), self.layer.dgamma, self.layer.dbeta


# What must be reported, and stops nothing
# ruff: noqa: ARG001


def hangs(x, gamma, beta):
    """Wrong: comes to no end."""
    while True:
        time.sleep(0.01)


def hangs_at_nan(x, gamma, beta):
    """Wrong: comes to no end with a batch that is not finite, nor with an empty one."""
    while not np.isfinite(x.sum()) or not x.size:
        time.sleep(0.01)
    return plain(x, gamma, beta)


def prints(x, gamma, beta):
    """Print and warn, and be right."""
    print("the mean is", x.mean())  # noqa: T201
    print("beware", file=sys.stderr)  # noqa: T201
    warnings.warn("beware", stacklevel=1)
    return plain(x, gamma, beta)


def in_place(x, gamma, beta):
    """Wrong: writes to its arguments."""
    x -= x.mean(axis=0)
    x *= gamma / np.sqrt(np.square(x).mean(axis=0) + 1e-5)
    x += beta
    return x


def raises(x, gamma, beta):
    """Wrong: raises."""
    raise RuntimeError("no device")


def ends(x, gamma, beta):
    """Wrong: ends the program."""
    sys.exit(3)


def flat(x, gamma, beta):
    """Wrong: has another shape."""
    return plain(x, gamma, beta).ravel()


def nameless(x, gamma, beta):
    """Wrong: has no output that is known by its name."""
    return {"result": plain(x, gamma, beta)}


class NeverMade:
    """Wrong: its constructor comes to no end."""

    def __init__(self, n):
        hangs(n, 1, 0)

    def forward(self, x):
        return x


class NoisyAndBroken:
    """Wrong: prints when it is made, and fails."""

    def __init__(self, n):
        print("making", n)  # noqa: T201
        raise RuntimeError("no device")

    def forward(self, x):
        return x


def hangs_at_inference(x, gamma, beta, running_mean, running_var):
    """Wrong: has the arguments of inference, and comes to no end."""
    return hangs(x, gamma, beta)


def functional_backward(dy, x_hat, gamma, std):
    """Take what `kept_apart` kept, one by one."""
    centred = dy - dy.mean(axis=0) - x_hat * (dy * x_hat).mean(axis=0)
    return gamma / std * centred, (dy * x_hat).sum(axis=0), dy.sum(axis=0)


def kept_apart(x, gamma, beta, eps=1e-5):
    """Return what backward wants beside the output, each for itself."""
    std = np.sqrt(x.var(axis=0) + eps)
    x_hat = (x - x.mean(axis=0)) / std
    return gamma * x_hat + beta, x_hat, std


def native(x, weight, bias, running_mean, running_var, training=True, momentum=0.1):  # noqa: FBT002
    """Move the statistics in place, and return those of the batch beside the output."""
    mean, inv_std = running_mean, 1 / np.sqrt(running_var + 1e-5)
    if training:
        mean, inv_std = x.mean(axis=0), 1 / np.sqrt(x.var(axis=0) + 1e-5)
        running_mean += momentum * (mean - running_mean)
        running_var += momentum * (x.var(axis=0) - running_var)
    return weight * (x - mean) * inv_std + bias, mean, inv_std


def short_names(x, g, b, eps=1e-3):
    """Call gamma g and beta b."""
    return plain(x, g, b, eps)


def by_mode(x, gamma, beta, mean, var, mode=True):  # noqa: FBT002
    """Be told by a truth called mode whether to train."""
    return book(x, gamma, beta, mean, var, training=mode)


class Plain:
    """Has no numbers per channel, and is made for vectors."""

    def __call__(self, x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)


def identity(x):
    """Wrong: does nothing."""
    return x + 0.0


def detached_backward(dout, cache):
    """Wrong: takes the statistics for constants, and returns the gradient of x only."""
    _, gamma, std = cache
    return (dout * gamma / std,)
