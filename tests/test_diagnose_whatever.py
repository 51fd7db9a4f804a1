"""What can be diagnosed, in which words, and what stops no diagnosis."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import batch_norms
import numpy as np
import pytest

import refbn
from refbn import diagnose
from refbn.diagnose import __main__ as command
from refbn.diagnose.calls import call
from refbn.diagnose.museum import BadBatchStored, MomentumReversed, Right, RootForgotten
from refbn.diagnose.roles import fit
from refbn.diagnose.testing import laws

HERE = Path(__file__).parent
COURSE = {"backward": batch_norms.course_backward}


def broken(report):
    """Return the names of the laws that are broken."""
    return {finding.law for finding in report.findings if finding.verdict == "broken"}


def text(report):
    """Return a report without its line breaks."""
    return " ".join(str(report).split())


def verdict(report, law):
    """Return the verdict on a law."""
    return next(finding.verdict for finding in report.findings if finding.law == law)


def remark(report, law):
    """Return what is said of a law."""
    return next(finding.remark for finding in report.findings if finding.law == law)


# What is right, in many styles


NO_TRAINING, NO_INFERENCE, NO_BACKWARD, NO_STATISTICS = (
    f"It has no {part}."
    for part in (
        "forward pass in training", "forward pass at inference", "backward pass",
        "running statistics",
    )
)  # fmt: skip


NEITHER = {NO_INFERENCE, NO_BACKWARD, NO_STATISTICS}


@pytest.mark.parametrize(
    ("name", "how", "lacking", "eps", "decay"),
    [
        ("plain", {}, NEITHER, 1e-5, None),
        ("plain", {"infer": batch_norms.book_infer}, {NO_BACKWARD, NO_STATISTICS}, 1e-5, None),
        (
            "kept_apart",
            {"backward": batch_norms.functional_backward},
            NEITHER - {NO_BACKWARD},
            1e-5,
            None,
        ),
        ("course_forward", COURSE, set(), 1e-5, 0.9),
        ("book", {}, {NO_BACKWARD}, 1e-5, 0.9),
        ("book", {"momentum": 0.5, "eps": 1e-2}, {NO_BACKWARD}, 1e-2, 0.5),
        ("book_infer", {}, {NO_TRAINING}, None, None),
        ("functional", {}, {NO_BACKWARD}, 1e-5, 0.9),
        ("native", {}, {NO_BACKWARD}, 1e-5, 0.9),
        ("by_mode", {}, {NO_BACKWARD}, 1e-5, 0.9),
        ("short_names", {}, NEITHER, 1e-3, None),
        ("with_dicts", {}, NEITHER, 1e-5, None),
        ("in_a_list", {"eps": 1e-3}, NEITHER, 1e-3, None),
        ("two_in_a_list", {}, NEITHER, 1e-5, None),
        ("masked", {}, NEITHER, 1e-5, None),
        ("features_first", {"channel_axis": 0, "rank": 2}, NEITHER, 1e-8, None),
        ("prints", {}, NEITHER, 1e-5, None),
        ("Layer", {"momentum": 0.01}, set(), 1e-5, 0.99),
        ("Called", {}, set(), 1e-5, 0.99),
        ("Switched", {}, {NO_BACKWARD}, 1e-5, 0.9),
        ("OnlyTraining", {}, set(), 1e-5, None),
        ("Plain", {}, {NO_BACKWARD}, 1e-5, None),
    ],
)
def test_it_is_understood_however_it_is_written(name, how, lacking, eps, decay):
    """Right ones in many styles break no law; what they can do, and their numbers, are found."""
    report = diagnose.check(getattr(batch_norms, name), **how)
    assert broken(report) == set()
    untried = {finding.remark for finding in report.findings if finding.verdict == "untried"}
    assert untried & {NO_TRAINING, *NEITHER} == lacking
    assert (report.found.eps, report.found.decay) == (eps, decay)


def test_a_mask_is_tried_where_there_is_one():
    """A function that takes a mask keeps the law of masks."""
    report = diagnose.check(batch_norms.masked)
    assert verdict(report, "mask") == "kept"


def test_an_object_is_copied():
    """An object is diagnosed as its class is, with its channels, and stays as it was."""
    layer = batch_norms.Layer(5, eps=1e-2)
    report = diagnose.check(layer)
    assert broken(report) == set()
    assert report.found.eps == 1e-2
    assert (layer.running_mean == 0).all()
    assert not hasattr(layer, "x_hat")


class WrongWay(batch_norms.Layer):
    """Has a decay of 0.1, as who takes its word for another's."""

    def __init__(self, num_features):
        super().__init__(num_features, momentum=0.9)


