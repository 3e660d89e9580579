// One node in the picture, in four sizes; a `house` shows the parts that live in one process.

import { put, s, say, set, style } from "../dom.js";
import { ms, rate, role as roleWords, share, t } from "../words.js";
import { icon, sign } from "./icons.js";
import { measured } from "./measure.js";

const SCALES = { small: 0.9, tiny: 1.1, mote: 0.86 };

/** An element for a node; `drawNode` fills it. */
export function makeNode(box) {
  const group = s("g", { class: "node", role: "button", "data-node": box.node.name });
  style(group, "transform", `translate(${box.x}px, ${box.y}px)`);
  return group;
}

/** Brings an element to what its node is now. */
export function drawNode(group, box) {
  const { node } = box;
  if (group.kind !== box.kind || group.size !== shapeOf(box)) build(group, box);
  set(group, "class", `node ${box.kind} ${node.health}${node.clients ? "" : " no-clients"}`);
  set(group, "aria-label", described(node));
  style(group, "transform", `translate(${box.x}px, ${box.y}px)`);
  if (group.health !== node.health) {
    group.health = node.health;
    group.parts.sign.replaceChildren(sign(node.health, SCALES[box.kind] ?? 1));
  }
  group.parts.update(box);
}

/** What a screen reader says of a node, and the list says of it too. */
export function described(node) {
  const said = [node.name, roleWords(node.role, 1), t(`health.${node.health}`)];
  if (!node.clients) said.push(t("no_clients"));
  if (node.says) said.push(node.says);
  if (node.values.cpu !== undefined) said.push(t("cpu", { value: share(load(node)) }));
  return said.join(", ");
}

/** How much of what it can use a node uses, 0 to 1. */
export const load = (node) => Math.min(1, (node.values.cpu ?? 0) / (node.values.cpu_max || 1));

/** What a drawing is made for: another size, or other parts, and it is made anew. */
const shapeOf = ({ w, h, kind, node }) => `${w} ${h} ${kind === "house" ? node.parts.map((part) => part.kind).join() : ""}`;

function build(group, box) {
  Object.assign(group, { kind: box.kind, size: shapeOf(box), health: "" });
  group.replaceChildren();
  const made = { house, full, small, tiny, mote: tiny }[box.kind](box);
  group.parts = made;
  group.append(...made.elements);
}

const place = (x, y, child, name = "") => s("g", { transform: `translate(${x} ${y})`, class: name }, child);

function tiny({ w, h }) {
  const title = s("title");
  const shield = s("g", { transform: `translate(${w / 2} ${h / 2})` });
  const target = s("rect", { class: "hit", width: w, height: h, rx: 6 });
  return { elements: [title, target, shield], sign: shield, update: ({ node }) => say(title, node.name) };
}

function small({ w, h }) {
  const shield = s("g", { transform: `translate(${w - 5} 5)` });
  const name = s("text", { class: "name", x: 11, y: h / 2 + 2 });
  const bar = meter(10, h - 8, w - 20);
  const box = s("rect", { class: "box", width: w, height: h, rx: 9 });
  return { elements: [box, name, shield, bar.element], sign: shield, update: ({ node }) => { say(name, node.name); bar.update(node); } };
}

function full({ w, h, role }) {
  const shield = s("g", { transform: `translate(${w - 6} 6)` });
  const slim = w < 165;
  const left = slim ? 14 : 54;
  const name = s("text", { class: "name", x: left, y: 33 });
  const state = s("text", { class: "line", x: left, y: 54 });
  const extra = s("text", { class: "line", x: w - 14, y: 54, "text-anchor": "end" });
  const bar = meter(14, h - 16, w - 28);
  const box = s("rect", { class: "box", width: w, height: h, rx: 12 });
  const drawn = slim ? [] : [place(30, 38, icon(role))];
  const update = ({ node, tier: now }) => {
    say(name, node.name);
    say(state, lineOf(node));
    say(extra, slim && node.clients ? "" : engineOf(now, node));
    bar.update(node);
  };
  return { elements: [box, ...drawn, name, state, extra, shield, bar.element], sign: shield, update };
}

/** What stands at the end of the second line: the version of the code, or the engine where a tier has two. */
function engineOf(tier, node) {
  if (tier.nodes.some((other) => other.engine !== node.engine)) return node.engine;
  return node.health === "well" && node.clients ? node.version : "";
}

