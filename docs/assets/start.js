/* What a page needs at once: little. The theme's own script is larger than the text of a page, and is
 * fetched when the reader does something, if it is but to move the pointer; see docs/_kit/mend.py.
 */
"use strict";
(() => {
  document.documentElement.classList.replace("no-js", "js");

  /* The button for light and dark is shown by the theme's script; its place is kept from the start. */
  const palettes = [...document.querySelectorAll("input[name=__palette]")];
  const chosen = palettes[__md_get("__palette")?.index ?? 0];
  if (chosen) {
    chosen.checked = true;
    chosen.nextElementSibling.hidden = false;
  }

  /* The menu shows the page that is read from the start, with the height and the place that the theme's
   * script will give it; else it would jump when that comes. Its lines may break otherwise when the fonts
   * have come, so it is placed again then, unless the reader has begun to move things. */
  const menu = document.querySelector(".md-sidebar--primary .md-sidebar__scrollwrap");
  const active = [...menu?.querySelectorAll(".md-nav__link--active[href]") ?? []];
  function place() {
    const here = active.filter(link => link.clientHeight).pop();
    if (!here || getComputedStyle(menu).overflowY !== "auto") return; // in the drawer of a phone it is not
    const inner = menu.closest(".md-main__inner");
    const bottom = Math.min(inner.parentElement.getBoundingClientRect().bottom, innerHeight);
    menu.style.height = `${bottom - inner.offsetTop - 2 * menu.offsetTop}px`; // above and below the menu
    menu.scrollTop = here.offsetTop - menu.offsetTop - menu.clientHeight / 2;
  }
  place();
  let awake = false;
  document.fonts.ready.then(() => awake || place());

  const events = ["pointermove", "pointerdown", "touchstart", "wheel", "scroll", "keydown", "focusin"];
  function wake(event) {
    awake = true;
    for (const name of events) removeEventListener(name, wake);
    let last;
    for (const {dataset} of document.querySelectorAll("script[data-later]")) {
      last = document.createElement("script");
      last.src = dataset.later;
      last.async = false; // one after the other
      document.body.append(last);
    }
    last?.addEventListener("load", () => {
      document.dispatchEvent(new Event("DOMContentLoaded")); // the script waits for it, and it is over
      const body = document.body; // a shortcut is not lost; a Tab has moved the focus, and is done with
      if (event?.type === "keydown" && event.target === body && document.activeElement === body)
        body.dispatchEvent(new KeyboardEvent("keydown", event));
    });
  }
  for (const name of events) addEventListener(name, wake, {passive: true});
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => wake(), {once: true});
  if (/[?&]h=/.test(location.search)) wake(); // words to be marked
  if (document.querySelector("#__search:checked, #__drawer:checked")) wake();

  /* What is wider than its place scrolls there; then it can be reached and scrolled with the keys. */
  addEventListener("load", () => {
    const observer = new ResizeObserver(entries => {
      for (const {target} of entries) {
        if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
        else target.removeAttribute("tabindex");
      }
    });
    const wide = ".formula, .md-typeset__scrollwrap, .md-typeset__table, article pre > code, article table";
    for (const element of document.querySelectorAll(wide)) observer.observe(element);
    new MutationObserver(changes => { // the theme's script puts a box around each table
      for (const {addedNodes} of changes)
        for (const node of addedNodes) if (node.matches?.(wide)) observer.observe(node);
    }).observe(document.querySelector("article"), {childList: true, subtree: true});
  });
})();
