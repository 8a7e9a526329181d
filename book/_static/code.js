// One switch shows or hides the code of every chapter; it is remembered. Outputs and solutions stay.

addEventListener("DOMContentLoaded", () => {
  const root = document.documentElement;
  const button = document.querySelector(".code-switch");
  if (!button) return;
  const show = (state) => {
    root.dataset.code = state;
    button.setAttribute("aria-pressed", String(state === "on"));
    button.querySelector(".code-state").textContent = state;
  };
  show(root.dataset.code);
  button.addEventListener("click", () => {
    const at = button.getBoundingClientRect().top; // the reader's place
    const nearest = [...document.querySelectorAll(".bd-article :is(h1, h2, h3, p, figure)")].find(
      (element) => element.getBoundingClientRect().top > at,
    );
    const before = nearest?.getBoundingClientRect().top;
    show(root.dataset.code === "on" ? "off" : "on");
    localStorage.setItem("code", root.dataset.code);
    if (nearest) scrollBy({ top: nearest.getBoundingClientRect().top - before, behavior: "instant" });
  });
});
