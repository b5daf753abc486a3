// Light, dark, or as the system. A classic script, so that it runs before the first paint.
(() => {
  const KEPT = "clipserve-theme";
  const NAMES = { auto: "as the system", light: "light", dark: "dark" };
  const order = Object.keys(NAMES);
  const root = document.documentElement;

  function kept() {
    const name = localStorage.getItem(KEPT);
    return order.includes(name) ? name : "auto";
  }

  function show(name) {
    if (name === "auto") delete root.dataset.theme;
    else root.dataset.theme = name;
    document.getElementById("theme")?.setAttribute("aria-label", `Theme: ${NAMES[name]}`);
  }

  function next() {
    const name = order[(order.indexOf(kept()) + 1) % order.length];
    localStorage.setItem(KEPT, name);
    show(name);
  }

  show(kept());
  document.addEventListener("DOMContentLoaded", () => {
    show(kept());
    document.getElementById("theme")?.addEventListener("click", next);
  });
})();
