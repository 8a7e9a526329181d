// What the pages need beside the theme: to work from a folder, and widgets that say what they are.

// A page opened from file:// may not fetch others, from which Sphinx's search would quote.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// FontAwesome must not replace the <i> of a widget while the widget still writes to it.
window.FontAwesomeConfig = { observeMutations: false };

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
  if (!document.querySelector("script[type='application/vnd.jupyter.widget-state+json']")) return;
  const changes = { subtree: true, childList: true, attributeFilter: ["class", "aria-valuenow"] };
  new MutationObserver(describeWidgets).observe(document.body, changes);
});
