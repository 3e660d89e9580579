// Where everything of a picture goes: values in, values out, no element is touched. All lengths are units of the
// drawing. Nothing here knows a role: rows come from the arrows, sizes from how many nodes there are.

const GAP = 16;
const PAD = 18;
const TITLE = 30;
const FAN = 26;

/** Sizes of a node, the roomiest first: `house` shows its parts, `tiny` only its health. */
const KINDS = {
  house: { w: 480, h: 214, rows: 2, gap: GAP },
  full: { w: 184, h: 86, rows: 2, gap: GAP },
  small: { w: 112, h: 44, rows: 4, gap: 10 },
  tiny: { w: 22, h: 22, rows: Infinity, gap: 5 },
};

/** The whole drawing for a width: `{width, height, tiers, nodes, arrows, users}`, each with its place. */
export function layout(picture, width) {
  const narrow = width < 620;
  const between = narrow ? 74 : 82;
  const boxes = new Map(picture.tiers.map((tier) => [tier.role, frame(tier, width, narrow, besideOf(picture, tier))]));
  const rows = rowsOf(picture, boxes, width);
  let y = 6;
  rows.forEach((row, index) => {
    const height = Math.max(...row.map((role) => boxes.get(role).h));
    placeRow(row.map((role) => boxes.get(role)), width, y, height, narrow);
    y += height + (index + 1 < rows.length ? between : 8);
  });
  const placed = { width, height: y, narrow, tiers: [...boxes.values()] };
  return { ...placed, nodes: placed.tiers.flatMap((box) => box.nodes), arrows: arrowsOf(picture, boxes, placed) };
}

const besideOf = (picture, tier) => picture.tiers.some((other) => other.beside === tier.role) || Boolean(tier.beside);

/** The frame of one tier with its nodes inside, not yet placed. */
function frame(tier, width, narrow, shares) {
  if (tier.role === "users") return { tier, role: tier.role, w: 200, h: narrow ? 64 : 70, nodes: [], kind: "users" };
  const most = (shares && !narrow ? width * 0.62 : width) - 2 - 2 * PAD;
  const [kind, size] = sizeOf(tier, most, narrow);
  const cols = Math.max(1, Math.min(tier.nodes.length, Math.floor((most + size.gap) / (size.w + size.gap))));
  const rows = Math.max(1, Math.ceil(tier.nodes.length / cols));
  const even = kind === "tiny" ? cols : Math.max(1, Math.ceil(tier.nodes.length / rows));
  const inner = even * (size.w + size.gap) - size.gap;
  const top = kind === "tiny" ? PAD : FAN;
  const w = Math.max(inner, Math.min(most, narrow ? 150 : 190)) + 2 * PAD;
  const h = top + rows * (size.h + size.gap) - size.gap + TITLE;
  const nodes = tier.nodes.map((node, at) => ({ node, kind, role: tier.role, w: size.w, h: size.h, at, cols: even }));
  return { tier, role: tier.role, kind, w, h, top, inner, size, cols: even, rows, nodes };
}

function sizeOf(tier, most, narrow) {
  const count = tier.nodes.length;
  const parts = count <= 2 && tier.nodes.some((node) => node.parts.length > 1);
  if (parts) return ["house", { ...KINDS.house, w: Math.min(KINDS.house.w, most), h: narrow ? 204 : KINDS.house.h }];
  const full = narrow ? { ...KINDS.full, w: Math.min(KINDS.full.w, (most - GAP) / 2), rows: 3 } : KINDS.full;
  for (const [kind, size] of [["full", full], ["small", { ...KINDS.small, w: narrow ? 96 : KINDS.small.w }]]) {
    const cols = Math.max(1, Math.floor((most + size.gap) / (size.w + size.gap)));
    if (Math.ceil(count / cols) <= size.rows) return [kind, size];
  }
  return ["tiny", KINDS.tiny];
}

/** Rows from the top down. Tiers that are fed by the same ones and do not feed each other stand side by side where
 * there is room, as the data tier does in the books; `beside` says it outright. */
function rowsOf(picture, boxes, width) {
  const rows = [];
  const fed = (role) => picture.arrows.filter((arrow) => arrow.target === role).map((arrow) => arrow.source).sort().join();
  const joined = (one, other) => picture.arrows.some((arrow) => [arrow.source, arrow.target].sort().join() === [one, other].sort().join());
  for (const { role, beside } of picture.tiers) {
    const home = beside && rows.find((row) => row.includes(beside));
    const last = rows.at(-1);
    const sibling = !beside && last && fed(role) && last.every((other) => fed(other) === fed(role) && !joined(other, role));
    if (home && fits([...home, role], boxes, width)) home.push(role);
    else if (sibling && fits([...last, role], boxes, width)) last.push(role);
    else rows.push([role]);
  }
  return rows;
}

const fits = (row, boxes, width) => row.reduce((sum, role) => sum + boxes.get(role).w + 2 * GAP, -2 * GAP) <= width - 2;

function placeRow(row, width, y, height, narrow) {
  const apart = narrow ? 2 * GAP : Math.min(96, Math.max(2 * GAP, (width - row.reduce((sum, box) => sum + box.w, 0)) / row.length));
  const total = row.reduce((sum, box) => sum + box.w + apart, -apart);
  let x = (width - total) / 2;
  for (const box of row) {
    place(box, x, y + (height - box.h) / 2);
    x += box.w + apart;
  }
}

