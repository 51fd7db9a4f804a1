"""What a rank sends in a reduction, going forward and going back."""

import pickle

import numpy as np

from refbn import Moments
from refbn.exchange import Part
from refbn.sync import _Sums

CHANNELS = 64, 256, 2048  # of the layers that are timed: the narrowest and the widest of ResNet-50


def parts(channels):
    """Return the part with the moments of a shard, and the one with its two sums."""
    x = np.random.default_rng(2015).normal(3.0, 2.0, (8, channels))
    moments, sums = Moments.of(x, axis=0), _Sums(x.sum(axis=0), (x * x).sum(axis=0), x.size)
    forward = {"call": "sync_batch_norm_train", "number of channels": channels}
    forward |= {"dtype": "float32", "eps": 1e-5}
    told = "1048576 values (checksum 01234567)"
    backward = {"call": "sync_batch_norm_backward", "moments in the forward pass": told}
    return {"forward": Part(0, forward, moments), "backward": Part(0, backward, sums)}


def size(part):
    """Return the bytes of a part as mpi4py pickles it."""
    return len(pickle.dumps(part, pickle.HIGHEST_PROTOCOL))
