// Light or dark: as the system says, until the button chooses. `data-theme` on the root element always holds which.
(function () {
  const root = document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  let choice = null;
  try { choice = localStorage.getItem("theme"); } catch { /* a page in a sandbox has no storage */ }
  function apply() {
    const before = root.dataset.theme;
    root.dataset.theme = choice || (system.matches ? "dark" : "light");
    if (before && before !== root.dataset.theme) dispatchEvent(new Event("themechange"));
  }
  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => document.getElementById("theme").addEventListener("click", () => {
    choice = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", choice); } catch { /* then the choice lasts as long as the page */ }
    apply();
  }));
})();
