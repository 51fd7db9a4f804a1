// HTML allows no title inside a formula, so the box around it borrows that of the symbol pointed at.
addEventListener("pointerover", ({ target }) => {
  const symbol = target.closest?.("[data-says]");
  const box = symbol?.closest(".formula, .symbol");
  for (const other of document.querySelectorAll("[data-borrows]")) {
    if (other !== box) { other.removeAttribute("title"); delete other.dataset.borrows; }
  }
  if (box) { box.title = symbol.dataset.says; box.dataset.borrows = ""; }
});
