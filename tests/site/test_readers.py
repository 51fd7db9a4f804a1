"""Every question of the readers has its answer, and a run that settles it."""

import pytest

pytestmark = [pytest.mark.xdist_group("site"), pytest.mark.about("questions.md")]

# What was asked and replied in the four discussions that the site began with, by its anchor.
ASKED = {
    # A quiz calls one setting of gamma and beta optimal
    "optimal": "Are these the optimal values?",
    "identity": "Do they at least give the input back?",
    "wasted": "If they were optimal, would batch norm be wasted computation?",
    "in-practice": "Will training find such values in practice?",
    "lost": "Does normalising lose something important?",
    "slightly": "Can gamma and beta shift and scale only slightly?",
    "left-out": "Could batch norm then be left out?",
    "only-stability": "Is epsilon only there for numerical stability?",
    "no-harm": "If it is not needed, does it do no harm?",
    "stable": "Does it make the network stable?",
    # Bias, weights, the batch and the input
    "bias": "Is the bias before batch norm redundant?",
    "same-weights": "Are the weights 10, 20, 30, 40 the same as a hundredth of them?",
    "fix-one": "Should one of the weights be fixed, then?",
    "again": "Do other weights make some outputs too large, so that one must normalise again?",
    "into-gamma": "Has some of the weights' work gone into gamma?",
    "underflow": "Does L2 push the weights down until rounding breaks the network?",
    "lambda": "Does lambda control how much the penalty counts?",
    "why-batch": "Why is it called batch norm, if it also works without mini-batches?",
    "same-scale": "Does it put all activations on the same scale?",
    "no-op": "Does it become a no-op for a single value?",
    "one-example-per-step": "So does it make no sense with one example per step?",
    "input-gamma": "Why not let gamma scale the input as well?",
    "input-layer": "Can the input layer have a batch norm at all?",
    # Do gamma and beta undo batch norm?
    "do-they-undo": "Do they undo it, and why?",
    "why-again": "Why normalise first, and scale and shift again?",
    "expressive": "Does normalising make a unit less expressive?",
    "any": "Do they give any mean and any standard deviation?",
    "rows-or-columns": "Is the mean taken over rows or over columns?",
    # What stays constant, if gamma and beta are trained?
    "what-stays-constant": "Are mean and variance then not constant?",
    "desired-effect": "Will it then not have the desired effect?",
    "small-differences": "Are the differences from step to step small?",
    "independent-layers": "Can the later layers learn independently?",
    "a-little-more": 'Is "a little bit more independently" true, as the lecture says?',
    "covariate-shift": "Is a steady distribution why batch norm helps?",
    "speed": "Does it speed up learning?",
    "gaussian": "Does batch norm make the activations Gaussian?",
    "zeroes-and-ones": "Do 32 rows of 100 features give 100 zeroes and 100 ones?",
    "a-little-different": 'Are mean and deviation "a little bit different" after gamma and beta?',
    "possible-numbers": "Can gamma be 2.33, and the standard deviation 2.68?",
    "batch-or-layer": "Is a mean for each unit batch norm, or layer norm?",
    "jitter": "Is the jitter of the statistics a regulariser?",
    "two-modes": "Does it compute the same in training and at inference?",
    "single-example": "Will a single example do, once there are running means?",
    "stable-means": "Do the running means become stable over time?",
    "big-example": "Is a big example in the batch really not a problem?",
    "sequences": "What about sequences of different lengths?",
    "tamed": "Are the activations tamed, neither too small nor too large?",
    "tied-together": "Does batch norm tie the examples together?",
    "placement": "Does it go after linear layers and convolutions?",
    "layers-depend": "Do all layers depend on one another?",
}


@pytest.fixture(scope="module")
def answers(pages):
    """Return what stands below each heading of the page of questions, by the heading's id."""
    found = {}
    for heading in pages["questions.html"].select("article h3"):
        below = heading.find_next_siblings()
        end = next((i for i, e in enumerate(below) if e.name in {"h2", "h3"}), len(below))
        found[heading["id"]] = (heading, below[:end])
    return found


def test_every_question_stands_there_as_it_was_asked(answers):
    """No question is lost, and none loses its anchor, to which others may link."""
    straight = str.maketrans("“”’", '""\'')
    shown = {
        name: heading.get_text().removesuffix("#").translate(straight)
        for name, (heading, _) in answers.items()
    }
    assert shown == ASKED


@pytest.mark.about  # it needs the other pages
def test_every_answer_leads_to_a_check_and_to_the_page_around_it(answers, pages):
    """At least one sentence of each answer is settled by a check of a page that is there."""
    for name, (_, below) in answers.items():
        marks = [mark["href"] for part in below for mark in part.select("a.claim-mark")]
        assert marks, name
        for mark in marks:
            page, check = mark.split("#")
            assert pages[page].find(id=check), (name, mark)
        assert any(
            "More:" in part.get_text() and part.select("a:not(.claim-mark)") for part in below
        )


def test_answers_are_short(answers):
    """The first paragraph has fewer than 75 words."""
    for name, (_, below) in answers.items():
        assert sum(len(part.get_text().split()) for part in below[:1]) < 75, name
