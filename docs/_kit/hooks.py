"""What MkDocs calls while it builds. None of it touches Markdown: another builder needs none.

Another builder converts the pages itself, one after the other, and is followed by
`python -m _kit.finish site`.
"""

from pathlib import Path
from typing import Any

from _kit import ahead, alone, finish, overview, policy, social, styles
from _kit.kept import Kept

SLOW = [styles.gather, social.write]  # and nobody misses them while a page is being written
_serving = False


def on_startup(command: str, dirty: bool) -> None:  # noqa: ARG001, FBT001 (MkDocs' arguments)
    """Note whether the site is only to be looked at, and at once."""
    global _serving  # noqa: PLW0603 (MkDocs keeps the module for all of a command)
    _serving = command == "serve"


def on_files(files: Any, config: Any) -> None:  # noqa: ARG001 (MkDocs' arguments)
    """Leave of all pages but one the places that links lead to, if one is chosen."""
    alone.choose(files)


def on_nav(nav: Any, config: Any, files: Any) -> None:  # noqa: ARG001 (MkDocs' arguments)
    """Begin to convert the pages, now that all of them are known."""
    alone.simplify(files)
    ahead.begin(config, files, Kept(config, files) if _serving else None)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:  # noqa: ARG001 (idem)
    """Let names lead to the places where the pages that are left out document them."""
    return alone.document(html, page, config.plugins["autorefs"])


def on_env(env: Any, config: Any, files: Any) -> None:  # noqa: ARG001 (idem)
    """Write the chosen page alone, where it is only to be looked at."""
    if _serving:
        alone.leave_out(files)


def on_build_error(error: Exception) -> None:  # noqa: ARG001 (MkDocs' arguments)
    """Convert no more pages of a build that failed."""
    ahead.end()


def on_shutdown() -> None:
    """Convert no more pages, however the command ends."""
    ahead.end()


def on_post_build(config: Any) -> None:
    """Finish a site that MkDocs has built."""
    finish.finish(Path(config.site_dir), _steps())


def _steps() -> list[finish.Step]:
    """Return the steps over the built files.

    A server of pages that are being written puts a script of its own into each, which the policy
    would forbid. Of a page alone only that page is finished.
    """
    steps = [step for step in finish.STEPS if not (_serving and step in [policy.protect, *SLOW])]
    if alone.chosen():
        behind = steps.index(overview.settle) + 1
        steps = [alone.lend, *steps[:behind], alone.leave, *steps[behind:]]
    return steps
