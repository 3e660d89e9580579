// What flows: a line with moving dots, its figures beside it, and the gate as a gate.

import { keep, put, s, say, set } from "../dom.js";
import { ms, rate, t } from "../words.js";

/** An element for an arrow; `drawArrow` fills it. */
export function makeArrow() {
  const group = s("g", { class: "arrow" });
  const track = s("path", { class: "track" });
  const flow = s("path", { class: "flow" });
  const head = s("path", { class: "head", d: "M-6-10L0 0L6-10z" });
  const fans = s("g", { class: "fans" });
  const gate = s("g", { class: "gate" }, s("path", { class: "posts", d: "M-15-11V11M15-11V11" }),
    s("path", { class: "bar", d: "M-15 0H15" }));
  const pill = s("rect", { class: "pill", rx: 9, height: 42, y: -21 });
  const figures = s("text", { class: "figures" });
  const more = s("text", { class: "more" });
  const label = s("g", { class: "label" }, pill, figures, more);
  group.append(track, flow, head, fans, gate, label);
  Object.assign(group, { track, flow, head, fans, gate, label, pill, figures, more, known: new Map() });
  return group;
}

/** Brings an element to what its arrow is now. */
export function drawArrow(group, placed) {
  const { arrow, path, middle, end } = placed;
  const traffic = arrow.traffic;
  const speed = pace(traffic?.rate ?? 0);
  const failing = traffic !== null && traffic.errors > 0;
  set(group, "class", `arrow ${arrow.kind} pace-${arrow.gate === "held" ? 0 : speed}${failing ? " failing" : ""}${placed.level ? " level" : ""}`);
  put(group.track, { d: path });
  put(group.flow, { d: path });
  set(group.head, "transform", `translate(${end.x} ${end.y}) rotate(${end.turn})`);
  keep(group.fans, group.known, placed.fans, { key: (fan) => fan.key, make: makeFan, update: drawFan, leave: leaveArrow });
  drawGate(group, arrow, middle, placed.level);
  drawLabel(group, arrow, middle, placed.level);
}

/** Lets an arrow fade. */
export function leaveArrow(element) {
  element.classList.add("gone-now");
  setTimeout(() => element.remove(), 700);
}

const makeFan = () => s("path", { class: "fan" });
const drawFan = (path, fan) => put(path, { d: fan.path, class: `fan${fan.works ? "" : " no-work"}` });

/** Four paces, so that the dots do not jump whenever the rate changes a little. */
function pace(perSecond) {
  if (perSecond <= 0) return 0;
  return perSecond < 10 ? 1 : perSecond < 100 ? 2 : perSecond < 1000 ? 3 : 4;
}

function drawGate(group, arrow, middle, level) {
  put(group.gate, { transform: `translate(${middle.x} ${middle.y})${level ? " rotate(90)" : ""}`, class: `gate ${arrow.gate || "none"}` });
}

function drawLabel(group, arrow, middle, level) {
  const [first, second] = wordsOf(arrow);
  say(group.figures, first);
  say(group.more, second);
  const wide = Math.max(measured(first, 10.2), measured(second, 7.6)) + 20;
  const aside = arrow.gate ? 30 : 14;
  const at = level ? `translate(${middle.x - wide / 2} ${middle.y - 34})` : `translate(${middle.x + aside} ${middle.y})`;
  put(group.label, { transform: at, visibility: first ? null : "hidden" });
  put(group.pill, { width: wide, height: second ? 42 : 26, y: second ? -21 : -13 });
  put(group.figures, { x: 10, y: second ? -3 : 6 });
  put(group.more, { x: 10, y: 14 });
}

/** A rough width: what is wide in Korean is wide here. The pill only has to be no smaller than its text. */
function measured(text, unit) {
  let width = 0;
  for (const letter of text) width += letter > "\u1100" ? unit * 1.45 : letter === " " || letter === "·" ? unit * 0.55 : unit;
  return width;
}

/** Two lines: how much, and how quick; while a gate is held, how many wait. */
function wordsOf({ gate, waiting, traffic, kind }) {
  if (gate === "held") return [t("gate.held"), t("gate.waiting", { n: waiting })];
  if (!traffic) return ["", ""];
  if (traffic.errors > 0) return [rate(traffic.rate), t("failing", { rate: rate(traffic.errors) })];
  const quick = traffic.p50_ms === null ? "" : t("percentiles", { p50: ms(traffic.p50_ms), p99: ms(traffic.p99_ms) });
  return [kind === "requests" ? rate(traffic.rate) : `${rate(traffic.rate)} ${t(`kind.${kind}`)}`, quick];
}
