// What the pages need beside the theme: to work from a folder, and boxes that scroll by keyboard.

// A page opened from file:// may not fetch others, from which Sphinx's search would quote.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// Formulas are set when the page has been drawn once: they take longer than all pictures with knobs.
const drawn = new Promise((done) => {
  addEventListener("DOMContentLoaded", () => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 500); // a page in the background is not drawn
  });
});
if (window.MathJax) {
  const pageReady = () => drawn.then(() => MathJax.startup.defaultPageReady());
  MathJax.startup = { ...MathJax.startup, pageReady };
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
