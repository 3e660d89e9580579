// One line above the picture about what was done from this page: a fault, its end. It leaves by itself.

const STAYS_MS = 15000;
let timer = null;

/** Says it; what is `over` leaves after a while, what goes on stays until something else is said. */
export function notice(text, over = false) {
  const line = document.getElementById("notice");
  clearTimeout(timer);
  line.textContent = text;
  line.hidden = false;
  line.classList.toggle("going-on", !over);
  if (over) timer = setTimeout(() => { line.hidden = true; }, STAYS_MS);
}
