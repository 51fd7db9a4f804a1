/* What is wider than its place scrolls there; then it can be reached and scrolled with the keys. */
"use strict";
addEventListener("load", () => {
  const observer = new ResizeObserver(entries => {
    for (const {target} of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  const wide = ".formula, .md-typeset__scrollwrap, .md-typeset__table, .output pre > code, article table";
  for (const element of document.querySelectorAll(wide)) observer.observe(element);
});
