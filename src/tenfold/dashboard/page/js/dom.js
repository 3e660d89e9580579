// Making and changing elements. A value that is already there is not written again, so that drawing the same picture
// twice costs the browser nothing.

const SVG = "http://www.w3.org/2000/svg";
const written = new WeakMap();

/** An HTML element: `h("p", {class: "x", onclick: f}, "text", child)`. Text is never read as markup. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else set(element, key, value);
  }
  element.append(...children.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets an attribute if it is another one than before; null and false take it away. */
export function set(element, key, value) {
  let known = written.get(element);
  if (!known) written.set(element, (known = {}));
  const next = value === true ? "" : value === null || value === undefined || value === false ? null : String(value);
  if (known[key] === next && key in known) return;
  known[key] = next;
  if (next === null) element.removeAttribute(key);
  else element.setAttribute(key, next);
}

/** Sets several attributes. */
export function put(element, attributes) {
  for (const key in attributes) set(element, key, attributes[key]);
  return element;
}

/** Sets the text if it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets a custom property or a style, through the object model (no inline style in the document). */
export function style(element, name, value) {
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

/** Exchanges everything inside an element. What was unfolded stays so, and what had the focus gets it back (both by
 * `data-key`, the focus else by id). */
export function exchange(element, ...children) {
  const active = document.activeElement;
  const held = active && element.contains(active) ? active.dataset.key || active.id : "";
  const unfolded = new Set([...element.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
  element.replaceChildren(...children.flat(4).filter(Boolean));
  for (const one of element.querySelectorAll("details[data-key]")) one.open ||= unfolded.has(one.dataset.key);
  if (!held) return;
  const again = [...element.querySelectorAll("[data-key], [id]")].find((one) => (one.dataset.key || one.id) === held);
  again?.focus({ preventScroll: true });
}

/** Keeps children by key: `make(item)` for a new one, `update(element, item)` for each, `leave(element)` for one that
 * is gone (it removes the element itself, at once or later). The order of `items` is kept. */
export function keep(parent, known, items, { key, make, update, leave }) {
  const wanted = new Set();
  let last = null;
  for (const item of items) {
    const name = key(item);
    wanted.add(name);
    let element = known.get(name);
    if (!element) {
      known.set(name, (element = make(item)));
      if (last) last.after(element);
      else parent.prepend(element);
    }
    last = element;
    update(element, item);
  }
  for (const [name, element] of known) {
    if (wanted.has(name)) continue;
    known.delete(name);
    if (leave) leave(element);
    else element.remove();
  }
}
