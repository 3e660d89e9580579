// Light or dark, before the first paint: a classic script, so that the page never flashes in the other one.
// "auto" follows the system.
(() => {
  const kept = (() => { try { return localStorage.getItem("tenfold.theme"); } catch { return null; } })();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
