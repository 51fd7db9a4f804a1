"""The short names of the documented package are found, whatever page a builder takes first.

`refbn.fold_into_next` comes from `refbn.folding`. Griffe learns that both are one only when it
looks at the import in `refbn`. If that is after the page of `refbn.folding` was made, a link by the
short name leads nowhere; so here it looks at once.
"""

from __future__ import annotations

from typing import Any

import griffe


class Aliases(griffe.Extension):
    """Follows what a package imports from its own modules, as soon as it is read."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Follow the imports in its `__init__.py`."""
        for member in pkg.members.values():
            if isinstance(member, griffe.Alias) and member.target_path.startswith(f"{pkg.path}."):
                member.resolve_target()
