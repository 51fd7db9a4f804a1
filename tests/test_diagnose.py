"""The laws of the diagnosis: what is right is left alone, and what is wrong is caught and named."""

import numpy as np
import pytest

import refbn
from refbn import diagnose
from refbn.diagnose.laws import LAWS
from refbn.diagnose.layout import Layout
from refbn.diagnose.museum import (
    EXHIBITS,
    EpsilonForgotten,
    EpsilonOutside,
    MomentumReversed,
    Right,
    UnbiasedNormalises,
)

RIGHT = {"refbn": refbn.BatchNorm, "NumPy": Right}


def verdicts(report, *which):
    """Return the names of the laws with one of some verdicts."""
    return {finding.law for finding in report.findings if finding.verdict in which}


# The right ones


@pytest.mark.parametrize("name", RIGHT)
def test_no_right_one_is_caught(name):
    """A right batch norm breaks no law, is told to be careful of nothing, and has no mistake."""
    report = diagnose.check(RIGHT[name], like="PyTorch")
    assert verdicts(report, "broken", "caution") == set()
    assert report.mistakes == ()
    assert report.exit_status == 0
    assert verdicts(report, "untried") <= {"workers"}


def float32(eps, decay, ddof, channel_axis):
    """Return a right batch norm that computes in float32."""

    class InSingle(Right):
        layouts = tuple(Layout(rank, channel_axis) for rank in (2, 3, 4, 5))

        def precise(self, x):
            return x.astype(np.float32)

    for name, value in locals().items():
        if name in {"eps", "decay", "ddof", "channel_axis"}:
            setattr(InSingle, name, value)
    return InSingle


@pytest.mark.parametrize("channel_axis", [1, -1])
@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(("eps", "decay"), [(1e-8, 0.9), (1e-5, 0.999), (1e-3, 0.99), (0.1, 0.5)])
def test_single_precision_breaks_no_law(eps, decay, ddof, channel_axis):
    """The rounding of float32 is not taken for a mistake, in any layout and convention."""
    report = diagnose.check(float32(eps, decay, ddof, channel_axis))
    assert verdicts(report, "broken", "caution") == set()
    assert (report.found.eps, report.found.decay) == (eps, decay)
    assert (report.found.stored_ddof, report.found.infer_eps) == (ddof, eps)


class StatisticsInSingle(Right):
    """Keeps the running statistics in float32, beside outputs in float64."""

    def mix(self, old, new):
        return super().mix(old, new).astype(np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        {"decay": 1 - 1 / 128},
        {"decay": 2 / 3},
        {"decay": 0.98765},
        {"eps": 0.12345},
        {"eps": 1e-12},
        {"channels": 512},
    ],
    ids=str,
)
@pytest.mark.parametrize("right", [Right, StatisticsInSingle])
def test_odd_settings_break_no_law(right, settings):
    """Numbers of many digits, and many channels, are not taken for mistakes."""
    report = diagnose.check(type("Odd", (right,), settings))
    assert verdicts(report, "broken", "caution") == set()
    for name in settings.keys() - {"channels"}:
        assert getattr(report.found, name) == pytest.approx(settings[name], rel=1e-5)


def test_a_number_of_channels_is_kept():
    """What was made for five channels is tried with five."""

    class OfFive(Right):
        channels = 5

        def train(self, x):
            assert x.shape[1] == 5
            return super().train(x)

    assert diagnose.check(OfFive).exit_status == 0


# The wrong ones


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_each_exhibit_is_caught_by_its_law_and_named(exhibit):
    """A wrong batch norm breaks the law that the museum names, and is recognised, alone."""
    report = diagnose.check(exhibit.wrong, like="PyTorch")
    assert exhibit.law in verdicts(report, "broken", "caution")
    assert [mistake.name for mistake in report.mistakes if mistake.sure] == [exhibit.name]
    caution = next(law for law in LAWS if law.name == exhibit.law).caution
    assert report.exit_status == (not caution)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_an_exhibit_is_named_in_another_convention(exhibit):
    """A mistake is recognised whatever epsilon, decay and layout it comes with."""
    own = vars(exhibit.wrong)  # what an exhibit sets is its mistake
    settings = {"eps": 1e-3, "decay": 0.99, "channel_axis": -1, "layouts": (Layout(4, -1),)}
    other = type("Other", (exhibit.wrong,), {k: v for k, v in settings.items() if k not in own})
    report = diagnose.check(other, like="PyTorch" if exhibit.law == "convention" else None)
    assert exhibit.name in [mistake.name for mistake in report.mistakes if mistake.sure]


def test_two_mistakes_are_both_named():
    """Who made two mistakes is told both."""

    class Both(EpsilonOutside, MomentumReversed):
        pass

    names = {mistake.name for mistake in diagnose.check(Both).mistakes if mistake.sure}
    assert names == {"epsilon-outside", "momentum-reversed"}


