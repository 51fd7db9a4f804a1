"""The second engine: the same mkdocs.yml and the same pages, built by Zensical.

    python -m _kit.engine build                   the whole site, into site/
    python -m _kit.engine serve 127.0.0.1:8000    the same, served, and built again at each change

Zensical knows no hooks (see hooks.py), so the last step of the build follows here. It also prints a
traceback where a page cannot be published; here its message alone is printed. Its cache holds pages
by their text, and by the second in which the files were saved that it knows of. So a build begins
without it; a server keeps it while nothing but pages changes. tests/site/engines.py lists in what
the sites of the two engines differ.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import zensical
from click import ClickException, argument, group, option
from mkdocs.exceptions import Abort
from mkdocs.livereload import LiveReloadServer

from _kit import finish, policy
from _kit.serve import host_and_port

CONFIGURATION = Path("mkdocs.yml")
SITE = Path("site")
FOLDERS = (Path("docs"), Path("refbn"))
CITED = "bibliography.md"  # the one page that others are made of
_FAILED = "Python error: PageError: "


@group()
def cli() -> None:
    """Build or serve the site with Zensical, from the folder that holds mkdocs.yml."""


@cli.command()
@option("--served", is_flag=True, help="Leave out the policy: a server adds a script to each page.")
@option("--cached", is_flag=True, help="Convert only the pages whose text has changed.")
def build(*, served: bool, cached: bool) -> None:
    """Build the site, and take the last step over it."""
    shutil.rmtree(SITE, ignore_errors=True)
    if served:
        finish.STEPS.remove(policy.protect)
    try:
        _convert(cached=cached)
        finish.finish(SITE)
    except BaseException:
        shutil.rmtree(SITE, ignore_errors=True)  # nobody is to publish what is not finished
        raise


def _convert(*, cached: bool) -> None:
    """Let Zensical make the pages.

    Raises:
        ClickException: If it cannot; with what the kit says of a page, but not the traceback.
    """
    try:
        zensical.build(str(CONFIGURATION.resolve()), {"clean": not cached, "strict": True})
    except RuntimeError as error:
        _, failed, said = str(error).partition(_FAILED)
        message = said.partition("\nTraceback ")[0] if failed else str(error)
        raise ClickException(message.rstrip()) from error


@cli.command()
@argument("address", default="127.0.0.1:8000")
def serve(address: str) -> None:
    """Serve the site, and build it again when a file of it has changed."""
    host, port = host_and_port(address)
    builder = _Builder()
    try:
        builder()
    except Abort as error:  # it serves what the next save makes
        print(error, file=sys.stderr)  # noqa: T201 (it is a command)
    server = LiveReloadServer(builder, host, port, str(SITE))
    for path in (CONFIGURATION, *FOLDERS):
        server.watch(str(path))
    print(f"Serving on {server.url}", flush=True)  # noqa: T201 (it is a command)
    try:
        server.serve()  # type: ignore[no-untyped-call] # MkDocs' own
    except KeyboardInterrupt:
        server.shutdown()


class _Builder:
    """Builds in a process of its own, which imports refbn and the kit as they are now."""

    def __init__(self) -> None:
        self.made_of: dict[Path, int] = {}

    def __call__(self) -> None:
        """Build the site.

        Raises:
            Abort: If that fails; the process has said why.
        """
        before, self.made_of = self.made_of, _saved()
        kept = ["--cached"] if before == self.made_of else []
        command = [sys.executable, "-m", "_kit.engine", "build", "--served", *kept]
        if subprocess.run(command, check=False).returncode:  # noqa: S603 (our own command)
            raise Abort("The site was not built; it will be once what stands above is mended.")


def _saved() -> dict[Path, int]:
    """Return the files of which all pages are made, with the times when they were saved."""
    files = [CONFIGURATION, *(path for folder in FOLDERS for path in folder.rglob("*.*"))]
    return {
        path: path.stat().st_mtime_ns
        for path in files
        if path.is_file() and path.suffix != ".pyc" and (path.suffix != ".md" or path.name == CITED)
    }


if __name__ == "__main__":
    cli()
