"""Every symbol is known, explained and can be heard; one that is not ends the build."""

import re
import shutil

import pytest
from bs4 import BeautifulSoup
from building import ROOT
from markdown import Markdown

from _kit.mathml import Translator
from _kit.notation import annotate
from _kit.page import PageError
from _kit.symbols import read_notation

CSS = (ROOT / "docs/assets/site.css").read_text(encoding="utf-8")
ROLES = set(re.findall(r"--role-([a-z]+):", CSS))
FILE = "docs/_kit/notation.toml"
NOTATION = read_notation(FILE, (ROOT / FILE).read_text(encoding="utf-8"), ROLES)

# LaTeX, as it occurs on the site, and the sentence that is heard
SPOKEN = {
    # symbols, numbers, signs
    r"y = \gamma \hat{x} + \beta": "y equals gamma times x hat plus beta",
    r"\beta = \mu.": "beta equals mu",
    r"J v \approx 2 h": "the Jacobian times v is approximately 2 times h",
    r"a < b, \qquad a \le b": "a is less than b; a is at most b",
    r"\dot{y} = \pm d": "y dot equals plus or minus d",
    r"W' = \text{scale} \cdot W": "capital W prime equals scale times capital W",
    r"10^{-5}": "10 to the power minus 5",
    r"50\% \times n": "50 per cent times n",
    r"t = 1, 2, \dots": "t equals 1, 2, and so on",
    # indices and powers
    r"x_i^2": "x sub i squared",
    r"\sigma_k^2": "sigma sub k squared",
    r"dy_{k,i}\, \hat{x}_{k,i}": "d y sub k i times x hat sub k i",
    r"w_{t-1} h": "w sub t minus 1, end sub, times h",
    r"d^{\,t-k}\, b_k": "d to the power t minus k, end power, times b sub k",
    r"d^3": "d cubed",
    r"(\sigma^2 + \varepsilon)^{3/2}": "open bracket sigma squared plus epsilon close bracket "
    "to the power 3 over 2",
    r"\mathbf{1} \mathbf{1}^\mathsf{T}": "the vector of ones times the vector of ones transposed",
    r"r_{\max} r_0 M_{2,a}": "r max times r sub 0 times capital M sub 2 a",
    # fractions and roots
    r"\frac{\gamma}{s} \, v": "gamma over s times v",
    r"\frac{x_i - \mu}{\sqrt{n}}": "the fraction x sub i minus mu over the square root of n, "
    "end fraction",
    r"\frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta": "the fraction x minus mu over "
    "the square root of sigma squared plus epsilon, end root, end fraction, plus beta",
    r"v / (v + \varepsilon)": "v over open bracket v plus epsilon close bracket",
    r"\frac{\partial L}{\partial \sigma^2}": "the partial derivative of L with respect to "
    "sigma squared",
    r"\frac{\partial S}{\partial (dy)}": "the partial derivative of capital S with respect to d y",
    r"\partial y_i / \partial x_j": "partial y sub i over partial x sub j",
    # sums
    r"\frac{1}{n} \sum_i x_i": "1 over n times the sum over i of x sub i",
    r"\sum_{k=1}^{t} b_k": "the sum from k equals 1 to t of b sub k",
    r"\sum_{i \in g} dy_i": "the sum over i in g of d y sub i",
    r"\sum_{\text{in},\,\text{kernel}} W": "the sum over in and kernel of capital W",
    r"\sum t - \hat{x}": "the sum of t, end sum, minus x hat",
    r"\sum t = n - 1": "the sum of t equals n minus 1",
    r"\prod_k b_k": "the product over k of b sub k",
    # brackets
    r"\gamma \Bigl( a - b \Bigr)": "gamma times open bracket a minus b close bracket",
    r"[0, 1)": "open square bracket 0, 1 close square bracket",
    r"|d| + |a - |b||": "the absolute value of d plus the absolute value of a minus "
    "the absolute value of b, end absolute value",
    r"\lVert J v \rVert\, \lVert v \rVert": "the norm of the Jacobian times v, end norm, times "
    "the norm of v",
    r"\langle dx, \hat{x} \rangle = 0": "the inner product of d x and x hat equals 0",
    r"\langle dy, J v \rangle = 0": "the inner product of d y and the Jacobian times v, "
    "end product, equals 0",
    r"\lfloor i / \mathrm{size} \rfloor": "the floor of i over size",
    # functions
    r"\operatorname{mean}(\sigma_k^2)": "the mean of sigma sub k squared",
    r"\hat{x} \operatorname{mean}(dy\, \hat{x})": "x hat times the mean of open bracket d y times "
    "x hat close bracket",
    r"\operatorname{Im} f(a + \mathrm{i} h)": "the imaginary part of f of open bracket a plus "
    "the imaginary unit times h close bracket",
    r"a P(t)": "a times P of t",
    r"P = J": "P equals the Jacobian",
    # marks over and under
    r"\underbrace{dy_i}_{\text{direct}} - \underbrace{a}_{\text{through } \mu}": "d y sub i, "
    "direct, minus a, through mu",
    # rows
    r"\begin{aligned} a &= 1, \\ b &= 2 \end{aligned}": "line 1: a equals 1; line 2: b equals 2",
}


