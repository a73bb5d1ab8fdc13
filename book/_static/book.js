/* What a reader can do beyond reading; every page is whole without it. */
(() => {
  "use strict";

  /* A folded control that an address points to is opened. */
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = target?.closest("div.claims details");
    if (fold) {
      fold.open = true;
      target.scrollIntoView();
    }
  }

  /* Paper shows what is folded. */
  function printing() {
    const folds = [...document.querySelectorAll("article details:not([open])")];
    folds.forEach((fold) => { fold.open = true; });
    addEventListener("afterprint", () => folds.forEach((fold) => { fold.open = false; }), { once: true });
  }

  function choice(label, values) {
    const box = document.createElement("select");
    box.append(new Option("all", ""), ...values.map((value) => new Option(value, value)));
    return labelled(label, box);
  }

  function labelled(words, field) {
    const label = document.createElement("label");
    label.append(words, " ", field);
    return label;
  }

  /* The filter of the page of all claims. */
  function filter() {
    const rows = [...document.querySelectorAll("div.claims tbody tr[data-page]")];
    const place = document.querySelector("h1");
    if (!document.querySelector("section#claims > h1") || !rows.length) return;
    const values = (key) => [...new Set(rows.map((row) => row.dataset[key]))];
    rows.forEach((row) => { row.dataset.paper = row.dataset.page[0]; });
    const fields = {
      paper: choice("Paper", values("paper")),
      page: choice("Page", values("page")),
      verdict: choice("Verdict", values("verdict")),
      mark: choice("Whose", values("mark")),
    };
    const text = labelled("Text", Object.assign(document.createElement("input"), { type: "search" }));
    const count = document.createElement("output");
    const form = document.createElement("form");
    form.className = "claims-filter";
    form.setAttribute("aria-label", "Filter the claims");
    form.append(...Object.values(fields), text, count);
    place.after(form);

    function apply() {
      const wanted = Object.entries(fields).map(([key, label]) => [key, label.lastChild.value]);
      const words = text.lastChild.value.toLowerCase().split(/\s+/);
      let shown = 0;
      for (const row of rows) {
        const content = row.textContent.toLowerCase();
        const fits = wanted.every(([key, value]) => !value || row.dataset[key] === value)
          && words.every((word) => content.includes(word));
        row.hidden = !fits;
        shown += fits;
      }
      count.textContent = `${shown} of ${rows.length} claims`;
    }

    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }

  addEventListener("DOMContentLoaded", () => { filter(); unfold(); });
  addEventListener("hashchange", unfold);
  addEventListener("beforeprint", printing);
})();