def test_an_epsilon_that_inference_forgets_is_seen():
    """Inference without epsilon breaks a law, although nothing of it shows with usual variances."""

    class Forgets(Right):
        def infer(self, x):
            mean, var = (self.per_channel(x, v) for v in (self.running_mean, self.running_var))
            return self.per_channel(x, self.gamma) * (x - mean) / np.sqrt(var) + self.per_channel(
                x, self.beta
            )

    report = diagnose.check(Forgets)
    assert verdicts(report, "broken") == {"same-epsilon", "folding"}
    assert report.found.infer_eps == 0
    said = " ".join(str(report).split())
    assert "Most likely: Inference adds another epsilon than training did." in said


# Wrong in ways of which the museum has none, one for each law that no exhibit is for
class Integers(Right):
    def train(self, x):
        return super().train(x).astype(int)


class Overwrites(Right):
    def train(self, x):
        y = super().train(x)
        x[...] = y
        return y


class OverwritesGradient(Right):
    def backward(self, dy):
        gradients = super().backward(dy)
        dy[...] = 0
        return gradients


class OverwritesGamma(Right):
    def train(self, x):
        y = super().train(x)
        self.start.gamma[...] = 0
        return y


class Random(Right):
    generator = np.random.default_rng(2015)

    def train(self, x):
        return super().train(x) * self.generator.normal(1, 1e-9)


class OffCentre(Right):
    def normalize(self, x, mean, var):
        return super().normalize(x, mean + 0.1 * np.sqrt(var), var)


class GammaAddedToOne(Right):
    def normalize(self, x, mean, var):
        y = super().normalize(x, mean, var)
        return y + (y - self.per_channel(x, self.beta)) * (self.per_channel(x, self.gamma) != 1)


class ConstantToZero(Right):
    def normalize(self, x, mean, var):
        return np.where(var == 0, 0, super().normalize(x, mean, var))


class NanEverywhere(Right):
    def normalize(self, x, mean, var):
        return super().normalize(x, mean, var) + 0 * mean.sum()


class MeanGradientOfBeta(Right):
    def backward(self, dy):
        dx, dgamma, dbeta = super().backward(dy)
        return dx, dgamma, dbeta / self.count(dy)


class OutputForNormal(Right):
    def backward(self, dy):
        dx, _, dbeta = super().backward(dy)
        x_hat = self.cache[1]
        y = self.per_channel(dy, self.gamma) * x_hat + self.per_channel(dy, self.beta)
        return dx, self.sum(dy * y), dbeta


class GammaTwice(Right):
    def backward(self, dy):
        dx, dgamma, dbeta = super().backward(dy)
        return dx, dgamma * self.gamma, dbeta * self.gamma


class OneGamma(Right):
    def backward(self, dy):
        _, dgamma, dbeta = super().backward(dy)
        _, x_hat, inv_std = self.cache
        return self.gamma.mean() * inv_std * self.centred(dy, x_hat), dgamma, dbeta


class Accumulates(Right):
    total = 0.0

    def backward(self, dy):
        dx, dgamma, dbeta = super().backward(dy)
        self.total = self.total + dgamma
        return dx, self.total, dbeta


class StuckInEvaluation(Right):
    stuck = False

    def infer(self, x):
        self.stuck = True
        return super().infer(x)

    def train(self, x):
        y = super().train(x)
        return super().infer(x) if self.stuck else y


class CountsExamples(Right):
    def stored(self, x, var):
        return var * len(x) / (len(x) - 1)


class VarianceOfPixels(Right):
    layouts = (Layout(4, 1),)

    def stored(self, x, var):  # noqa: ARG002
        pixels = x.var(axis=0, keepdims=True)
        return super().stored(x, pixels.mean(axis=(2, 3), keepdims=True))


class OneMean(Right):
    def update(self, x, mean, var):
        super().update(x, np.full(mean.shape, x.mean()) if x.size else mean, var)


class ReversedChannels(Right):
    def statistics(self):
        return self.running_mean[::-1], self.running_var


class SumOfBatches(Right):
    def mix(self, old, new):
        return old + new.ravel()


class BetaForgotten(Right):
    def infer(self, x):
        return super().infer(x) - self.per_channel(x, self.beta)


class InfersFromTheStart(Right):
    def infer(self, x):
        mean, var = (self.per_channel(x, value) for value in (self.start.mean, self.start.var))
        return self.normalize(x, mean, var)


class EmptyCounts(Right):
    def update(self, x, mean, var):
        if x.size:
            super().update(x, mean, var)

    def train(self, x):
        if not x.size:
            self.running_mean = 0.9 * self.running_mean
            self.running_var = 0.9 * self.running_var
        return super().train(x)


