// What the pages need beside the theme: to work from a folder, and boxes that scroll by keyboard.

// A page opened from file:// may not fetch others, from which Sphinx's search would quote.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Formulas are set when the page has been drawn once: they take longer than all pictures with knobs.
// Those in a fold are set when it is opened, or the page is printed. They share their glyphs.
const drawn = new Promise((done) => {
  addEventListener("DOMContentLoaded", () => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 500); // a page in the background is not drawn
  });
});
if (window.MathJax) {
  MathJax.startup = { ...MathJax.startup, pageReady: setFormulas };
  MathJax.svg = { ...MathJax.svg, fontCache: "global" };
}
const SEEN = { visibilityProperty: true, checkVisibilityCSS: true }; // the option's new and old name
async function setFormulas() {
  await drawn;
  const all = [...document.querySelectorAll(".math")];
  const folded = new Set(all.filter((formula) => formula.checkVisibility?.(SEEN) === false));
  MathJax.config.startup.elements = all.filter((formula) => !folded.has(formula));
  let ready = MathJax.startup.defaultPageReady();
  function open() {
    const shown = [...folded].filter((formula) => formula.checkVisibility(SEEN));
    for (const formula of shown) folded.delete(formula);
    if (shown.length) ready = ready.then(() => MathJax.typesetPromise(shown)).then(lookAgain);
  }
  const folds = { subtree: true, attributes: true, attributeFilter: ["open", "class"] };
  new MutationObserver(open).observe(document.body, folds);
  addEventListener("beforeprint", () => {
    if (folded.size) MathJax.typeset([...folded]);
    folded.clear();
  });
  return ready;
}

// The theme lets the keyboard reach what scrolls sideways, but looks again only at a new size or
// content: a listing in a box that was folded would be left out.
addEventListener("toggle", lookAgain, true);
addEventListener("click", (event) => event.target.closest(".toggle") && lookAgain());
function lookAgain() {
  dispatchEvent(new Event("resize"));
}

// What is wider than its box can be reached by keyboard, and fades where there is more to see.
const SCROLLS = ".bd-article :is(figure, .cell_output > .output, .pst-scrollable-table-container, mjx-container[display], div.math)";
function showWhatScrolls() {
  for (const box of document.querySelectorAll(SCROLLS)) cue(box);
}
function cue(box) {
  const hidden = box.scrollWidth - box.clientWidth;
  if (box.matches("figure")) {
    if (hidden > 0) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
  const sides = [box.scrollLeft > 2 && "left", box.scrollLeft < hidden - 2 && "right"];
  box.dataset.more = hidden > 2 ? sides.filter(Boolean).join(" ") : "";
}
addEventListener("load", showWhatScrolls);
addEventListener("resize", showWhatScrolls);
addEventListener("scroll", ({ target }) => target.matches?.(SCROLLS) && cue(target), true);

// The library's modules stood on one page once: whoever comes there for one of them is led on.
function leadOn() {
  const name = decodeURIComponent(location.hash).match(/^#(?:module-)?(?:infcop_lite\.)?(\w+)/)?.[1];
  if (!name || document.getElementById(location.hash.slice(1))) return;
  const row = document.querySelector(`.bd-article td:first-child a[href^="api-"][href$="#${name}"]`);
  if (row) location.replace(row.href.split("#")[0] + location.hash);
}
if (/\/api(\.html)?$/.test(location.pathname)) {
  addEventListener("DOMContentLoaded", leadOn);
  addEventListener("hashchange", leadOn);
}
