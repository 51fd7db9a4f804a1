"""Cut the small fonts of the site out of the full ones: `python docs/assets/fonts/cut.py`.

A page needs a hundred letters of some thousand. Those that English prose, code and the formulas of
this site use are in the small files, which every page loads; the others stay in the full files,
which a browser fetches only for a page that has one of them (`unicode-range` in site.css; this
program prints the ranges).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from fontTools.varLib import instancer

FOLDER = Path(__file__).parent
ASCII = "".join(map(chr, range(0x20, 0x7F)))
CODE = ASCII + "\u00a0°±²·×–‘’“”…−"
PROSE = "".join(sorted(set(CODE + "©÷—•") - set("^`{}\\~@")))
BOLD_CODE = "".join(c for c in ASCII if c.isalnum() or c in " _.,:=()[]*|'-")  # keywords and names
SLANTED = "".join(c for c in PROSE if c.isalnum() or c in " ,.;:!?'()/-–—‘’“”…\u00a0")
LOWER = "αβγδεζηθικλμνξοπρςστυφχψω"
GREEK = LOWER + "ΓΔΘΛΞΠΣΦΨΩ"

# A formula's single letters are italics of their own; words and functions in it are upright.
UPRIGHT = "0123456789abcdefghijklmnopqrstuvwxyzEIV!()+,-./:;<=>[]{|} "
ITALIC = "abcdefghijklmnopqrstuvwxyzBCDEGHIJKLMNPSTWX"
ITALIC_GREEK = "αβγδεηθκλμνπρστφω"
SIGNS = "\u00a0¯±·×ˆ˙˜\u0302\u0332‖…′\u2061\u2062→∂∈∑−√∞≈≠≤≥⊤⋅⋯⌊⌋⏟⟨⟩"
GROWING = (0, 2, 4)  # of the seven sizes of a bracket or root; larger ones are put together


def main() -> None:
    """Cut all fonts, and print for each what it holds."""
    serif, code = "source-serif-4-{}-wght-{}.woff2", "source-code-pro-{}-wght-{}.woff2"
    cut(serif.format("latin", "normal"), "source-serif-4.woff2", PROSE, weight=(400, 700))
    cut(serif.format("latin", "italic"), "source-serif-4-italic.woff2", SLANTED, kerning=False)
    cut(serif.format("greek", "normal"), "source-serif-4-greek.woff2", GREEK, kerning=False)
    cut(code.format("latin", "normal"), "source-code-pro.woff2", CODE)
    cut(code.format("latin", "normal"), "source-code-pro-bold.woff2", BOLD_CODE, weight=600)
    cut(code.format("greek", "normal"), "source-code-pro-greek.woff2", GREEK)
    cut_math("refbn-math-full.woff2", "refbn-math.woff2")


def cut(
    source: str,
    target: str,
    letters: str,
    weight: float | tuple[float, float] = 400,
    *,
    kerning: bool = True,
) -> None:
    """Write a font with some letters, in one weight or a range of weights."""
    font = TTFont(FOLDER / source)
    instancer.instantiateVariableFont(font, {"wght": weight}, inplace=True)
    if kerning and isinstance(weight, tuple):
        _steady(font)
    features = ["kern", "liga"] if kerning else []
    _write(font, target, map(ord, letters), features)


def _steady(font: TTFont) -> None:
    """Make the kerning of all weights that of the lightest: it differs by no more than a hair."""
    for lookup in font["GPOS"].table.LookupList.Lookup:
        for table in (getattr(one, "ExtSubTable", one) for one in lookup.SubTable):
            if type(table).__name__ != "PairPos":
                continue
            rows = table.PairSet if table.Format == 1 else table.Class1Record
            pairs = (row.PairValueRecord if table.Format == 1 else row.Class2Record for row in rows)
            for value in (pair for row in pairs for pair in row):
                first = value.Value1
                if first is not None and getattr(first, "XAdvDevice", None) is not None:
                    del first.XAdvDevice
            table.ValueFormat1 &= 0x0F  # no tables for the weights


def cut_math(source: str, target: str) -> None:
    """Write the font of the formulas, with fewer sizes of what grows."""
    font = TTFont(FOLDER / source)
    variants = font["MATH"].table.MathVariants
    for grown in variants.VertGlyphConstruction:
        records = grown.MathGlyphVariantRecord
        if len(records) > max(GROWING):
            grown.MathGlyphVariantRecord = [records[i] for i in GROWING]
    braces = {"uni23DE", "uni23DF"}  # the only ones that grow sideways here
    across = zip(variants.HorizGlyphCoverage.glyphs, variants.HorizGlyphConstruction, strict=True)
    kept = {name: grown for name, grown in across if name in braces}
    variants.HorizGlyphCoverage.glyphs = list(kept)
    variants.HorizGlyphConstruction = list(kept.values())
    for lookup in font["GSUB"].table.LookupList.Lookup:  # a prime is small by this feature only
        for table in lookup.SubTable:
            kind = "alternates" if hasattr(table, "alternates") else "mapping"
            primes = {k: v for k, v in getattr(table, kind, {}).items() if k == "minute"}
            setattr(table, kind, primes)
    _write(font, target, _in_formulas(), ["ssty"])


def _in_formulas() -> list[int]:
    italics = [0x1D44E + ord(c) - 97 if c.islower() else 0x1D434 + ord(c) - 65 for c in ITALIC]
    italics[ITALIC.index("h")] = 0x210E
    greek = [0x1D6FC + LOWER.index(c) for c in ITALIC_GREEK] + [0x1D715, 0x1D716]
    return [*map(ord, UPRIGHT + SIGNS), *italics, *greek]


def _write(font: TTFont, target: str, letters: Iterable[int], features: list[str]) -> None:
    options = subset.Options(layout_features=features, hinting=False, desubroutinize=True)
    options.name_IDs = [0, 1, 2, 13]
    font.flavor = None
    font.save(FOLDER / target)  # what was taken out above must not be looked for below
    font = TTFont(FOLDER / target)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=letters)
    cutter.subset(font)
    font["head"].modified = font["head"].created  # the same bytes at any time
    font.flavor = "woff2"
    font.recalcTimestamp = False
    font.save(FOLDER / target)
    size = (FOLDER / target).stat().st_size
    print(f"{target}: {size} bytes\n  unicode-range: {ranges(font.getBestCmap())};")  # noqa: T201


def ranges(letters: Iterable[int]) -> str:
    """Return code points as CSS writes them, for example `U+20-7E, U+A0`."""
    points = sorted(letters)
    ends = [i for i, (a, b) in enumerate(pairwise(points)) if b > a + 1]
    parts, start = [], 0
    for end in [*ends, len(points) - 1]:
        first, last = points[start], points[end]
        parts.append(f"U+{first:X}" if first == last else f"U+{first:X}-{last:X}")
        start = end + 1
    return ", ".join(parts)


if __name__ == "__main__":
    main()
