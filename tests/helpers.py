"""What several test files need."""

import re

import numpy as np


def whole(message):
    """Return a pattern that matches this message and no longer one."""
    return f"^{re.escape(message)}\\Z"


def laid_out(x, layout):
    """Return an equal array that lies differently in memory."""
    match layout:
        case "C":
            return np.ascontiguousarray(x)
        case "F":
            return np.asfortranarray(x)
        case "strided":
            return np.repeat(x, 2, axis=0)[::2]
        case "reversed":
            return x[::-1, :, ::-1].copy()[::-1, :, ::-1]
        case "transposed":
            return x.transpose(1, 2, 0).copy().transpose(2, 0, 1)
    raise AssertionError(layout)
