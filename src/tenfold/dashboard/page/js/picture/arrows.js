// What flows: a line with moving dots, its figures beside it, and the gate as a gate.

import { keep, put, s, say, set } from "../dom.js";
import { ms, rate, t } from "../words.js";
import { measured } from "./measure.js";

/** An element for an arrow; `drawArrow` fills it. */
export function makeArrow() {
  const group = s("g", { class: "arrow" });
  const track = s("path", { class: "track" });
  const flow = s("path", { class: "flow" });
  const head = s("path", { class: "head", d: "M-6-10L0 0L6-10z" });
  const fans = s("g", { class: "fans" });
  const gate = s("g", { class: "gate" }, s("path", { class: "wing left", d: "M-16 0H-1" }),
    s("path", { class: "wing right", d: "M16 0H1" }), s("circle", { class: "post", cx: -16, r: 3.6 }), s("circle", { class: "post", cx: 16, r: 3.6 }));
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
  const { arrow, path, end, level, idle } = placed;
  const gate = placed.gate ?? placed.middle;
  const speed = arrow.gate === "held" || idle ? 0 : pace(arrow.traffic?.rate ?? 0);
  const failing = arrow.traffic !== null && arrow.traffic.errors > 0;
  set(group, "class", `arrow ${arrow.kind} pace-${speed}${failing ? " failing" : ""}${level ? " level" : ""}${idle ? " idle" : ""}${arrow.gate === "held" ? " held" : ""}`);
  put(group.track, { d: path });
  put(group.flow, { d: path });
  set(group.head, "transform", `translate(${end.x} ${end.y}) rotate(${end.turn})`);
  keep(group.fans, group.known, placed.fans, { key: (fan) => fan.key, make: makeFan, update: drawFan, leave: leaveArrow });
  put(group.gate, { transform: `translate(${gate.x} ${gate.y})`, class: `gate ${(!idle && arrow.gate) || (arrow.gate === "held" ? "held" : "none")}` });
  drawLabel(group, placed, idle && arrow.gate !== "held" ? ["", ""] : wordsOf(arrow, placed));
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

function drawLabel(group, { arrow, middle, gate, level, width }, [first, second]) {
  say(group.figures, first);
  say(group.more, second);
  set(group.label, "visibility", first ? null : "hidden");
  const wide = Math.max(measured(group.figures), measured(group.more)) + 16;
  const aside = arrow.gate && !level && !gate ? 26 : 12;
  const fits = middle.x + aside + wide <= width;
  const x = level ? middle.x - wide / 2 : fits ? middle.x + aside : middle.x - aside - wide;
  set(group.label, "transform", `translate(${x} ${middle.y})`);
  put(group.pill, { width: level ? 0 : wide, height: second ? 44 : 28, y: second ? -22 : -14 });
  put(group.figures, { x: level ? wide / 2 : 8, y: level ? -9 : second ? -2 : 6, "text-anchor": level ? "middle" : "start" });
  put(group.more, { x: level ? wide / 2 : 8, y: level ? 21 : 15, "text-anchor": level ? "middle" : "start" });
}

/** Two lines: how much, and how quick; while a gate is held, how many wait. */
function wordsOf({ gate, waiting, traffic, kind }, { narrow, lane }) {
  if (kind === "jobs") return traffic || waiting ? [traffic ? rate(traffic.rate) : "", waiting ? t("gate.waiting", { n: waiting }) : t("kind.jobs")] : ["", ""];
  if (gate === "held") return [t("gate.held"), t("gate.waiting", { n: waiting })];
  if (!traffic) return ["", ""];
  if (traffic.errors > 0) return [rate(traffic.rate), t("failing", { rate: rate(traffic.errors) })];
  if (narrow && lane) return [rate(traffic.rate), ""];
  const values = { p50: ms(traffic.p50_ms), p99: ms(traffic.p99_ms) };
  const quick = traffic.p50_ms === null ? "" : t(narrow ? "p99" : "percentiles", values);
  return [rate(traffic.rate), quick];
}
