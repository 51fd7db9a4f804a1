// Slider figures. Every frame was computed when the site was built; this picks. See docs/_kit/slider.py.
for (const figure of document.querySelectorAll("figure.slider")) {
  const all = selector => [...figure.querySelectorAll(selector)];
  const inputs = all("input"), readouts = all("output b");

  // The place of the present frame among those that differ in the controls "02", say.
  const place = on => [...on].reduce((i, c) => i * (+inputs[c].max + 1) + +inputs[c].value, 0);

  const varying = all("svg *").flatMap(element => [...element.attributes]
    .filter(({name}) => name.startsWith("data-"))
    .map(({name, value}) => [element, name.slice(5), ...value.split("\n")]));
  const tables = all("table").map(table =>
    [table.dataset.on, table.querySelectorAll(".readout").length, table.querySelectorAll("td")]);

  const show = () => {
    for (const [element, name, on, ...values] of varying) {
      const value = values[place(on)], now = name == "text" ? element.textContent : element.getAttribute(name);
      if (value == (now ?? "")) continue; // a browser lays out again what is set, though it be the same
      if (name == "text") element.textContent = value;
      else if (value) element.setAttribute(name, value);
      else element.removeAttribute(name);
    }
    for (const input of inputs) {
      const text = input.dataset.texts.split("\n")[input.value];
      input.setAttribute("aria-valuetext", text);
      input.nextSibling.textContent = text;
    }
    let i = 0;
    for (const [on, width, cells] of tables)
      for (let column = 0; column < width; column++)
        readouts[i++].textContent = cells[place(on) * width + column].textContent;
  };
  figure.addEventListener("input", show);
  show();
  figure.querySelector(".controls").hidden = false;
}