def annotated(latex):
    """Return a display formula with all that the notation puts to it."""
    md = Markdown(extensions=["_kit.page"])
    md.convert("text")
    math = Translator(md, [], {})(latex, display=True)
    return annotate(math, NOTATION, lambda what, remedy: PageError("here", what, remedy))


@pytest.mark.parametrize("latex", SPOKEN)
def test_a_formula_is_read_as_a_teacher_would(latex):
    """Each construct of the site has words, and the ends of long ones are heard."""
    assert annotated(latex).get("aria-label") == SPOKEN[latex]


@pytest.mark.parametrize(
    ("latex", "because"),
    [
        (r"\sqrt[3]{a}", "<mroot>"),
        (r"\lim_{a \to 0} b", None),
        (r"\begin{cases} a & b \\ c & d \end{cases}", "<mo>{"),
        (r"\binom{a}{b}", "a fraction without its line"),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "<mtable>"),
        (r"\begin{aligned} a &= b & c &= d \end{aligned}", "<mtable>"),
        (r"\frac{\partial^2 L}{\partial x^2}", "a power or an index of 'partial'"),
        (r"a ) b", "<mo>)"),
        (r"\frac{}{a}", "a place with nothing in it"),
        (r"a \mid b", "<mo>∣"),
        (r"( a + b", "a bracket without its )"),
        (r"\phantom{a}", "<mphantom>"),
        (r"\overset{a}{=}", "<mover>"),
        (r"f^2", "a power or an index of 'f'"),
    ],
)
def test_what_has_no_words_is_refused(latex, because):
    """A construct that is not known is not read in some way or other."""
    with pytest.raises(PageError, match=r"there is no symbol|it has no spoken form") as error:
        annotated(latex)
    assert because is None or because in str(error.value)


# the formula; the symbol that is named; the advice
UNKNOWN = {
    r"\epsilon": ("'ϵ'", r"Did you mean \varepsilon (epsilon)?"),
    r"1 + \tilde{x}": ("'x˜'", ""),
    r"\overline{x}": ("'x\u0332'", ""),  # for which Chromium draws a bar that is too short
    r"\theta_i": ("'θ'", ""),
    r"\Gamma": ("'Γ'", r"Did you mean \gamma (gamma)?"),
    r"\operatorname{Var}(x)": ("'Var'", r"Did you mean \operatorname{var} (the variance of)?"),
    r"\text{deacy} \cdot x": ("'deacy'", r"Did you mean \text{decay} (decay)?"),
    r"\mathrm{d} x": ("'d'", "Did you mean d (d)?"),
    r"\frac{a}{\sqrt{q}}": ("'q'", ""),
    r"\underbrace{q}_{\text{any words}}": ("'q'", ""),
}


