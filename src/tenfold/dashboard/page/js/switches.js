// The switches in the head: language, light or dark, and the large picture. What was chosen is kept in the browser.

import { lang, LANGUAGES, onWords, speak, t } from "./words.js";

const THEMES = ["auto", "light", "dark"];
const by = (id) => document.getElementById(id);

/** Sets the switches up; the language that the page begins with: the chosen one, else what the server made of
 * Accept-Language. */
export function setUpSwitches() {
  by("theme").addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    keep("theme", next === "auto" ? "" : next);
    if (next === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    label();
  });
  by("language").addEventListener("click", async () => {
    const names = Object.keys(LANGUAGES);
    const next = names[(names.indexOf(lang()) + 1) % names.length];
    await speak(next);
    keep("language", next);
  });
  by("large").addEventListener("click", () => enlarge(!document.body.classList.contains("large")));
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, dialog");
    if (event.key === "l" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) enlarge(!document.body.classList.contains("large"));
  });
  onWords(label);
  return kept("language") || document.querySelector('meta[name="lang"]').content;
}

function enlarge(on) {
  document.body.classList.toggle("large", on);
  by("large").setAttribute("aria-pressed", String(on));
  dispatchEvent(new Event("resize"));
}

function label() {
  const names = Object.keys(LANGUAGES);
  const next = names[(names.indexOf(lang()) + 1) % names.length];
  by("language").textContent = LANGUAGES[next];
  by("language").lang = next;
  by("theme").textContent = t(`theme.${theme()}`);
}

const theme = () => document.documentElement.dataset.theme ?? "auto";

function kept(name) {
  try {
    return localStorage.getItem(`tenfold.${name}`) ?? "";
  } catch {
    return ""; // a browser that keeps nothing
  }
}

function keep(name, value) {
  try {
    localStorage.setItem(`tenfold.${name}`, value);
  } catch {
    // it is chosen for this visit only
  }
}