/** One process with everything in it: the first figure of the book. */
function house(box) {
  const { w, h, node, role } = box;
  const shield = s("g", { transform: `translate(${w - 22} 24)` });
  const wide = w > 400;
  const name = s("text", { class: "name big", x: wide ? 60 : 18, y: 32 });
  const state = s("text", { class: "line", x: w - 42, y: 31, "text-anchor": "end" });
  const bar = meter(18, h - 15, w - 36);
  const rooms = node.parts.map((part, at) => room(part, roomOf(at, node.parts.length, w, h)));
  const wires = rooms.slice(1).map(({ at }) => wire(rooms[0].at, at));
  const elements = [s("rect", { class: "box", width: w, height: h, rx: 14 }), wide ? place(33, 28, icon(role)) : null,
    name, state, ...wires, ...rooms.map(({ element }) => element), shield, bar.element];
  const update = ({ node: now }) => {
    say(name, now.name);
    say(state, lineOf(now, true));
    bar.update(now);
    rooms.forEach((one, at) => now.parts[at] && one.update(now.parts[at]));
  };
  return { elements: elements.filter(Boolean), sign: shield, update };
}

/** The first part stands above, the others in a row below it. */
function roomOf(at, count, w, h) {
  const gap = w > 400 ? 16 : 6;
  const pad = w > 400 ? 18 : 8;
  const top = { x: w / 2 - (w > 400 ? 78 : 62), y: 50, w: w > 400 ? 156 : 124, h: 48 };
  if (at === 0) return top;
  const width = Math.min(170, (w - 2 * pad - gap * (count - 2)) / (count - 1));
  const left = (w - (count - 1) * (width + gap) + gap) / 2;
  return { x: left + (at - 1) * (width + gap), y: h - 84, w: width, h: 56 };
}

function wire(from, to) {
  const [x, y, tx] = [from.x + from.w / 2, from.y + from.h, to.x + to.w / 2];
  const bend = (y + to.y) / 2;
  return s("path", { class: "wire", d: `M${x} ${y}C${x} ${bend} ${tx} ${bend} ${tx} ${to.y}` });
}

function room(part, at) {
  const slim = at.w < 130;
  const left = slim ? 8 : 40;
  const label = s("text", { class: "part-name", x: left, y: at.h / 2 - 4 });
  const figure = s("text", { class: "part-line", x: left, y: at.h / 2 + 15 });
  const element = s("g", { transform: `translate(${at.x} ${at.y})` }, s("rect", { width: at.w, height: at.h, rx: 9 }));
  if (!slim) element.append(place(21, at.h / 2, s("g", { transform: "scale(.72)" }, icon(part.kind))));
  element.append(label, figure, s("path", { class: "part-gate", d: `M${at.w / 2 - 17}-9h34` }));
  const update = (now) => {
    set(element, "class", `part ${now.kind} ${now.health}${now.gate === "held" ? " held" : ""}`);
    say(label, t(`part.${now.kind}`));
    say(figure, partLine(now, slim));
    if (measured(figure) > at.w - left - 6) say(figure, partLine(now, true));
  };
  return { element, update, at };
}

function partLine(part, slim) {
  if (part.gate === "held") return t("part.held", { n: part.values.held ?? 0 });
  if (part.traffic && part.traffic.rate > 0) {
    const p99 = part.traffic.p99_ms;
    return slim || p99 === null ? rate(part.traffic.rate) : `${rate(part.traffic.rate)} · ${ms(p99)}`;
  }
  if (part.values.hits !== undefined) return t("part.hits", { value: share(part.values.hits) });
  if (part.values.cache_hits !== undefined) return t("part.hits", { value: share(part.values.cache_hits) });
  if (part.values.queue) return t("part.waiting", { n: part.values.queue });
  return t("quiet");
}

/** What is said below a name: why it is not well, that nobody comes yet, or how much it works. */
function lineOf(node, long = false) {
  if (node.health !== "well") return t(`health.${node.health}`);
  if (!node.clients) return t("no_clients.short");
  if (node.values.cpu === undefined) return node.version;
  const cpu = t("cpu", { value: share(load(node)) });
  return long && node.version ? `${cpu} · ${node.version}` : cpu;
}

/** How full a node is, as a bar that has a shape of its own when it is nearly full. */
function meter(x, y, width) {
  const filled = s("rect", { class: "used", width, height: 5, rx: 2.5 });
  const element = s("g", { class: "meter", transform: `translate(${x} ${y})`, "aria-hidden": "true" },
    s("rect", { class: "all", width, height: 5, rx: 2.5 }), filled);
  const update = (node) => {
    const used = load(node);
    put(element, { class: `meter${used > 0.85 ? " full-up" : used > 0.7 ? " busy" : ""}`, visibility: node.values.cpu === undefined ? "hidden" : null });
    style(filled, "transform", `scaleX(${Math.max(0.01, used).toFixed(3)})`);
  };
  return { element, update };
}
