"""What MkDocs calls while it builds. None of it touches Markdown: another builder needs none.

Another builder converts the pages itself, one after the other, and is followed by
`python -m _kit.finish site`.
"""

from pathlib import Path
from typing import Any

from _kit import ahead, finish, policy


def on_startup(command: str, dirty: bool) -> None:  # noqa: ARG001, FBT001 (MkDocs' arguments)
    """Leave the policy out of `mkdocs serve`, which puts a script of its own into each page."""
    if command == "serve":
        finish.STEPS[:] = [step for step in finish.STEPS if step is not policy.protect]


def on_nav(nav: Any, config: Any, files: Any) -> None:  # noqa: ARG001 (MkDocs' arguments)
    """Begin to convert the pages, now that all of them are known."""
    ahead.begin(config, files)


def on_build_error(error: Exception) -> None:  # noqa: ARG001 (MkDocs' arguments)
    """Convert no more pages of a build that failed."""
    ahead.end()


def on_shutdown() -> None:
    """Convert no more pages, however the command ends."""
    ahead.end()


def on_post_build(config: Any) -> None:
    """Finish a site that MkDocs has built."""
    finish.finish(Path(config.site_dir))
