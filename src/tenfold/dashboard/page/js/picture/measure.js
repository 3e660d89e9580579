// How wide texts are: the browser is asked once for each.

const widths = new Map();

/** How wide a text is drawn; each text is measured once. */
export function measured(element) {
  const { textContent: text } = element;
  if (!text) return 0;
  const key = `${element.closest("svg")?.classList.contains("narrow")}${element.closest(".held") ? 1 : 0}${element.getAttribute("class")}${text}`;
  if (!widths.has(key)) {
    if (widths.size > 2000) widths.clear();
    widths.set(key, element.getComputedTextLength());
  }
  return widths.get(key);
}
