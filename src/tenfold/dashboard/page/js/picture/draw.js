// The picture: an SVG that is kept and changed, node by node, so that what appears fades in and what leaves fades out.

import { keep, put, s, say, set } from "../dom.js";
import { role as roleWords, t } from "../words.js";
import { drawArrow, leaveArrow, makeArrow } from "./arrows.js";
import { users } from "./icons.js";
import { measured } from "./measure.js";
import { drawNode, makeNode } from "./nodes.js";
import { fitted } from "./layout.js";

const FADE_MS = 700;

/** Draws pictures into `canvas`; `chosen(name)` when a node is clicked or Enter is pressed on it. */
export class Drawing {
  constructor(canvas, chosen) {
    this.canvas = canvas;
    this.chosen = chosen;
    this.svg = s("svg", { class: "figure", role: "group" });
    this.layers = ["frames", "lines", "nodes", "labels"].map((name) => s("g", { class: name }));
    this.svg.append(...this.layers);
    this.known = { frames: new Map(), lines: new Map(), nodes: new Map() };
    this.svg.addEventListener("click", (event) => this.open(event));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    canvas.append(this.svg);
    new ResizeObserver(() => this.picture && this.draw(this.picture)).observe(canvas);
  }

  /** Draws a picture; the same one again where the window or the language is another. */
  draw(picture) {
    this.picture = picture;
    const { clientWidth: width } = this.canvas;
    if (!width) return;
    const made = (this.made = fitted(picture, width, this.room(), this.made));
    const scale = width / made.width;
    put(this.svg, { viewBox: `0 0 ${made.width} ${made.height}`, "aria-label": t("picture.of", { service: picture.service }) });
    put(this.svg, { width, height: Math.round(made.height * scale), class: `figure${made.narrow ? " narrow" : ""}` });
    const [frames, lines, nodes] = this.layers;
    const going = { leave };
    keep(frames, this.known.frames, made.tiers, { key: (box) => box.role, make: makeFrame, update: (g, box) => drawFrame(g, box, picture, made.narrow), ...going });
    keep(lines, this.known.lines, made.arrows, { key: (arrow) => arrow.key, make: makeArrow, update: drawArrow, leave: leaveArrow });
    keep(nodes, this.known.nodes, made.nodes, { key: (box) => box.node.name, make: makeNode, update: drawNode, ...going });
    this.rove();
  }

  /** How high the picture may be: what is left of the window, so that a class sees all of it at once. */
  room() {
    const top = this.canvas.getBoundingClientRect().top + scrollY;
    return innerHeight - top - (document.body.classList.contains("large") ? 84 : 92);
  }

  /** One stop of the Tab key per tier; the arrow keys go on from there. */
  rove() {
    const active = document.activeElement?.dataset?.node;
    for (const { nodes } of this.made.tiers) {
      const stop = nodes.find(({ node }) => node.name === active) ?? nodes.find(({ node }) => node.health !== "well") ?? nodes[0];
      for (const box of nodes) set(this.known.nodes.get(box.node.name), "tabindex", box === stop ? 0 : -1);
    }
  }

  open(event) {
    const name = event.target.closest("[data-node]")?.dataset.node;
    if (name) this.chosen(name);
  }

  key(event) {
    const name = event.target.dataset?.node;
    if (!name) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.chosen(name);
    }
    const next = this.nextOf(name, event.key);
    if (!next) return;
    event.preventDefault();
    const element = this.known.nodes.get(next.node.name);
    element.focus();
    this.rove();
  }

  /** The node that lies nearest in the direction of an arrow key. */
  nextOf(name, key) {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const [dx, dy] = directions[key] ?? [0, 0];
    if (!dx && !dy) return null;
    const here = this.made.nodes.find((box) => box.node.name === name);
    let best = null;
    let least = Infinity;
    for (const box of this.made.nodes) {
      const along = dx * (box.x - here.x) + dy * (box.y - here.y);
      const across = Math.abs(dy * (box.x + box.w / 2 - here.x - here.w / 2)) + Math.abs(dx * (box.y - here.y));
      const far = along + 3 * across;
      if (along > 4 && far < least) [best, least] = [box, far];
    }
    return best;
  }
}

function leave(element) {
  element.classList.add("gone-now");
  element.removeAttribute("tabindex");
  setTimeout(() => element.remove(), FADE_MS);
}

function makeFrame(box) {
  const first = box.role === "users" ? s("g", { class: "where-from" }, users()) : s("rect", { rx: 16, class: "fence" });
  return s("g", { class: "frame" }, first, s("text", { class: "tier-title" }), s("text", { class: "tier-more" }));
}

function drawFrame(group, box, picture, narrow) {
  const [first, title, more] = group.children;
  set(group, "class", `frame ${box.tier.health} ${box.role}`);
  if (box.role === "users") return drawUsers(group.children, box, picture, narrow);
  put(first, { x: box.x, y: box.y, width: box.w, height: box.h });
  put(title, { x: box.x + (narrow ? 12 : 18), y: box.y + box.h - 10, "text-anchor": "start" });
  say(title, titleOf(box));
  put(more, { x: box.x + box.w - (narrow ? 12 : 18), y: box.y + box.h - 10, "text-anchor": "end" });
  say(more, moreOf(box));
  set(more, "visibility", measured(title) + measured(more) + 48 > box.w ? "hidden" : null);
  return undefined;
}

function drawUsers([people, title, more], box, picture, narrow) {
  set(people, "transform", `translate(${box.cx + 3} ${box.y + 24})`);
  put(title, { x: box.cx + 62, y: box.y + (narrow ? 32 : 24) });
  say(title, roleWords("users"));
  put(more, { x: box.cx + 62, y: box.y + 43, visibility: narrow ? "hidden" : null });
  say(more, picture.address.replace(/^https?:\/\//, ""));
}

const titleOf = ({ tier }) => {
  const name = roleWords(tier.role, tier.nodes.length);
  return tier.nodes.length > 1 ? `${name} · ${tier.nodes.length}` : name;
};

/** The engine, or how many of a large tier are not well. */
function moreOf({ tier, kind }) {
  const bad = tier.nodes.filter((node) => node.health !== "well").length;
  if ((kind === "tiny" || kind === "mote") && bad) return t("not_well", { n: bad });
  const engines = new Set(tier.nodes.map((node) => node.engine || tier.backend));
  return engines.size === 1 ? [...engines][0] : "";
}
