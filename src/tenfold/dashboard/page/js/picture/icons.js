// What things look like: a small drawing per role, as the textbook has them, and a shape per state of health, so that
// nobody needs colours to tell them apart. Drawn in 32 x 32 (roles) and 18 x 18 (health) units around 0,0.

import { s } from "../dom.js";

const SERVER = "M-11-13h22a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-22a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM-11 2h22a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-22a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zM-8-7.5h.1M-8 7.5h.1M-3-7.5h11M-3 7.5h11";
const CYLINDER = "M-11-9c0-5.4 22-5.4 22 0s-22 5.4-22 0zV9c0 5.4 22 5.4 22 0V-9M-11 0c0 5.4 22 5.4 22 0";
const GEAR = "M0-4.6a4.6 4.6 0 1 1 0 9.2a4.6 4.6 0 0 1 0-9.2zM0-13v4M0 9v4M-13 0h4M9 0h4M-9.2-9.2l2.9 2.9M6.3 6.3l2.9 2.9M-9.2 9.2l2.9-2.9M6.3-6.3l2.9-2.9";

const ROLES = {
  web: SERVER,
  app: SERVER,
  worker: GEAR,
  jobs: GEAR,
  balancer: "M0-13v7M-11 13V5a5 5 0 0 1 5-5H6a5 5 0 0 1 5 5v8M0-6v19M-14 10l3 4 3-4M-3 10l3 4 3-4M8 10l3 4 3-4",
  database: CYLINDER,
  replica: CYLINDER,
  shard: CYLINDER,
  cache: "M2-14L-9 2h8l-3 12L9-3H1z",
  queue: "M-14-7h28v14h-28zM-6-7v14M2-7v14M10-7v14",
  store: "M-13-8h26v6h-26zM-11-2v13h22V-2M-4 3h8",
  edge: "M0-13a13 13 0 1 1 0 26a13 13 0 0 1 0-26zM-13 0h26M0-13c-8 7-8 19 0 26M0-13c8 7 8 19 0 26",
  geodns: "M0 14C-6 6-10 1-10-4a10 10 0 1 1 20 0c0 5-4 10-10 18zM0-8a4 4 0 1 1 0 8a4 4 0 0 1 0-8z",
  metrics: "M-13-13v26h26M-8 6l6-8 5 4 8-11",
};
const UNKNOWN = "M-9-13H9a4 4 0 0 1 4 4V9a4 4 0 0 1-4 4H-9a4 4 0 0 1-4-4V-9a4 4 0 0 1 4-4z";

/** The drawing of a role or a part; a plain box for one that nobody knows yet. */
export const icon = (role) => s("path", { class: "icon", d: ROLES[role] ?? UNKNOWN, "aria-hidden": "true" });

const SHAPES = {
  well: { d: "M0-8a8 8 0 1 1 0 16a8 8 0 0 1 0-16z", mark: "M-3.6 .2l2.6 2.8l4.8-5.6" },
  starting: { d: "M0-8a8 8 0 1 1 0 16a8 8 0 0 1 0-16z", mark: "M0-4.2V.2l3 2" },
  leaving: { d: "M-7.4-7.4H7.4V7.4H-7.4z", mark: "M-3.6 0h6.6M.6-3l3 3l-3 3" },
  ill: { d: "M0-9L9.2 7.4H-9.2z", mark: "M0-3.6V2M0 4.8v.1" },
  gone: { d: "M-4-8.6h8l4.6 4.6v8L4 8.6h-8L-8.6 4v-8z", mark: "M-3.2-3.2l6.4 6.4M3.2-3.2l-6.4 6.4" },
};

/** The sign of health: a tick in a circle, a clock, an arrow in a square, a triangle, a cross in an octagon. */
export function sign(health, scale = 1) {
  const { d, mark } = SHAPES[health] ?? SHAPES.ill;
  const group = s("g", { class: `sign ${health}`, "aria-hidden": "true", transform: `scale(${scale})` });
  group.append(s("path", { class: "shape", d }), s("path", { class: "mark", d: mark }));
  return group;
}

/** The same sign for use in a text. */
export const badge = (health) => s("svg", { class: "badge", viewBox: "-10 -10 20 20", "aria-hidden": "true" }, sign(health));

/** People with a laptop and a phone, where the requests come from. */
export function users() {
  return s("g", { class: "people", "aria-hidden": "true" },
    s("path", { d: "M-46-18h44a3 3 0 0 1 3 3v28h-50v-28a3 3 0 0 1 3-3zM-56 13h64l-5 7h-54z" }),
    s("path", { d: "M24-16h18a3 3 0 0 1 3 3v30a3 3 0 0 1-3 3h-18a3 3 0 0 1-3-3v-30a3 3 0 0 1 3-3zM31 15h4" }));
}
