// What the pages need beside the theme: to work from a folder, and widgets that say what they are.

// A page opened from file:// may not fetch others, from which Sphinx's search would quote.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// FontAwesome must not replace the <i> of a widget while the widget still writes to it.
window.FontAwesomeConfig = { observeMutations: false };

const WIDGETS = "script[type='application/vnd.jupyter.widget-state+json']";

// Widgets wait for the page to have loaded, and setting hundreds of formulas would keep it from
// that for seconds: where there are widgets, formulas come second.
function afterTheFirstWidget() {
  if (!document.querySelector(WIDGETS)) return Promise.resolve();
  return new Promise((resolve) => {
    const drawn = new MutationObserver(() => {
      if (!document.querySelector(".jupyter-widgets")) return;
      drawn.disconnect();
      setTimeout(resolve);
    });
    drawn.observe(document.body, { subtree: true, childList: true });
    addEventListener("load", () => setTimeout(resolve, 3000)); // a widget that never comes
  });
}
if (window.MathJax) {
  MathJax.startup = {
    pageReady: () => afterTheFirstWidget().then(() => MathJax.startup.defaultPageReady()),
  };
}

// Widgets typeset their formulas through MathJax 2's queue; the page has MathJax 3.
addEventListener("DOMContentLoaded", () => {
  if (!window.MathJax?.startup) return;
  MathJax.Hub = {
    Queue: ([, , element]) => MathJax.startup.promise.then(() => MathJax.typesetPromise([element])),
  };
});

// To a screen reader a widget's slider has no name and its buttons look all alike.
function describeWidgets() {
  for (const slider of document.querySelectorAll(".widget-slider [role=slider]")) {
    const widget = slider.closest(".widget-slider");
    slider.ariaLabel = widget.querySelector(".widget-label").textContent;
    slider.ariaValueText = widget.querySelector(".widget-readout").textContent;
  }
  for (const group of document.querySelectorAll(".widget-toggle-buttons")) {
    group.role = "group";
    group.ariaLabel = group.querySelector(".widget-label").textContent;
  }
  for (const button of document.querySelectorAll(".widget-toggle-button")) {
    button.ariaPressed = button.classList.contains("mod-active");
  }
  for (const player of document.querySelectorAll(".widget-play")) {
    const names = ["Play or pause", "Back to the start", "Repeat"];
    player.querySelectorAll("button").forEach((button, i) => (button.ariaLabel = names[i]));
  }
}
addEventListener("DOMContentLoaded", () => {
  if (!document.querySelector(WIDGETS)) return;
  const changes = { subtree: true, childList: true, attributeFilter: ["class", "aria-valuenow"] };
  new MutationObserver(describeWidgets).observe(document.body, changes);
});

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
