/* What a reader can do beyond reading; every page is whole without it. */
(() => {
  "use strict";

  /* A claim that an address points to is shown, a folded control opened. */
  function unfold() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const row = target?.closest("div.claims tr");
    if (row) row.hidden = false;
    const fold = target?.closest("div.claims details");
    if (fold) {
      fold.open = true;
      target.scrollIntoView();
    }
  }

  /* Paper is light, and shows what is folded. */
  function printing() {
    const root = document.documentElement;
    const theme = root.dataset.theme;
    const folds = [...document.querySelectorAll("article details:not([open])")];
    root.dataset.theme = "light";
    folds.forEach((fold) => { fold.open = true; });
    addEventListener("afterprint", () => {
      root.dataset.theme = theme;
      folds.forEach((fold) => { fold.open = false; });
    }, { once: true });
  }

  /* What a fold of code holds, in the words that are shown and read out. */
  function holds(cell) {
    const code = cell.querySelector("pre")?.textContent ?? "";
    if (/\bclaims\.(check|test|effect|control)\(/.test(code)) return "the code of these claims";
    if (/\bpage\.show\(/.test(code)) return "the code of the figure";
    if (/^\s*(from|import) /.test(code)) return "the imports";
    const name = /^(?:def|class) (\w+)/m.exec(code)?.[1];
    return name ? `the code of ${name}` : "this code";
  }

  function nameFolds() {
    for (const summary of document.querySelectorAll("div.cell details > summary")) {
      summary.removeAttribute("aria-label");
      const words = holds(summary.closest("div.cell"));
      const [shut, open] = [".collapsed", ".expanded"].map((name) => summary.querySelector(name));
      if (shut) shut.textContent = `Show ${words}`;
      if (open) open.textContent = `Hide ${words}`;
    }
    for (const summary of document.querySelectorAll("nav li > details > summary")) {
      const parent = summary.closest("li").querySelector("a");
      summary.setAttribute("aria-label", `Pages below ${parent.textContent.trim()}`);
    }
    for (const button of document.querySelectorAll("button.toggle-button")) {
      const title = button.closest(".admonition, .toggle")?.querySelector(".admonition-title");
      if (title) button.setAttribute("aria-label", `Show or hide: ${title.textContent.trim()}`);
    }
  }

  /* Only a formula that scrolls can be reached by the keyboard, to be scrolled by it. */
  function reachFormulas() {
    for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
      else formula.removeAttribute("tabindex");
    }
  }

  /* Entries of a bibliography are items of the list that they stand in. */
  function listEntries() {
    for (const entry of document.querySelectorAll(".citation-list > .citation")) {
      entry.setAttribute("role", "listitem");
    }
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
    const place = document.querySelector("section#claims > h1");
    if (!place || !rows.length) return;
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
    for (const [key, label] of Object.entries(fields)) label.lastChild.name = key;
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

  addEventListener("DOMContentLoaded", () => { filter(); unfold(); listEntries(); });
  addEventListener("load", () => window.MathJax?.startup.promise.then(reachFormulas));
  addEventListener("resize", reachFormulas);
  addEventListener("load", nameFolds);  // after the theme has made its buttons
  addEventListener("hashchange", unfold);
  addEventListener("beforeprint", printing);
})();