@pytest.mark.parametrize(
    ("thing", "how", "name"),
    [
        (
            batch_norms.course_forward,
            {"backward": batch_norms.detached_backward},
            "statistics-detached",
        ),
        (WrongWay, {}, "momentum-reversed"),
        (WrongWay(3), {}, "momentum-reversed"),
        (functools.partial(batch_norms.book, momentum=0.1), {}, "momentum-reversed"),
    ],
)
def test_a_mistake_is_named_in_any_style(thing, how, name):
    """A mistake is recognised in a function, a class, an object and a partial function."""
    report = diagnose.check(thing, **how)
    explained = [m.name for m in report.mistakes if m.sure and broken(report) & set(m.laws)]
    assert explained == [name]


# What stops no diagnosis


@pytest.mark.parametrize(
    ("name", "law", "says"),
    [
        ("hangs", "shape", "It came to no end within 1 s."),
        ("hangs_at_nan", "not-a-number", "It came to no end within 1 s."),
        ("hangs_at_inference", "shape", "It came to no end within 1 s."),
        ("NeverMade", "shape", "It came to no end within 1 s."),
        ("NoisyAndBroken", "shape", "RuntimeError: no device"),
        ("in_place", "arguments", "It writes to x."),
        ("raises", "shape", "RuntimeError: no device"),
        ("ends", "shape", "SystemExit: 3"),
        ("flat", "shape", "it has (18,)."),
        (
            "nameless",
            "shape",
            "the output in a dict must have one of the names ['y', 'out', 'output', 'outputs']; it "
            "has the keys ['result']. Return the output alone, or first in a tuple.",
        ),
        ("identity", "units", "Four times as large, it gives another output."),
    ],
)
def test_what_it_does_is_reported(name, law, says):
    """Who hangs, writes to arguments, raises, ends or returns something else is told so."""
    report = diagnose.check(getattr(batch_norms, name), seconds=1)
    assert report.exit_status == 1
    assert law in broken(report)
    assert says in remark(report, law)
    assert " ".join(says.split()) in text(report)


def test_who_never_ends_is_not_waited_for_again_and_again():
    """After two laws in vain, the others are not tried; those that were, keep their verdicts."""

    class Hangs(Right):
        def infer(self, x):
            return batch_norms.hangs(x, 1, 0)

    report = diagnose.check(Hangs, seconds=1)
    late = [finding for finding in report.findings if "no end within 1 s" in finding.remark]
    assert len(late) == 2
    assert verdict(report, "shape") == "kept"
    assert remark(report, "workers") == "Others came to no end."


def test_an_average_that_could_not_be_read_is_not_judged():
    """Who raises, or comes to no end, where the average is read off, is not told of a wrong one."""

    class Refuses(Right):
        def train(self, x):
            if x.shape == (4, 1):
                raise RuntimeError("four")
            return super().train(x)

    report = diagnose.check(Refuses)
    assert remark(report, "average") == "It has no average that could be read off."
    assert report.found.unread == ("average",)


@pytest.mark.parametrize(
    ("gradients", "says", "of_gamma"),
    [
        (lambda dx, dgamma, dbeta: {"dx": dx, "dgamma": dgamma, "dbeta": dbeta}, "", ""),
        (lambda dx, *_: dx, "", "It has no gradient of gamma."),
        (
            lambda dx, dgamma, _: (dx, dgamma),
            *["backward must return dx, dgamma and dbeta in this order, or dx alone; it returned 2"]
            * 2,
        ),
        (lambda dx, dgamma, dbeta: (dx[:1], dgamma, dbeta), *["of the batch; it has (1, 1)."] * 2),
        (lambda dx, dgamma, dbeta: (dx, dgamma[:0], dbeta), "", "one number per channel in it"),
    ],
)
def test_gradients_may_come_in_several_ways(gradients, says, of_gamma):
    """Three in a tuple or a dict, or that of x alone; two, or other shapes, are reported."""

    def backward(dout, cache):
        return gradients(*batch_norms.course_backward(dout, cache))

    report = diagnose.check(batch_norms.course_forward, backward=backward)
    for law, said in [("gradient-along-ones", says), ("gradient-of-gamma", of_gamma)]:
        assert said in remark(report, law)
        assert bool(said) == bool(remark(report, law))