@pytest.mark.parametrize("latex", UNKNOWN)
def test_an_unknown_symbol_is_named_with_the_nearest_known_one(latex):
    """Wherever it stands in a formula, and whatever accent makes it another symbol."""
    symbol, advice = UNKNOWN[latex]
    with pytest.raises(PageError) as error:
        annotated(latex)
    assert bool(advice) == ("Did you mean" in str(error.value))
    assert f"there is no symbol {symbol} in the notation." in str(error.value)
    assert advice in str(error.value)
    assert f"A new symbol needs an entry in {FILE}." in str(error.value)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("# T\n\nText $x + \\epsilon$.\n", "docs/index.md:3"),
        ("# T\n\n$$\nx + \\epsilon\n$$\n", "docs/index.md:3"),
        ("# T\n\nText \\(x + \\epsilon\\).\n", "docs/index.md:3"),
        (
            '# T\n\n```python exec="on" result="markdown"\nprint("$x + " + "\\\\epsilon$")\n```\n',
            "text that is not a page",
        ),
    ],
)
def test_an_unknown_symbol_in_a_page_ends_the_build(site, text, where):
    """The message says file and line, the formula, the symbol, and what to write instead."""
    site.write(text)
    said = site.refusal()
    assert where in said
    assert "formula 'x + \\epsilon': there is no symbol 'ϵ'" in said
    assert "To do: Did you mean \\varepsilon (epsilon)?" in said


def test_an_unknown_symbol_in_a_docstring_ends_the_build(site):
    """A docstring is held to the same notation, and found in its source."""
    package = site.folder / "refbn"
    original = package.resolve()
    package.unlink()
    shutil.copytree(original, package, ignore=shutil.ignore_patterns("__pycache__"))
    with (package / "running.py").open("a", encoding="utf-8") as file:
        file.write('\n\ndef wrong():\n    r"""Return \\(x + \\epsilon\\)."""\n')
    line = (package / "running.py").read_text(encoding="utf-8").count("\n")
    site.write("::: refbn.running.wrong\n")
    said = site.refusal()
    assert f"refbn/running.py:{line}: formula 'x + \\epsilon': there is no" in said


GOOD = """
[[batch]]
latex = '\\hat{x}'
code = "x_hat"
shape = "as x"
spoken = "x hat"
meaning = "normalised batch"
role = "batch"

[[operators]]
latex = '|a|'
spoken = "the absolute value of a"
meaning = "value without its sign"
"""

# what to replace in it; by what; where the message points; what it says; what it advises
MALFORMED = {
    "TOML": ('"as x"', '"as x', FILE, "TOML cannot be read:", "Mend it"),
    "no list": (
        "[[operators]]",
        "[operators]",
        FILE,
        "operators must be a list of entries.",
        "Write [[operators]] over each entry.",
    ),
    "a missing field": (
        'spoken = "x hat"\n',
        "",
        f"{FILE}:2: batch 1",
        "spoken is missing.",
        "Write all of latex, spoken, meaning, code, shape, role.",
    ),
    "a missing field of an operator": (
        'meaning = "value without its sign"',
        "",
        f"{FILE}:10: operators 1",
        "meaning is missing.",
        "Write all of latex, spoken, meaning.",
    ),
    "an unknown field": (
        'shape = "as x"',
        'shape = "as x"\nshap = "as x"',
        f"{FILE}:2: batch 1",
        "there is no field 'shap'.",
        "Did you mean 'shape'?",
    ),
    "an empty field": (
        '"normalised batch"',
        '""',
        f"{FILE}:2: batch 1",
        "meaning must be a text, and not empty; found ''.",
        "Write it in quotes.",
    ),
    "an unknown role": (
        'role = "batch"',
        'role = "bacth"',
        f"{FILE}:2: batch 1",
        "there is no role 'bacth'.",
        "Did you mean 'batch'?",
    ),
    "wrong LaTeX": (
        "\\hat{x}",
        "\\htt{x}",
        f"{FILE}:2: batch 1",
        "LaTeX cannot be read at character ",
        "Mend latex.",
    ),
    "latex twice": (
        "[[operators]]",
        '[[letters]]\nlatex = \'\\hat{x}\'\nspoken = "other"\nmeaning = "other"\n\n[[operators]]',
        f"{FILE}:10: letters 1",
        "latex '\\\\hat{x}' stands twice; 'normalised batch' has it too.",
        "Take one out, or let them differ.",
    ),
    "the same look": (
        "[[operators]]",
        '[[letters]]\nlatex = \'\\hat x\'\nspoken = "other"\nmeaning = "other"\n\n[[operators]]',
        f"{FILE}:10: letters 1",
        "it looks like \\hat{x}, which has an entry.",
        "Take one out.",
    ),
    "code twice": (
        "[[operators]]",
        '[[more]]\nlatex = \'y\'\ncode = "x_hat"\nshape = ""\nspoken = "y"\nmeaning = "y"\n'
        'role = "none"\n\n[[operators]]',
        f"{FILE}:10: more 1",
        "code 'x_hat' stands twice;",
        "Take one out, or let them differ.",
    ),
    "the same sound": (
        "[[operators]]",
        '[[letters]]\nlatex = \'X\'\nspoken = "X hat"\nmeaning = "other"\n\n[[operators]]',
        f"{FILE}:10: letters 1",
        "spoken 'X hat' stands twice;",
        "Take one out, or let them differ.",
    ),
    "an operator that is read otherwise": (
        "the absolute value of a",
        "the modulus of a",
        f"{FILE}:10: operators 1",
        "spoken is 'the modulus of a', but it is read as 'the absolute value of a'.",
        "Write it as it is read, or change spoken.py.",
    ),
}


