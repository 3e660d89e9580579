// What lies on something else in the drawing, or sticks out of it.
const shown = (e) => e.checkVisibility({ visibilityProperty: true });
const boxOf = (e) => e.getBoundingClientRect();
const view = boxOf(document.querySelector(".figure"));
const boxes = [...document.querySelectorAll(".node:not(.gone-now) .box")].map(boxOf);
const labels = [...document.querySelectorAll(".arrow:not(.gone-now) .label text")].filter(shown).map(boxOf);
const across = (a, b) => a.left < b.right - 1 && b.left < a.right - 1;
const over = (a, b) => across(a, b) && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const bad = [];
boxes.forEach((a, at) => boxes.slice(at + 1).forEach((b) => over(a, b) && bad.push("two boxes")));
const said = [...document.querySelectorAll(".arrow:not(.gone-now) .label")].map((e) => [...e.querySelectorAll("text")].filter((t) => shown(t) && t.textContent).map(boxOf));
said.forEach((one, at) => said.slice(at + 1).forEach((other) => one.some((a) => other.some((b) => over(a, b))) && bad.push("two labels")));
labels.forEach((a) => boxes.forEach((b) => over(a, b) && bad.push("a label on a box")));
for (const a of [...boxes, ...labels]) {
  if (a.left < view.left - 2 || a.right > view.right + 2 || a.bottom > view.bottom + 2) bad.push("outside");
}
return bad;
