// MathJax 3 sets a formula in the text as one unbreakable box, which a phone would cut off. Here formulas may break as in
// TeX: after a relation; where that is not enough after a binary operator, and at last inside brackets, too. What is
// still too wide is made smaller. The punctuation beside a formula stays with it.
(() => {
  const SPACE = { 3: ".222em", 4: ".278em", 5: ".333em" };  // MathJax's, around binary operators (3) and relations (4, 5)
  const OPENING = ["28", "5B", "7B", "27E8", "230A"], CLOSING = ["29", "5D", "7D", "27E9", "230B"], BARS = ["7C", "2225"];
  const NEVER = ["22C5", "2223"];  // the dot of a product, the bar of a condition

  function sign(part) {
    const lone = part.matches("mjx-texatom") && part.children.length === 1 ? part.firstElementChild : part;
    const glyph = lone.matches("mjx-mo") && lone.querySelector("mjx-c");
    return glyph ? [...glyph.classList].find(name => name.startsWith("mjx-c"))?.slice(5) : undefined;
  }

  // Where the row may break: a level for each place, 1 between formulas, 2 after relations, 3 after operators, 4 in brackets.
  function open(row, depth) {
    row.style.display = "inline";
    let bar = false;
    for (const part of [...row.children]) {
      const glyph = sign(part), next = part.nextElementSibling;
      if (OPENING.includes(glyph)) depth++;
      if (CLOSING.includes(glyph)) depth--;
      if (BARS.includes(glyph)) { depth += bar ? -1 : 1; bar = !bar; }
      if (part.children.length > 1 && part.matches("mjx-mrow, mjx-mstyle, mjx-texatom")) open(part, depth + part.matches("mjx-mrow"));
      part.classList.add("flows");
      if (!next) continue;
      const space = part.getAttribute("space");
      let level = 0;
      const gap = part.matches("mjx-mstyle") && part.querySelector(":scope > mjx-mspace:only-child");
      if (gap) level = parseFloat(gap.style.width) >= 2 ? 1 : parseFloat(gap.style.width) >= 1 ? 3 : 4;  // \qquad, \quad, \,
      if (part.matches("mjx-mo") && SPACE[space] && next.getAttribute("space") === space) {
        level = NEVER.includes(glyph) ? 0 : depth > 0 ? 4 : space === "3" ? 3 : 2;
        next.removeAttribute("space");  // no indent on the next line
        part.style.marginRight = SPACE[space];
      }
      if (level) {
        const place = document.createElement("wbr");
        place.dataset.level = level;
        part.after(place);
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

  // The width there is and the width it takes; folded away, there is nothing to measure.
  function widths(formula) {
    if (formula.hasAttribute("display")) return [formula.clientWidth, formula.scrollWidth];  // its number stands beside it
    const parts = [...formula.querySelector("mjx-math").getClientRects()];
    const box = formula.closest("p, li, dd, td, div").getBoundingClientRect();
    return [box.width, parts.length ? Math.max(...parts.map(part => part.right)) - Math.min(box.left, ...parts.map(part => part.left)) : 0];
  }

  const formulas = [];
  function fit() {
    const tooWide = formula => { const [there, taken] = widths(formula); return taken > there + 1; };
    for (const formula of formulas) {
      formula.dataset.breaks = formula.hasAttribute("display") ? 0 : 2;
      formula.style.fontSize = formula.dataset.size;
    }
    for (let level = 1; level <= 4; level++) {
      for (const formula of formulas.filter(tooWide)) formula.dataset.breaks = Math.max(formula.dataset.breaks, level);
    }
    const sizes = formulas.filter(tooWide).map(formula => [formula, widths(formula)]);
    for (const [formula, [there, taken]] of sizes) formula.style.fontSize = `${parseFloat(formula.dataset.size) * Math.max(.45, .98 * there / taken)}%`;
  }

  addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => {
    for (const formula of document.querySelectorAll("mjx-container")) {
      const row = formula.querySelector(":scope > mjx-math");
      if (!row) continue;
      formulas.push(formula);
      formula.dataset.size = formula.style.fontSize || "100%";  // MathJax's, so that formulas fit the letters around them
      if (row.querySelector(":scope > mjx-mtable, :scope > mjx-mrow > mjx-mtable")) continue;
      open(row, 0);
      if (formula.hasAttribute("display")) continue;
      formula.style.display = "inline";
      keep(formula.closest("span.math") ?? formula);
    }
    fit();
    addEventListener("resize", fit);
    addEventListener("toggle", fit, true);  // what was folded away can be measured now
    document.documentElement.dataset.formulas = "set";
  }));
})();
