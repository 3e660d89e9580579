// The ways of the arrows between frames that have their places: straight down where that is possible, else with round
// corners, into the side of a frame that lies aside, or around what stands in between. Pure, as layout.js is.

const CORNER = 14;
const HEAD = 7;

/** How wide the lane of one arrow is that goes past everything. */
export const LANE = 16;

/** The arrows with their paths, the points of their labels, and the fans to the nodes. */
export function routes(picture, boxes, placed) {
  const known = picture.arrows.filter((arrow) => boxes.has(arrow.source) && boxes.has(arrow.target) && arrow.source !== arrow.target);
  const ways = known.map((arrow) => ({ arrow, source: boxes.get(arrow.source), target: boxes.get(arrow.target) }));
  for (const way of ways) {
    way.how = enters(way, placed);
    way.long = way.how === "top" && placed.tiers.some((box) => box.y >= way.source.y + way.source.h && box.y + box.h <= way.target.y);
  }
  const above = ways.filter(({ how }) => how === "top" || how === "around");
  let lanes = 0;
  const made = ways.map((way) => {
    const { arrow, source, target, how } = way;
    const into = how === "top" || how === "around" ? port(way, above) : target.cx;
    const route = how === "around" ? past(source, target, into, placed, lanes++) : { level, side, up, top: down }[how](source, target, into);
    const idle = target.nodes.length > 0 && !target.nodes.some(({ node }) => node.clients);
    const common = { arrow, key: `${arrow.source}>${arrow.target}:${arrow.kind}`, idle, width: placed.width, narrow: placed.narrow };
    return { level: false, ...common, ...route, lane: how === "around", fans: how === "top" || how === "around" ? fans(target, into) : [] };
  });
  return { arrows: made, lanes };
}

/** How an arrow comes in: `level` from a neighbour, `up` from below, `top`, `side` when it lies aside, `around` what is
 * in between. */
function enters({ source, target }, placed) {
  if (source.y < target.y + target.h && target.y < source.y + source.h) return "level";
  if (target.y < source.y) return "up";
  const between = placed.tiers.filter((box) => box !== source && box !== target && box.y >= source.y + source.h - 1 && box.y + box.h <= target.y + 1);
  const aside = source.role !== "users" && (source.cx > target.x + target.w + 20 || source.cx < target.x - 20);
  if (aside && alone(target, placed) && !between.some((box) => covers(box, source.cx))) return "side";
  return between.some((box) => covers(box, source.cx) || covers(box, target.cx)) ? "around" : "top";
}

const covers = (box, x) => x > box.x - 10 && x < box.x + box.w + 10;
const alone = (target, placed) => !placed.tiers.some((box) => box !== target && box.y < target.y + target.h && target.y < box.y + box.h);

/** Where on its upper edge a frame takes an arrow in: several do so beside each other. One that passes between others
 * on its way comes straight down the middle. */
function port({ arrow, source, target, long }, above) {
  if (long) return target.cx;
  const list = above.filter((way) => way.target === target).sort((one, other) => one.source.cx - other.source.cx);
  const room = Math.min(170, (target.w - 60) / Math.max(1, list.length));
  const beside = list.some((way) => way.long) ? 0.5 : 0;
  const at = target.cx + (list.findIndex((way) => way.arrow === arrow) - (list.length - 1) / 2 + beside) * room;
  const reach = source.role === "users" ? 8 : source.w / 2 - 24;
  return list.length > 1 ? at : Math.abs(source.cx - at) <= reach ? at : target.cx;
}

function level(source, target) {
  const right = target.x > source.x;
  const from = right ? source.x + source.w : source.x;
  const to = right ? target.x : target.x + target.w;
  const y = (Math.max(source.y, target.y) + Math.min(source.y + source.h, target.y + target.h)) / 2;
  const path = `M${r(from)} ${r(y)}L${r(to - (right ? HEAD : -HEAD))} ${r(y)}`;
  return { path, middle: { x: (from + to) / 2, y }, end: { x: r(to), y: r(y), turn: right ? -90 : 90 }, level: true };
}