@pytest.mark.parametrize("slip", MALFORMED)
def test_a_malformed_notation_is_refused(slip):
    """What is wrong in the file is said with its line and entry."""
    assert len(read_notation(FILE, GOOD, {"batch"}).symbols) == 2
    before, after, where, what, remedy = MALFORMED[slip]
    assert GOOD.count(before) == 1
    with pytest.raises(PageError) as error:
        read_notation(FILE, GOOD.replace(before, after), {"batch"})
    found, _, to_do = str(error.value).partition("\n  To do: ")
    assert found.startswith(f"{where}: {what}")
    assert to_do.startswith(remedy)


def test_a_malformed_notation_ends_the_build(site):
    """The site is not built with a notation that cannot be relied on."""
    text = (site.folder / "mkdocs.yml").read_text(encoding="utf-8")
    (site.folder / "mkdocs.yml").write_text(text.replace(FILE, "bad.toml"), encoding="utf-8")
    (site.folder / "bad.toml").write_text(GOOD.replace('role = "batch"', ""), encoding="utf-8")
    site.write("# T\n")
    said = site.refusal()
    assert "bad.toml:2: batch 1: role is missing." in said


def test_symbols_are_coloured_and_explained(site):
    """A display formula has colours and hover texts, an inline symbol a title around it."""
    site.write("# T\n\nText $\\hat{x}_i$ and $dy + 1$.\n\n$$\ndy_i = \\hat{x} + \\sigma_k^2\n$$\n")
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    page = BeautifulSoup(site.html(), "html.parser").article
    alone, longer = page.select("span.symbol")
    hover = "x hat: normalised batch; x_hat; as x"
    assert alone["title"] == hover
    assert not alone.select("[data-says], [class]")
    assert not longer.has_attr("title")
    assert longer.select_one("[data-says]")["data-says"].startswith("d y: gradient ")
    assert not longer.math.select("[class]")
    marked = {element.text: element for element in page.select(".formula [data-says]")}
    assert set(marked) == {"dyi", "xˆ", "σk2"}
    assert marked["xˆ"]["data-says"] == hover
    assert marked["σk2"]["data-says"].startswith("sigma squared: variance")
    roles = {text: element["class"] for text, element in marked.items()}
    assert roles == {"dyi": ["role-gradient"], "xˆ": ["role-batch"], "σk2": ["role-statistics"]}
    assert page.select_one(".formula math")["aria-label"] == (
        "d y sub i equals x hat plus sigma sub k squared"
    )