function place(box, x, y) {
  Object.assign(box, { x, y, cx: x + box.w / 2 });
  for (const node of box.nodes) {
    const row = Math.floor(node.at / box.cols);
    const inRow = Math.min(box.cols, box.nodes.length - row * box.cols);
    const left = box.kind === "tiny" ? box.inner : inRow * (node.w + box.size.gap) - box.size.gap;
    node.x = x + (box.w - left) / 2 + (node.at % box.cols) * (node.w + box.size.gap);
    node.y = y + box.top + row * (node.h + box.size.gap);
  }
}

/** The arrows with their paths. Several that arrive at one frame, or leave it, do so beside each other. */
function arrowsOf(picture, boxes, placed) {
  const known = picture.arrows.filter((arrow) => boxes.has(arrow.source) && boxes.has(arrow.target) && arrow.source !== arrow.target);
  const level = (arrow) => overlap(boxes.get(arrow.source), boxes.get(arrow.target));
  const upright = known.filter((arrow) => !level(arrow));
  const port = (box, list, arrow, end) => {
    const order = [...list].sort((one, other) => boxes.get(one[end]).cx - boxes.get(other[end]).cx);
    const room = Math.min(150, (box.w - 60) / Math.max(1, order.length));
    return box.cx + (order.indexOf(arrow) - (order.length - 1) / 2) * room;
  };
  return known.map((arrow) => {
    const source = boxes.get(arrow.source);
    const target = boxes.get(arrow.target);
    const common = { arrow, key: `${arrow.source}>${arrow.target}:${arrow.kind}` };
    if (level(arrow)) return { ...common, ...sideways(source, target), fans: [] };
    const out = port(source, upright.filter((one) => one.source === arrow.source), arrow, "target");
    const into = port(target, upright.filter((one) => one.target === arrow.target), arrow, "source");
    return { ...common, ...downwards(source, target, out, into, placed), fans: fansOf(target, into) };
  });
}

const overlap = (one, other) => one.y < other.y + other.h && other.y < one.y + one.h;

function sideways(source, target) {
  const right = target.x > source.x;
  const from = right ? source.x + source.w : source.x;
  const to = right ? target.x : target.x + target.w;
  const y = (Math.max(source.y, target.y) + Math.min(source.y + source.h, target.y + target.h)) / 2;
  return { path: `M${r(from)} ${r(y)}L${r(to)} ${r(y)}`, middle: { x: (from + to) / 2, y }, end: { x: to, y, turn: right ? -90 : 90 }, level: true };
}

function downwards(source, target, out, into, placed) {
  const from = source.y + source.h;
  const to = target.y;
  const lies = placed.tiers.filter((box) => box.y >= from && box.y + box.h <= to && box !== target);
  const blocked = lies.some((box) => Math.min(out, into) < box.x + box.w + 8 && Math.max(out, into) > box.x - 8);
  if (blocked) return around(from, to, out, into, lies, placed.width);
  const middle = { x: (out + into) / 2, y: (from + to) / 2 };
  const bend = r((from + to) / 2);
  const path = `M${r(out)} ${r(from)}C${r(out)} ${bend} ${r(into)} ${bend} ${r(into)} ${r(to)}`;
  return { path, middle, end: { x: into, y: to, turn: 0 }, level: false };
}

/** Past the tiers that stand in between, on their right. */
function around(from, to, out, into, lies, width) {
  const side = Math.min(width - 10, Math.max(...lies.map((box) => box.x + box.w)) + 22);
  const [first, last] = [from + 30, to - 30];
  const path = `M${r(out)} ${r(from)}C${r(out)} ${r(first)} ${r(side)} ${r(from)} ${r(side)} ${r(first + 20)}L${r(side)} ${r(last - 20)}C${r(side)} ${r(to)} ${r(into)} ${r(last)} ${r(into)} ${r(to)}`;
  return { path, middle: { x: side, y: last - 6 }, end: { x: into, y: to, turn: 0 }, level: false };
}

/** From where the arrow arrives to each node of the first row that gets work. */
function fansOf(target, into) {
  if (target.kind === "tiny" || target.nodes.length < 2) return [];
  return target.nodes
    .filter((box) => box.at < target.cols)
    .map((box) => {
      const x = box.x + box.w / 2;
      const path = `M${r(into)} ${r(target.y)}C${r(into)} ${r(target.y + 18)} ${r(x)} ${r(target.y + 4)} ${r(x)} ${r(box.y)}`;
      return { key: box.node.name, path, works: box.node.clients && box.node.health !== "gone" };
    });
}

const r = (value) => Math.round(value * 10) / 10;

/** The largest enlargement with which the drawing fits into the room that there is, and its layout. */
export function fitted(picture, width, height) {
  const scales = width < 620 || !height ? [1] : [2, 1.75, 1.5, 1.35, 1.2, 1.1, 1];
  for (const scale of scales) {
    if (width / scale < 560 && scale > 1) continue;
    const made = layout(picture, width / scale);
    if (made.height * scale <= height || scale === 1) return made;
  }
  return layout(picture, width);
}
