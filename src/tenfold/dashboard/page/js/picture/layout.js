// Where everything of a picture goes: values in, values out, no element is touched. All lengths are units of the
// drawing. Nothing here knows a role: rows come from the arrows, sizes from how many nodes there are.

import { LANE, routes } from "./routes.js";

const GAP = 16;
const PAD = 18;
const TITLE = 30;
const FAN = 26;
const APART = 110;
const SIDE = 222;
const OVERHANG = 54; // a tier that stands beside may reach into the space between the rows
const NARROW = 620;

/** Sizes of a node, the roomiest first: `house` shows its parts, `tiny` and `mote` only its health. */
const KINDS = {
  house: { w: 480, h: 214, rows: 1, gap: GAP },
  full: { w: 184, h: 86, rows: 2, gap: GAP },
  small: { w: 106, h: 44, rows: 4, gap: 10 },
  tiny: { w: 22, h: 22, rows: 8, gap: 5 },
  mote: { w: 17, h: 17, rows: Infinity, gap: 4 },
};

/** The whole drawing for a width: `{width, height, narrow, tiers, nodes, arrows}`, each with its place. Arrows that
 * must go past others get lanes on the right, for which everything else makes room. */
export function layout(picture, width, lanes = 0) {
  const narrow = width < NARROW;
  const between = narrow ? 76 : 80;
  const room = width - (lanes ? lanes * LANE + 8 : 0);
  const boxes = new Map(picture.tiers.map((tier) => [tier.role, frame(tier, picture, room, narrow)]));
  const rows = rowsOf(picture, boxes, room, narrow);
  const axis = axisOf(rows, room);
  let y = 6;
  rows.forEach((row, at) => {
    const height = heightOf(row, rows[at - 1], rows[at + 1]);
    placeRow(row, axis, y, height);
    y += height + between;
  });
  const tiers = [...boxes.values()];
  const lane = Math.max(...tiers.map((box) => box.x + box.w)) + LANE;
  const made = routes(picture, boxes, { width, narrow, tiers, lane });
  if (made.lanes > lanes && lanes === 0) return layout(picture, width, made.lanes);
  return { width, height: y - between + 8, lanes, narrow, tiers, nodes: tiers.flatMap((box) => box.nodes), arrows: made.arrows };
}

/** The frame of one tier with its nodes inside, not yet placed. */
function frame(tier, picture, width, narrow) {
  if (tier.role === "users") return { tier, role: tier.role, w: 130, h: 52, nodes: [], kind: "users" };
  const pad = narrow ? 11 : PAD;
  const most = roomFor(tier, picture, width, narrow) - 2 - 2 * pad;
  const [kind, size] = sizeOf(tier, most, narrow);
  const cols = Math.max(1, Math.min(tier.nodes.length, Math.floor((most + size.gap) / (size.w + size.gap))));
  const rows = Math.max(1, Math.ceil(tier.nodes.length / cols));
  const packed = kind === "tiny" || kind === "mote";
  const even = packed ? cols : Math.max(1, Math.ceil(tier.nodes.length / rows));
  const inner = even * (size.w + size.gap) - size.gap;
  const top = packed ? PAD : FAN;
  const w = Math.max(inner, Math.min(most, narrow ? 150 : 186)) + 2 * pad;
  const h = top + rows * (size.h + size.gap) - size.gap + TITLE;
  const nodes = tier.nodes.map((node, at) => ({ node, tier, kind, role: tier.role, w: size.w, h: size.h, at, cols: even }));
  return { tier, role: tier.role, kind, w, h, top, inner, size, cols: even, nodes };
}

/** How wide a frame may be: a tier beside another one is a column, and its neighbour leaves it room. */
function roomFor(tier, picture, width, narrow) {
  if (narrow) return width;
  if (tier.beside) return SIDE;
  const shares = picture.tiers.some((other) => other.beside === tier.role) && tier.nodes.length < 60;
  return shares ? width - SIDE - APART : width;
}

function sizeOf(tier, most, narrow) {
  const count = tier.nodes.length;
  const app = tier.nodes[0]?.parts[0]?.kind === "app";
  if (count === 1 && app && most > 240) return ["house", { ...KINDS.house, w: Math.min(KINDS.house.w, most), h: narrow ? 204 : KINDS.house.h }];
  const sizes = { ...KINDS, full: narrow ? { ...KINDS.full, w: Math.min(KINDS.full.w, (most - GAP) / 2), rows: 3 } : KINDS.full };
  for (const kind of ["full", "small", "tiny", "mote"]) {
    const size = sizes[kind];
    const cols = Math.max(1, Math.floor((most + size.gap) / (size.w + size.gap)));
    if (Math.ceil(count / cols) <= size.rows) return [kind, size];
  }
  return ["mote", KINDS.mote];
}