class EpsilonOfItsOwn(Right):
    def inv_std(self, var):
        return (var**2 + self.eps**2) ** -0.25


class InfersBeta(Right):
    def infer(self, x):
        return 0 * x + self.per_channel(x, self.beta)


SABOTEURS = {
    "shape": [Integers],
    "arguments": [Overwrites, OverwritesGradient, OverwritesGamma],
    "repeated": [Random],
    "centre": [OffCentre],
    "parameters": [GammaAddedToOne],
    "constant": [ConstantToZero],
    "not-a-number": [NanEverywhere],
    "training": [StuckInEvaluation],
    "gradient-of-beta": [MeanGradientOfBeta, GammaTwice],
    "gradient-of-gamma": [OutputForNormal, GammaTwice],
    "gradient": [OneGamma],
    "last-batch": [Accumulates],
    "average": [SumOfBatches, OneMean, ReversedChannels],
    "stored-variance": [CountsExamples, VarianceOfPixels],
    "epsilon": [EpsilonOfItsOwn],
    "inference": [BetaForgotten, InfersBeta],
    "after-training": [InfersFromTheStart],
    "empty-batch": [EmptyCounts],
}


@pytest.mark.parametrize(
    ("law", "wrong"), [(law, wrong) for law, several in SABOTEURS.items() for wrong in several]
)
def test_each_law_can_be_broken(law, wrong):
    """A law without an exhibit is broken by what was written to break it."""
    report = diagnose.check(wrong)
    (finding,) = (finding for finding in report.findings if finding.law == law)
    assert finding.verdict in {"broken", "caution"}
    assert finding.got is not None, finding.remark  # it gave something wrong, and did not raise


def near(method, factor):
    """Return a batch norm of which one result is off by a small factor."""

    def off(self, x):
        result = getattr(Right, method)(self, x)
        return (result[0] * factor, *result[1:]) if isinstance(result, tuple) else result * factor

    return type("Near", (Right,), {method: off})


@pytest.mark.parametrize(
    ("method", "factor", "law"),
    [
        ("backward", 1 + 1e-4, "gradient"),
        ("infer", 1 + 1e-3, "inference"),
        ("infer", 1 + 1e-2, "after-training"),
        ("train", 1 + 1e-4, "spread"),
    ],
)
def test_a_small_error_is_seen(method, factor, law):
    """The laws look for mistakes, and still see an error of a hundredth of a per cent or so."""
    assert law in verdicts(diagnose.check(near(method, factor)), "broken")


def gradients(right, x, finding):
    """Return the gradients as tables."""
    right.train(x)
    dx, dgamma, dbeta = right.backward(finding.layout.array(finding.given["dy"]))
    return finding.layout.table(dx), dgamma, dbeta


def moved(right, x):
    """Return the running statistics after a batch."""
    right.train(x)
    return right.statistics()


def trained(right, x, finding):
    """Return the output in training as a table."""
    return finding.layout.table(right.train(x))


# What a right batch norm gives, by law; what other laws give is no output of one
DUE = dict.fromkeys(
    ("half-precision", "spread", "units", "epsilon", "offset", "training", "constant"), trained
) | {
    "alone": lambda right, x, finding: finding.layout.table(right.infer(x))[:1],
    "gradient": lambda *given: gradients(*given)[0],
    "gradient-along-ones": lambda *given: gradients(*given)[0],
    "gradient-along-x": lambda *given: gradients(*given)[0],
    "gradient-of-gamma": lambda *given: gradients(*given)[1],
    "memory": lambda right, x, _: moved(right, x)[0],
    "stored-variance": lambda right, x, _: moved(right, x)[1],
}
JUDGED = [
    exhibit
    for exhibit in EXHIBITS
    if exhibit.law in DUE and exhibit.name != "debiased-from-one"  # it has another average
]


@pytest.mark.parametrize("exhibit", JUDGED, ids=lambda exhibit: exhibit.name)
def test_what_is_due_is_what_a_right_one_gives(exhibit):
    """In the smallest example, what is due is what `Right` gives of the same input."""
    report = diagnose.check(exhibit.wrong, like="PyTorch")
    finding = next(finding for finding in report.findings if finding.law == exhibit.law)
    given = {"gamma": 1.0, "beta": 0.0, "running_mean": 0.0, "running_var": 1.0} | finding.given
    x = finding.layout.array(np.asarray(given["x"], float))
    axis = {"channel_axis": finding.layout.channel_axis}
    names = ("gamma", "beta", "running_mean", "running_var")
    start = (np.resize(given[n], x.shape[axis["channel_axis"]]).astype(float) for n in names)
    right = type("Same", (Right,), axis)(diagnose.Start(*start))
    due = DUE[exhibit.law](right, x, finding)
    # epsilon is inferred of what is wrong; central differences have six digits
    assert finding.due == pytest.approx(due, rel=2e-3, abs=1e-5)