def test_what_is_printed_is_kept_from_the_terminal(capfd):
    """What a batch norm prints, and warns of, stands in the report alone."""
    report = diagnose.check(batch_norms.prints)
    assert report.printed.startswith("the mean is")
    assert "beware" in report.printed
    assert "It printed 'the mean is" in str(report)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_sure_of_what_is_none():
    """What breaks nearly all laws has no mistake that is most likely."""
    assert not any(mistake.sure for mistake in diagnose.check(batch_norms.identity).mistakes)


# What cannot be tried


@pytest.mark.parametrize(
    ("thing", "how", "says"),
    [
        (
            3,
            {},
            "what is diagnosed must be a function, a class or an object with a method forward, a "
            "torch module, a Keras layer, the path of an ONNX file, or a class derived from "
            "refbn.diagnose.Subject; got int. Derive such a class: it takes a dozen lines.",
        ),
        (
            batch_norms.in_a_list,
            {},
            "in_a_list must have arguments that are known by their names, or have defaults; ['eps'] "
            "are neither. Say what they are, as in eps=1e-5 (on the command line --with eps=1e-5), "
            "or wrap the function in one of x, gamma, beta, running_mean, running_var and training.",
        ),
        (
            batch_norms.plain,
            {"mu": 0.9},
            "plain must take the words that are given for it; it does not take ['mu']. It takes "
            "['x', 'gamma', 'beta', 'eps'].",
        ),
        (
            batch_norms.Layer(3),
            {"eps": 1},
            "an object must be given as it is; got ['eps'] beside it. Give its class with these "
            "words, or make the object with them.",
        ),
        (batch_norms.Layer, {"width": 1}, "unexpected keyword argument 'width'"),
        (
            dict,
            {},
            "a class must have a method forward, or be written to be called; dict is neither. Derive "
            "a class from refbn.diagnose.Subject that uses it.",
        ),
    ],
)
def test_who_cannot_be_tried_is_told_why(thing, how, says):
    """What is not understood is refused before anything is tried, with what to do."""
    with pytest.raises(TypeError) as refused:
        diagnose.check(thing, **how)
    assert says in str(refused.value)


def test_a_subject_takes_no_words():
    """What a subject takes is said by its attributes."""
    with pytest.raises(TypeError) as refused:
        diagnose.check(Right, rank=2)
    assert str(refused.value) == (
        "a Subject says itself what it takes; got ['rank']. Set them as its attributes: layouts, "
        "channels and parameters."
    )


def with_two_shifts(x, gamma, beta, bias):
    """Wrong: has two arguments for one thing."""
    return batch_norms.plain(x, gamma, beta + bias)


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        (
            {"rank": 1},
            ValueError,
            "a batch must have two axes or more, and one of them the channels; got rank 1 with "
            "channel_axis=1.",
        ),
        ({"rank": 3, "channel_axis": 3}, ValueError, "got rank 3 with channel_axis=3."),
        ({"like": 3}, TypeError, "like must be a convention or its name; got int."),
    ],
)
def test_what_cannot_be_is_refused(how, error, says):
    """A layout that there is not, and a convention that is none, are refused."""
    with pytest.raises(error) as refused:
        diagnose.check(batch_norms.plain, **how)
    assert says in str(refused.value)


def test_two_arguments_are_not_taken_for_one_thing():
    """Where two arguments have names for the same, their owner is asked for other names."""
    with pytest.raises(TypeError) as refused:
        diagnose.check(with_two_shifts)
    assert str(refused.value) == (
        "with_two_shifts must have one argument for each of ['beta']; of ['x', 'gamma', 'beta', "
        "'bias'] several are taken for it. Wrap it in a function with other names."
    )


