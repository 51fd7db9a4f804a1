"""A page as a notebook: text, formulas and code, to be run by its reader.

It holds no outputs: they stand in the page, a prediction is open until the reader runs the cell,
and a figure in the site's colours follows the site into the dark and not the notebook.
"""

from __future__ import annotations

from typing import Any

import nbformat

from _kit.download.cells import Cell, Needs, is_warning, last_statement
from _kit.download.source import Fence
from _kit.page import Page

v4: Any = nbformat.v4  # typed in part
SHOW = "from IPython.display import Markdown  # shows tables and captions"


def notebook(page: Page, made: list[Cell], needs: Needs, site: str) -> str:
    """Return the notebook, as JSON.

    Args:
        page: The page.
        made: Its cells.
        needs: What they need.
        site: Name of the site.
    """
    packages = ", ".join(needs.packages)
    about = f"*A page of the site of {site}, as a notebook. It needs {packages}.*"
    found: list[Any] = [v4.new_markdown_cell(about)]
    for cell in made:
        found += _cells(page, cell)
    if any(cell.fence and cell.fence.result != "text" for cell in made):
        found.insert(1, v4.new_code_cell(SHOW))
    for number, cell in enumerate(found, 1):
        cell.id = f"cell-{number}"  # as nbformat would draw one at random
    book = v4.new_notebook(
        cells=found,
        metadata={
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "needs": {"requires-python": needs.python, "dependencies": needs.packages},
        },
    )
    nbformat.validate(book)
    return f"{v4.writes_json(book)}" + "\n"


def _cells(page: Page, cell: Cell) -> list[Any]:
    source = cell.source.strip("\n")
    if not cell.is_code:
        return [v4.new_markdown_cell(source)]
    return _code(page, source, cell.fence) if cell.fence else [v4.new_code_cell(source)]


def _code(page: Page, code: str, fence: Fence) -> list[Any]:
    """Return the cell of a block; code that the page folds away is folded away here too."""
    metadata: dict[str, Any] = {}
    if fence.block.options.get("source", "above") != "above" or fence.block.executes == "solution":
        metadata["jupyter"] = {"source_hidden": True}
    if "raises" in fence.block.options:
        metadata["tags"] = ["raises-exception"]
    if is_warning(fence):
        before, statement = last_statement(page, fence)
        code = f"import warnings\n\n{before}"
        code += f'with warnings.catch_warnings(action="error"):\n{statement}'
    if fence.result == "slider":
        code += "\n\n" + fence.left["call"]
    if fence.result in {"figure", "slider"}:
        code += '\nMarkdown(f"**{title}.** {caption}")'
    if fence.result != "markdown":
        return [v4.new_code_cell(code, metadata=metadata)]
    hidden = {"jupyter": {"source_hidden": True}}
    return [
        v4.new_code_cell(f"%%capture printed\n{code}", metadata=metadata),
        v4.new_code_cell("Markdown(printed.stdout)", metadata=hidden),
    ]