def test_each_law_has_somebody_who_breaks_it():
    """The exhibits and the others break all laws."""
    assert {exhibit.law for exhibit in EXHIBITS} | SABOTEURS.keys() == {law.name for law in LAWS}


def test_the_museum_is_large():
    """There are at least the sixteen wrong batch norms that were asked for, each once."""
    assert len({exhibit.name for exhibit in EXHIBITS}) == len(EXHIBITS) >= 16


# Conventions


@pytest.mark.parametrize("eps", [1e-8, 1e-5, 1e-3, 0.1])
@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize(
    ("update", "decay"),
    [
        (refbn.exponential_average, 0.9),
        (refbn.exponential_average, 0.9997),
        (refbn.exponential_average, 0.5),
        (refbn.debiased_exponential_average, 0.99),
        (refbn.cumulative_average, None),
    ],
)
def test_the_convention_is_read_off_the_behaviour(eps, ddof, update, decay):
    """Whatever a layer is made with is found again, from what comes out of it."""
    rule = {"decay": decay} if decay else {}
    report = diagnose.check(refbn.BatchNorm, eps=eps, update=update, ddof=ddof, **rule)
    found = report.found
    assert (found.eps, found.place, found.ddof, found.infer_eps) == (eps, "inside", 0, eps)
    assert found.average == update.__name__.removesuffix("_average").replace("_", " ")
    assert (found.decay, found.stored_ddof) == (decay, ddof)


class Pooled(Right):
    """Weighs each batch by its number of values."""

    count_of_all = 0

    def update(self, x, mean, var):
        self.weight = self.count(x) / (self.count_of_all + self.count(x))
        self.count_of_all += self.count(x)
        super().update(x, mean, var)

    def mix(self, old, new):
        return old + self.weight * (new.ravel() - old)


@pytest.mark.parametrize(
    ("wrong", "name", "value"),
    [
        (Pooled, "average", "pooled"),
        (SumOfBatches, "average", None),
        (EpsilonOutside, "place", "outside"),
        (EpsilonOutside, "eps", 1e-5),
        (EpsilonOfItsOwn, "eps", None),
        (InfersBeta, "infer_eps", None),
    ],
)
def test_other_conventions_are_read_too(wrong, name, value):
    """An average over values, an average that is none, and an epsilon elsewhere are told apart."""
    assert getattr(diagnose.check(wrong).found, name) == value


@pytest.mark.parametrize("like", ["PyTorch", "pytorch", "PYTORCH", refbn.conventions.PYTORCH])
def test_a_convention_can_be_named(like):
    """A framework is known by either of its names, and may be given as it is."""
    report = diagnose.check(refbn.BatchNorm, like=like)
    assert "convention" in verdicts(report, "kept")
    assert "PyTorch" in report.matches


def test_all_that_differs_from_a_named_convention_is_said():
    """Each difference from the framework stands in the report, with both values."""
    report = diagnose.check(refbn.BatchNorm, decay=0.5, eps=1e-4, like="Keras", channel_axis=-1)
    finding = next(finding for finding in report.findings if finding.law == "convention")
    assert finding.remark == (
        "Eps is 0.0001, Keras has 0.001; decay is 0.5, Keras has 0.99; "
        "the stored variance is unbiased, Keras has biased."
    )
    assert finding.remark in " ".join(str(report).split())


def test_no_epsilon_is_read_as_none():
    """Who adds nothing has no epsilon, and the defaults of nobody."""
    report = diagnose.check(EpsilonForgotten)
    assert (report.found.eps, report.matches) == (0, ())
    assert "epsilon          none" in str(report)
    assert "epsilon" in verdicts(report, "untried")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (EpsilonOutside, "Eps stands outside the root, PyTorch has it inside the root"),
        (UnbiasedNormalises, "The variance that normalises is unbiased, PyTorch has biased"),
    ],
)
def test_another_way_to_normalise_is_no_frameworks_default(wrong, says):
    """The place of epsilon and the variance that normalises are of the convention too."""
    report = diagnose.check(wrong, like="PyTorch")
    finding = next(finding for finding in report.findings if finding.law == "convention")
    assert says in finding.remark
    assert "PyTorch" not in report.matches


def test_an_unknown_convention_is_refused():
    """Who names no convention is told which there are."""
    said = "like must be the name of a convention; got 'Torch'. Known: PyTorch, "
    with pytest.raises(ValueError, match=said):
        diagnose.check(Right, like="Torch")