def test_statistics_under_other_names_are_not_judged():
    """Who calls the running statistics otherwise is told so, and not of a wrong inference."""

    class Otherwise(batch_norms.Layer):
        def __init__(self, num_features):
            super().__init__(num_features)
            self.theirs = [self.running_mean, self.running_var]
            del self.running_mean, self.running_var

        def forward(self, x, training=True):  # noqa: FBT002
            self.running_mean, self.running_var = self.theirs
            y = super().forward(x, training)
            self.theirs = [self.running_mean, self.running_var]
            del self.running_mean, self.running_var
            return y

    report = diagnose.check(Otherwise)
    assert broken(report) == set()
    assert remark(report, "average") == "It has no running statistics under a name that is known."
    assert remark(report, "inference") == "It has no running mean to set."


def test_a_slip_in_the_words_of_a_test_fails_once():
    """A test suite that names what there is not fails where it says so."""
    with pytest.raises(TypeError, match="does not take"):
        laws(batch_norms.plain, epsilom=1)


def test_the_time_is_positive():
    """No law can be kept in no time."""
    with pytest.raises(ValueError, match=r"seconds must be positive; got 0\."):
        diagnose.check(Right, seconds=0)


def test_any_word_is_given_to_who_takes_any():
    """A function with arguments of any name gets what is said."""
    seen = []

    def forward(x, gamma, beta, **settings):
        seen.append(settings)
        return batch_norms.plain(x, gamma, beta, **settings)

    assert diagnose.check(forward, eps=1e-2).found.eps == 1e-2
    assert all(settings == {"eps": 1e-2} for settings in seen)


def test_who_refuses_float16_is_not_told_about_it():
    """A function for float64 only has no law of half precision to keep."""

    def double_only(x, gamma, beta):
        if x.dtype != np.float64:
            raise TypeError("float64 only")
        return batch_norms.plain(x, gamma, beta)

    assert remark(diagnose.check(double_only), "half-precision") == "It has no support for float16."


# The report


def test_the_report_says_the_mistake_first():
    """The first lines say how many laws are broken, the likely mistake and what to do instead."""
    report = diagnose.check(MomentumReversed)
    (mistake,) = report.mistakes
    assert not mistake.caution
    assert mistake.title == "The weights of the old and the new value are exchanged"
    assert text(report).startswith(
        f"MomentumReversed: 1 law broken Most likely: {mistake.title}. (momentum-reversed) "
        f"{mistake.instead} ✗ memory"
    )


def test_no_line_of_the_report_is_too_long():
    """A report fits a narrow terminal and a page; what goes on is indented."""
    lines = str(diagnose.check(batch_norms.Layer)).splitlines()
    assert 50 < max(map(len, lines)) <= 66
    kept = next(i for i, line in enumerate(lines) if line.startswith("✓"))
    assert lines[kept + 1].startswith("  ")


def test_an_example_says_its_shape():
    """Where an example has more than two axes, the report says the shape that was given."""

    class Images(Right):
        layouts, channel_axis = (diagnose.Layout(4, -1),), -1

        def inv_std(self, var):
            return 1 / (var + self.eps)

    assert "with x in the shape (2, 1, 1, 1), its columns along axis -1" in text(
        diagnose.check(Images)
    )


def test_the_example_can_be_repeated_by_hand():
    """What the report gives as input, output and due is what came, and what comes of refbn."""
    report = diagnose.check(RootForgotten)
    finding = next(finding for finding in report.findings if finding.law == "spread")
    start = diagnose.Start(*np.array([[1.0], [0.0], [0.0], [1.0]]))
    assert np.array_equal(finding.got, RootForgotten(start).train(finding.given["x"]))
    due, _ = refbn.batch_norm_train(finding.given["x"], np.ones(1), np.zeros(1), eps=0.0)
    assert np.allclose(finding.due, due, rtol=1e-12)


def test_json_holds_the_report():
    """All that the report says stands in its JSON, also what is not finite."""
    report = diagnose.check(MomentumReversed)
    said = json.loads(report.to_json())
    assert said["exit_status"] == 1
    assert said["found"]["decay"] == 0.1
    assert [mistake["name"] for mistake in said["mistakes"]] == ["momentum-reversed"]
    assert [f["law"] for f in said["findings"] if f["verdict"] == "broken"] == ["memory"]
    bad = json.loads(diagnose.check(batch_norms.Layer).to_json())
    caution = next(f for f in bad["findings"] if f["law"] == "one-bad-batch")
    assert caution["given"]["x"][0] == ["inf"]