def test_formulas_need_no_inline_style(site):
    """Aligned columns are classes, as a strict policy drops styles; other styles are refused."""
    site.write("# T\n\n$$\n\\begin{aligned} a &= 1 \\\\ b &= 2 \\end{aligned}\n$$\n")
    assert site.build("--strict").returncode == 0
    cells = BeautifulSoup(site.html(), "html.parser").select("mtd")
    assert [cell["class"] for cell in cells] == [["right"], ["left"]] * 2
    assert not any(cell.has_attr("style") for cell in cells)
    with pytest.raises(PageError, match="it needs the style 'color:#FF0000;'"):
        annotated(r"\color{red} x")


def test_the_table_of_a_group_is_made_from_the_file(site):
    """Each symbol has a row with an id of its own; an unknown group ends the build."""
    site.write("# T\n\nBefore.\n\n/// notation | batch\n///\n\nAfter.\n")
    assert site.build("--strict").returncode == 0
    page = BeautifulSoup(site.html(), "html.parser").article
    rows = page.select(".notation tbody tr")
    assert [row["id"] for row in rows] == [symbol.id for symbol in NOTATION.group("batch")]
    cells = page.select("#x-hat td")
    assert [cell.text for cell in cells[1:]] == ["normalised batch", "x_hat", "as x", "x hat"]
    assert cells[0].math.mover is not None
    assert cells[0]["class"] == ["role-batch"]
    assert cells[0].a["href"] == "#x-hat"
    site.write("# T\n\nBefore.\n\n/// notation | bacth\n///\n")
    said = site.refusal()
    assert "docs/index.md:5: notation: the notation has no group 'bacth'." in said


@pytest.mark.xdist_group("site")
def test_every_formula_of_the_site_can_be_read(judged):
    """No style, no title inside a formula; every display formula has one line of plain words."""
    count = 0
    for path in judged:
        for math in BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select("math"):
            assert not math.select("[style], [title], [scriptlevel], merror"), path
            if math.get("display") == "block":
                assert re.fullmatch(r"[A-Za-z0-9.,;: ]+", math["aria-label"]), path
                assert "  " not in math["aria-label"]
                count += 1
    assert count > 40 or len(judged) == 1


@pytest.mark.xdist_group("site")
def test_the_notation_holds_what_the_site_uses(built_site):
    """Every symbol stands on the page of the notation, and in a formula of another page."""
    page = BeautifulSoup((built_site / "reference/notation.html").read_text("utf-8"), "html.parser")
    for symbol in NOTATION.symbols:
        assert page.find(id=symbol.id).name == "tr", symbol
    others = [path for path in built_site.rglob("*.html") if path.name != "notation.html"]
    said = set(re.findall(r'(?:data-says|title)="([^"]*)"', "".join(map(_text, others))))
    for symbol in NOTATION.symbols:
        if symbol.group not in {"letters", "operators"}:
            assert symbol.hover in said, symbol


def _text(path):
    return path.read_text(encoding="utf-8")


def test_the_names_in_the_code_are_those_of_the_code():
    """What the notation calls a name in the code occurs there."""
    code = "".join(map(_text, sorted((ROOT / "refbn").rglob("*.py"))))
    for symbol in NOTATION.symbols:
        for name in re.findall(r"[a-z]\w+", symbol.code):
            assert name in {"np", "len", "imag", "pi"} or re.search(rf"\b{name}\b", code), symbol


@pytest.mark.parametrize("scheme", ["default", "slate"])
def test_the_colours_of_symbols_are_legible(scheme):
    """Each role stands out against the page by at least 4.5, in light and in dark."""
    roots = re.findall(r"(?:^|\n):root \{(.*?)\n\}", CSS, re.DOTALL)
    own = re.findall(rf'data-md-color-scheme="{scheme}"\] \{{(.*?)\n\}}', CSS, re.DOTALL)
    values = dict(re.findall(r"(--[a-z-]+):\s*(#[0-9a-f]{6})", "".join(roots + own)))
    page = _luminance(values["--md-default-bg-color"])
    assert ROLES
    for role in ROLES:
        light, dark = sorted([_luminance(values[f"--role-{role}"]), page], reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, role
        assert f".role-{role} {{" in CSS


def _luminance(colour):
    """Return the relative luminance of a colour, by WCAG."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