/** Rows from the top down, each `{main, side}`. Tiers that are fed by the same ones and do not feed each other stand
 * side by side where there is room, as the data tier does in the books; `beside` says it outright. */
function rowsOf(picture, boxes, width, narrow) {
  const rows = [];
  const fed = (role) => picture.arrows.filter((arrow) => arrow.target === role).map((arrow) => arrow.source).sort().join();
  const joined = (one, other) => picture.arrows.some((arrow) => [arrow.source, arrow.target].sort().join() === [one, other].sort().join());
  const half = Math.max(...picture.tiers.filter((tier) => !tier.beside).map((tier) => boxes.get(tier.role).w)) / 2;
  for (const { role, beside } of picture.tiers) {
    const box = boxes.get(role);
    const home = beside && !narrow && rows.find((row) => row.main.some((other) => other.role === beside));
    if (home && Math.max(half, wide(home.main) / 2) + wide(home.main) / 2 + APART + box.w <= width - 2) {
      home.side.push(box);
      continue;
    }
    const last = rows.at(-1);
    const sibling = !beside && last && fed(role) && !last.side.length && last.main.every((other) => fed(other.role) === fed(role) && !joined(other.role, role));
    if (sibling && wide([...last.main, box]) <= width - 2) last.main.push(box);
    else rows.push({ main: [box], side: [] });
  }
  return rows;
}

const wide = (group) => group.reduce((sum, box) => sum + box.w + 2 * GAP, -2 * GAP);

/** Where the middle of all rows is, so that the way of a request is one straight line and nothing leaves the page. */
function axisOf(rows, width) {
  const left = Math.max(...rows.map((row) => wide(row.main) / 2));
  const right = Math.max(...rows.map((row) => wide(row.main) / 2 + row.side.reduce((sum, box) => sum + box.w + APART, 0)));
  return (width - left - right) / 2 + left;
}

/** What stands beside may reach out of its row where nothing is above and below it. */
function heightOf(row, above, below) {
  const free = [above, below].every((other) => !other || wide(other.main) / 2 <= wide(row.main) / 2 + APART - GAP);
  return Math.max(...row.main.map((box) => box.h), ...row.side.map((box) => box.h - (free ? 2 * OVERHANG : 0)));
}

function placeRow({ main, side }, axis, y, height) {
  let x = axis - wide(main) / 2;
  for (const box of main) {
    place(box, x, y + (height - box.h) / 2);
    x += box.w + 2 * GAP;
  }
  x += APART - 2 * GAP;
  for (const box of side) {
    place(box, x, y + (height - box.h) / 2);
    x += box.w + APART;
  }
}

function place(box, x, y) {
  Object.assign(box, { x, y, cx: x + box.w / 2 });
  for (const node of box.nodes) {
    const row = Math.floor(node.at / box.cols);
    const inRow = Math.min(box.cols, box.nodes.length - row * box.cols);
    const left = node.w < 30 ? box.inner : inRow * (node.w + box.size.gap) - box.size.gap;
    node.x = x + (box.w - left) / 2 + (node.at % box.cols) * (node.w + box.size.gap);
    node.y = y + box.top + row * (node.h + box.size.gap);
  }
}

/** The largest enlargement with which the drawing fits into the room that there is, and its layout. `known` is what the
 * one before gave: as long as there are as many nodes, its enlargement is taken again. */
export function fitted(picture, width, height, known = null) {
  const shape = JSON.stringify([width, height, picture.arrows.map((arrow) => [arrow.source, arrow.target]), picture.tiers.map((tier) => [tier.role, tier.nodes.length, tier.nodes[0]?.parts.length])]);
  if (known?.shape === shape) return { ...layout(picture, known.width, known.lanes), shape };
  return { ...tried(picture, width, height), shape };
}

function tried(picture, width, height) {
  if (width < NARROW || height < 200) return layout(picture, width);
  let made = null;
  for (const scale of [2, 1.8, 1.65, 1.5, 1.4, 1.3, 1.25, 1.2, 1.15, 1.1, 1.05, 1, 0.95, 0.9, 0.86, 0.82]) {
    if (width / scale < NARROW) continue;
    made = layout(picture, width / scale);
    if (made.height * scale <= height) return made;
  }
  return made.height > height * 1.6 ? layout(picture, width) : made;
}
