r"""`python -m refbn.diagnose package.module:batch_norm`: a diagnosis on the command line."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import sys
from pathlib import Path
from typing import Any

from refbn.diagnose.diagnosis import check


def main(arguments: list[str] | None = None) -> int:
    """Diagnose what is named on the command line.

    Args:
        arguments: The words of the command line; those of the program if None.

    Returns:
        0 if no law is broken, 1 if one is. What cannot be tried ends the program with 2.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    sys.path.insert(0, "")  # as python does for a script: what lies here can be imported
    try:
        passes = {name: getattr(given, name) for name in ("infer", "backward")}
        how = {name: _named(value) for name, value in passes.items() if value is not None}
        shape = {name: getattr(given, name) for name in ("channel_axis", "rank")}
        how |= {name: value for name, value in shape.items() if value is not None}
        report = check(
            _named(given.target), like=given.like, seconds=given.seconds,
            **how, **dict(map(_word, given.words)),
        )  # fmt: skip
    except (TypeError, ValueError, ImportError, AttributeError) as error:
        parser.error(str(error))
    print(report.to_json()) if given.json else report.show()  # noqa: T201
    return report.exit_status


def _parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m refbn.diagnose",
        description="Try the laws of batch norm on somebody's batch norm.",
    )
    parser.add_argument(
        "target", help="package.module:name of a function, class or object, or a file.onnx"
    )
    parser.add_argument("--infer", help="package.module:name of the forward pass at inference")
    parser.add_argument("--backward", help="package.module:name of the backward pass")
    parser.add_argument("--with", dest="words", action="append", default=[], metavar="NAME=VALUE",
                        help="an argument by name, such as eps=1e-5; more may follow")  # fmt: skip
    parser.add_argument("--channel-axis", type=int, help="the axis of the channels; 1 if not said")
    parser.add_argument("--rank", type=int, help="how many axes a batch has, if it takes no other")
    parser.add_argument("--like", help="the framework whose defaults it must have, such as PyTorch")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long a law may take; 5")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _named(target: str) -> Any:
    """Return what package.module:name names, or the path of a file.

    Raises:
        ImportError: If the module cannot be imported, for whatever it raises.
    """
    if target.endswith(".onnx"):
        return Path(target)
    module, colon, name = target.partition(":")
    if not colon:
        raise ValueError(f"the target must be package.module:name or a file.onnx; got {target!r}.")
    try:
        thing: Any = importlib.import_module(module.removesuffix(".py"))
    except Exception as error:
        raise ImportError(
            f"{module} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def _word(text: str) -> tuple[str, Any]:
    """Return name and value of NAME=VALUE; a value that is no literal is a text."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--with takes NAME=VALUE, such as eps=1e-5; got {text!r}.")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # at once, as a law that came to no end may still run