function down(source, target, into) {
  const [from, to] = [source.y + source.h, target.y];
  const end = { x: r(into), y: r(to), turn: 0 };
  const reach = source.role === "users" ? 4 : Math.max(4, source.w / 2 - 20);
  if (Math.abs(source.cx - into) <= reach) return { path: `M${r(into)} ${r(from)}L${r(into)} ${r(to - HEAD)}`, middle: { x: into, y: (from + to) / 2 - 2 }, end };
  const bend = Math.min(from + 22, (from + to) / 2);
  const path = `M${r(source.cx)} ${r(from)}${across(source.cx, bend, into)}V${r(to - HEAD)}`;
  return { path, middle: { x: into, y: (bend + to) / 2 + 2 }, end };
}

/** From below to a frame above, out of the right half of the upper edge. */
function up(source, target) {
  const [x, bend, to] = [source.cx + source.w / 4, source.y - 18, target.y + target.h];
  const corner = target.cx > x ? CORNER : -CORNER;
  const path = `M${r(x)} ${r(source.y)}V${r(bend + CORNER)}q0 ${-CORNER} ${corner} ${-CORNER}H${r(target.cx - corner)}q${corner} 0 ${corner} ${-CORNER}V${r(to + HEAD)}`;
  return { path, middle: { x: target.cx, y: (to + bend) / 2 }, end: { x: r(target.cx), y: r(to), turn: 180 } };
}

/** Down, and into the side of a frame that lies aside. Its label stands on the level part: beside the upright one it
 * would lie on that of an arrow which comes from above. */
function side(source, target) {
  const from = source.y + source.h;
  const y = target.y + target.h / 2;
  const sign = source.cx > target.cx ? 1 : -1;
  const edge = sign > 0 ? target.x + target.w : target.x;
  const path = `M${r(source.cx)} ${r(from)}V${r(y - CORNER)}q0 ${CORNER} ${-sign * CORNER} ${CORNER}H${r(edge + sign * HEAD)}`;
  const gate = { x: source.cx, y: from + Math.min(38, (y - from) / 2) };
  const middle = { x: sign > 0 ? edge : source.cx, y: y - 28 };
  return { path, middle, gate, end: { x: r(edge), y: r(y), turn: sign > 0 ? 90 : -90 } };
}

/** Past everything, in a lane on the right that the layout has left free. */
function past(source, target, into, placed, nth) {
  const [from, to] = [source.y + source.h, target.y];
  const lane = placed.lane + LANE * nth;
  const path = `M${r(source.cx)} ${r(from)}${across(source.cx, from + 16 + 5 * nth, lane)}${across(lane, to - 30, into)}V${r(to - HEAD)}`;
  return { path, middle: { x: into, y: to - 56 }, gate: { x: into, y: to - 17 }, end: { x: r(into), y: r(to), turn: 0 } };
}

/** Down to a level, across to another x, and on downwards, with round corners. */
function across(x, y, to) {
  const corner = to > x ? CORNER : -CORNER;
  return `V${r(y - CORNER)}q0 ${CORNER} ${corner} ${CORNER}H${r(to - corner)}q${corner} 0 ${corner} ${CORNER}`;
}

/** From where the arrow arrives to each node of the first row that gets work. */
function fans(target, into) {
  if (target.nodes.length < 2 || target.nodes[0].w < 30) return [];
  return target.nodes.filter((box) => box.at < target.cols).map((box) => {
    const x = box.x + box.w / 2;
    const path = `M${r(into)} ${r(target.y)}C${r(into)} ${r(target.y + 18)} ${r(x)} ${r(target.y + 4)} ${r(x)} ${r(box.y)}`;
    return { key: box.node.name, path, works: box.node.clients && box.node.health !== "gone" };
  });
}

const r = (value) => Math.round(value * 10) / 10;
