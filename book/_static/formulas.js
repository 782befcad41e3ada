// Formulas on a narrow screen. MathJax 3 sets a formula in the text as one unbreakable box, which a phone would cut off.
// Here its outermost rows may break after a relation or an operator, as in TeX, and the punctuation beside a formula stays
// with it.
(() => {
  function open(row) {
    row.style.display = "inline";
    for (const part of [...row.children]) {
      const rows = part.matches("mjx-mrow, mjx-mstyle, mjx-texatom") && part.children.length > 1;
      if (rows) open(part);
      // MathJax notes the space beside relations (4) and binary operators (3).
      if (part.matches("mjx-mo[space='3'], mjx-mo[space='4'], mjx-mo[space='5']") && part.nextElementSibling) {
        part.after(document.createElement("wbr"));
      }
    }
  }

  function keep(formula) {
    const before = formula.previousSibling, after = formula.nextSibling;
    const opening = before?.nodeType === Node.TEXT_NODE && before.data.match(/[(\[“‘]+$/)?.[0] || "";
    const closing = after?.nodeType === Node.TEXT_NODE && after.data.match(/^[.,;:!?)\]”’]+/)?.[0] || "";
    if (!opening && !closing) return;
    const whole = document.createElement("span");
    whole.className = "unbroken";
    if (opening) before.data = before.data.slice(0, -opening.length);
    if (closing) after.data = after.data.slice(closing.length);
    formula.replaceWith(whole);
    whole.append(opening, formula, closing);
  }

  addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => {
    for (const container of document.querySelectorAll("mjx-container")) {
      const row = container.querySelector(":scope > mjx-math");
      if (!row || row.querySelector(":scope > mjx-mtable")) continue;
      open(row);
      if (container.hasAttribute("display")) continue;
      container.style.display = "inline";
      keep(container.closest("span.math") ?? container);
    }
    document.documentElement.dataset.formulas = "set";
  }));
})();
