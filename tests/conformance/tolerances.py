"""How far refbn and a framework may be apart, in one place."""

# The batches have means and deviations near 1. What comes out of them, gradients and statistics
# too, is below 16, where a unit in the last place is at most eight times the eps of the dtype. Both
# sides round a few times, and sum tens of values: eight units are room enough. float16 and
# bfloat16 are tried on outputs below 4, and rounded once, at the end: one unit on each side.
UNITS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
TOLERANCES = {
    "float64": 64 * UNITS["float64"],
    "float32": 64 * UNITS["float32"],
    "float16": 4 * UNITS["float16"],
    "bfloat16": 4 * UNITS["bfloat16"],
}

# Of what is said to differ, more than a thousand such tolerances. Rounding does not look like that.
FAR = 1000
