"""A text that is tried says what a build says, and leaves no trace in the page that tries it."""

import html
import re

import pytest

from _kit.tried import message, told

pytestmark = pytest.mark.about

SLIPS = {
    "a block that raises": '# A { #a }\n\n```python exec="on"\nimport refbn\nprint(1 / 0)\n```\n',
    "a misspelt language": '# A { #a }\n\n```pyton exec="on"\nprint(1)\n```\n',
    "a typed number": "# A { #a }\n\nThe value is 0.25.\n",
    "a broken formula": "# A { #a }\n\nSee $\\frac{1}{2$.\n",
    "a claim without a check": '# A { #a }\n\n[It is so.]{claim="so"}\n',
    "a value that is not there": "# A { #a }\n\nIt is {{ missing:.3f }}.\n",
    "Markdown that leads to a page": (
        '# A { #a }\n\n```python exec="on" result="markdown"\nprint("[a](b.md)")\n```\n'
    ),
    "a line behind front matter": "---\ntitle: A\n---\n\n# A { #a }\n\nThe value is 0.25.\n",
}


@pytest.mark.parametrize("slip", SLIPS)
def test_the_message_is_that_of_a_build(slip, site):
    """Where, what and what to do are, letter by letter, what a build of the same page ends with."""
    site.write(f'# Start\n\n````python exec="on"\n{TRY.format(SLIPS[slip])}````\n')
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    shown = re.search(r'class="output"><pre><code>(.*?)</code>', site.html(), re.DOTALL)
    site.write(SLIPS[slip], "your-page.md")
    refused = site.build("--strict")
    assert refused.returncode == 1
    said = refused.stderr.partition("\nError: ")[2].strip()
    assert said.startswith("docs/your-page.md:")
    assert html.unescape(shown[1]) == said


TRY = """from _kit.tried import message
print(message({!r}))
"""


def test_a_text_without_a_slip_has_no_message():
    """Who shows a message of a text that is in order would show none, so it is an error."""
    with pytest.raises(ValueError, match="must hold a slip; this one was converted without any"):
        message("# A { #a }\n")


def test_slips_are_shown_with_what_is_said_of_them():
    """Each under its name: the text as it stands, then its message, in fences that hold them."""
    few = {name: SLIPS[name] for name in ("a typed number", "a block that raises")}
    shown = told(few)
    places = [shown.index(part) for n, t in few.items() for part in (f"**{n}**", t, message(t))]
    assert places == sorted(places)
    assert "```markdown\n# A { #a }\n\nThe value is 0.25.\n```\n\n```text\n" in shown
    assert "````markdown\n# A { #a }\n\n```python" in shown


# In one page: what the block that tries leaves to the blocks below it, and to those that look on.
TRACES = '''# Start { #start }

```python exec="on"
import decimal, io, logging, random, sys, warnings
import matplotlib.pyplot as plt
import numpy as np
import refbn
from _kit.page import earlier, watchers
from _kit.tried import message

def look(page, block):
    seen.append(block.number)

seen = []
watchers.append(look)
earlier.append("a reading that was left")
handler = logging.StreamHandler(io.StringIO())
logging.getLogger().addHandler(handler)
random.seed(3)
np.random.seed(3)
np.set_printoptions(precision=3)
np.seterr(divide="raise")
decimal.getcontext().prec = 7
plt.rcParams["lines.linewidth"] = 9
figure = plt.figure()
three = random.random(), np.random.random()
random.seed(3)
np.random.seed(3)
layer = refbn.BatchNorm(1)
```

````python exec="on"
said = message("""# A

```python exec="on"
import random, sys
import decimal, logging
import numpy as np
import refbn
import matplotlib.pyplot as plt
plt.figure()
refbn.mark = True
random.random(), np.random.random()
before = np.get_printoptions()["precision"]
np.set_printoptions(precision=1)
decimal.getcontext().prec = 2
logging.basicConfig(force=True)
raise ValueError(plt.get_fignums(), "layer" in globals(), before)
```
""")
print(said.split("raised ")[1].split("\\n")[0])
````

```python exec="on"
import refbn as again
assert again is refbn and isinstance(layer, again.BatchNorm) and not hasattr(refbn, "mark")
assert (random.random(), np.random.random()) == three
assert np.get_printoptions()["precision"] == 3 and np.geterr()["divide"] == "raise"
assert decimal.getcontext().prec == 7 and plt.rcParams["lines.linewidth"] == 9
assert plt.get_fignums() == [figure.number]
assert handler in logging.getLogger().handlers
assert watchers[-1] is look and earlier == ["a reading that was left"]
assert warnings.filters[0][0] == "error"
print(seen)
watchers.remove(look)
earlier.clear()
logging.getLogger().removeHandler(handler)
```
'''


def test_trying_leaves_no_trace(site):
    """The page that tries a text finds all as it was, and the text finds all as it is at a start."""
    site.write(TRACES)
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    shown = re.findall(r'class="output"><pre><code>(.*?)</code>', site.html(), re.DOTALL)
    assert [html.unescape(text) for text in shown] == [
        "ValueError: ([1], False, 8)",
        "[1, 2]",
    ]