def test_it_is_shown_without_rich_as_with_it(monkeypatch, capsys):
    """The same lines are printed, whether rich is there to colour them or not."""
    report = diagnose.check(MomentumReversed)
    report.show()
    with_rich = capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "rich.console", None)
    report.show()
    assert capsys.readouterr().out == with_rich == f"{report}\n"


# The command line


def run(capsys, *arguments):
    """Return the exit status of a command, and what it printed."""
    try:
        status = command.main(list(arguments))
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    return status, said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ("batch_norms:plain", 0, "plain: no law broken"),
        ("batch_norms:course_forward --backward batch_norms:course_backward", 0, "decay 0.9"),
        ("batch_norms:course_forward --backward batch_norms:detached_backward", 1, "detached"),
        ("batch_norms:plain --infer batch_norms:book_infer", 0, "alone, inference, same-epsilon"),
        ("batch_norms:in_a_list --with eps=1e-3", 0, "0.001, inside the root"),
        ("batch_norms:functional --with mode=test", 1, "It stays where it began."),
        ("batch_norms:features_first --channel-axis 0 --rank 2", 0, "along axis 0 of 2 axes"),
        (
            "batch_norms:book --like PyTorch",
            1,
            "The stored variance is biased, PyTorch has unbiased",
        ),
        ("batch_norms:hangs --seconds 0.1", 1, "no end within 0.1 s"),
        ("this_one_fails:name", 2, "this_one_fails cannot be imported: RuntimeError: on purpose"),
        ("batch_norms:in_a_list", 2, "Say what they are, as in eps=1e-5"),
        (
            "batch_norms",
            2,
            "the target must be package.module:name or a file.onnx; got 'batch_norms'.",
        ),
        ("batch_norms:nothing", 2, "has no attribute 'nothing'"),
        ("no_such_file.onnx", 2, "onnx"),
        ("no_such_module:name", 2, "No module named 'no_such_module'"),
        (
            "batch_norms:plain --with eps",
            2,
            "--with takes NAME=VALUE, such as eps=1e-5; got 'eps'.",
        ),
        ("batch_norms:plain --like Torch", 2, "like must be the name of a convention"),
    ],
)
def test_the_command_line(capsys, monkeypatch, tmp_path, arguments, status, says):
    """It ends with 0 if no law is broken, with 1 if one is, and with 2 if it cannot be tried."""
    (tmp_path / "this_one_fails.py").write_text("raise RuntimeError('on purpose')\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    got, said = run(capsys, *arguments.split())
    assert says in " ".join(said.split())
    assert got == status


def test_the_command_line_prints_json(capsys):
    """With --json there is JSON, and nothing else."""
    status, said = run(capsys, "batch_norms:prints", "--json")
    assert (status, json.loads(said)["name"]) == (0, "prints")


def test_the_module_is_a_program():
    """It runs as a program, finds what lies where it was called, and hangs with nobody."""
    program = [sys.executable, "-m", "refbn.diagnose", "batch_norms:hangs", "--seconds", "0.1"]
    done = subprocess.run(
        program, cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "came to no end" in done.stdout
    assert done.stderr == ""


# The helper for pytest

SUITE = """
import batch_norms
from refbn.diagnose.museum import MomentumReversed
from refbn.diagnose.roles import fit
from refbn.diagnose.testing import laws

test_right = laws(batch_norms.course_forward, backward=batch_norms.course_backward)
test_wrong = laws(MomentumReversed)
"""


def test_one_line_gives_one_test_per_law(tmp_path):
    """In a suite of somebody, each law is a test: passed, failed with the report, or skipped."""
    (tmp_path / "test_theirs.py").write_text(SUITE, encoding="utf-8")
    program = [sys.executable, "-m", "pytest", "-rfs", "-p", "no:cacheprovider", tmp_path]
    path = f"{HERE}:{HERE.parent}"
    done = subprocess.run(
        program, cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    last = done.stdout.splitlines()[-1]
    assert "1 failed" in last, done.stdout
    assert "FAILED test_theirs.py::test_wrong[memory]" in done.stdout
    assert "Most likely: The weights of the old and the new value are" in done.stdout
    assert "It has no support for several workers." in done.stdout
    assert "caution: Mean and variance never recover." in done.stdout  # a caution, not heeded


@pytest.mark.parametrize(
    ("law", "outcome"),
    [
        ("shape", None),
        ("memory", "^Most likely: The weights of the old and the new value are\nexchanged"),
        ("convention", "^It has no named framework to be like"),
        ("one-bad-batch", "^caution: Mean and variance never recover"),
    ],
)
def test_a_law_passes_fails_or_is_skipped(law, outcome):
    """The test of a law ends as its verdict says, with the report or the reason."""

    class Wrong(BadBatchStored, MomentumReversed):
        pass

    test = laws(Wrong)
    test("shape")  # the diagnosis is made once, whichever law is first
    if outcome is None:
        test(law)
    else:
        with pytest.raises((pytest.fail.Exception, pytest.skip.Exception), match=outcome):
            test(law)


# Edges


def test_a_tensor_of_another_size_is_refused():
    """Different numbers for the channels do not go into a tensor that has not one for each."""
    said = r"gamma must have one number per channel, 3 of them; its shape is \(2,\)\."
    with pytest.raises(ValueError, match=said):
        fit("gamma", np.arange(3.0), (2,))


def test_the_first_argument_is_the_batch_whatever_its_name():
    """A name that is not known is the batch, or its gradient, if it stands first."""
    assert call(lambda values, gamma: (values, gamma), {"x": 1, "gamma": 2}, {}) == (1, 2)
    assert call(lambda upstream, kept: (upstream, kept), {"dy": 1, "cache": 2}, {}) == (1, 2)
    assert call(lambda x, dy: (x, dy), {"dy": 1, "x": 2}, {}) == (2, 1)


def test_a_function_that_fails_at_once_is_diagnosed_too():
    """A function with the arguments of inference, of which nothing is known, says what it raises."""

    def inference_only(x, gamma, beta, running_mean, running_var):  # noqa: ARG001
        raise RuntimeError("no device")

    assert "RuntimeError: no device" in str(diagnose.check(inference_only))


class OnlyTrains(diagnose.Subject):
    def train(self, x):
        return (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)


class OnlyInfers(diagnose.Subject):
    def infer(self, x):
        return (x - self.start.mean) / np.sqrt(self.start.var + 1e-5)


class Nothing(diagnose.Subject):
    pass


@pytest.mark.parametrize(
    ("kind", "lacking", "wrong"),
    [
        (OnlyTrains, {NO_INFERENCE, NO_BACKWARD, NO_STATISTICS}, {"parameters"}),
        (OnlyInfers, {NO_TRAINING}, {"inference"}),
        (Nothing, set(), {"shape"}),
    ],
)
def test_a_subject_says_what_it_lacks(kind, lacking, wrong):
    """Who derives a subject writes what theirs can do; the laws about the rest are not tried."""
    report = diagnose.check(kind)
    assert lacking <= {finding.remark for finding in report.findings}
    assert wrong <= broken(report)


def test_an_epsilon_that_inference_alone_shows_is_compared():
    """What only infers is held to the framework that is named, as far as inference shows it."""

    class LargeEpsilon(diagnose.Subject):
        def infer(self, x):
            return (x - self.start.mean) / np.sqrt(self.start.var + 1e-2)

    assert remark(diagnose.check(LargeEpsilon, like="PyTorch"), "convention") == (
        "Eps is 0.01, PyTorch has 1e-05."
    )
    lacking = "It has no running statistics to compare with those of a framework."
    assert remark(diagnose.check(OnlyInfers, like="PyTorch"), "convention") == lacking


def test_a_subject_without_parameters_is_not_asked_for_them():
    """Who says that there is no gamma and no beta breaks no law about them."""

    class Plain(OnlyTrains):
        parameters = frozenset()

        def backward(self, dy):
            return dy, None, None

    report = diagnose.check(Plain)
    assert verdict(report, "parameters") == verdict(report, "gradient-of-beta") == "untried"
    assert verdict(report, "constant") == "kept"


def test_an_object_may_keep_its_gradients_to_itself():
    """Where gradients of parameters are not found, only that of the batch is judged."""

    class Silent(batch_norms.Layer):
        def backward(self, dy):
            dx = super().backward(dy)
            del self.dgamma, self.dbeta
            return dx

    report = diagnose.check(Silent)
    assert verdict(report, "gradient") == "kept"
    assert remark(report, "gradient-of-gamma") == "It has no gradient of gamma."
