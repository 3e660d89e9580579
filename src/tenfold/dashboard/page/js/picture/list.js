// The picture in words, for those who hear it: one line per tier with its nodes, and what flows between.

import { exchange, h } from "../dom.js";
import { ms, rate, role as roleWords, t } from "../words.js";
import { described } from "./nodes.js";

const MANY = 30;

/** Writes the list into `root`, if it is another one than before. */
export function writeList(root, picture) {
  const lines = [...picture.tiers.filter((tier) => tier.role !== "users").map(tierLine), ...picture.arrows.map(arrowLine)];
  const said = JSON.stringify(lines);
  if (root.said === said) return;
  root.said = said;
  const items = lines.map(({ text, nodes }) => h("li", {}, text, nodes?.length ? h("ul", {}, nodes.map((node) => h("li", {}, node))) : null));
  exchange(root, h("h3", {}, t("picture.list")), h("ul", {}, items));
}

function tierLine(tier) {
  const bad = tier.nodes.filter((node) => node.health !== "well");
  const told = tier.nodes.length > MANY ? bad : tier.nodes;
  const how = bad.length ? t("not_well", { n: bad.length }) : t("all_well");
  const name = tier.backend ? `${roleWords(tier.role)} (${tier.backend})` : roleWords(tier.role);
  return { text: `${name}: ${t("nodes", { n: tier.nodes.length })}, ${how}`, nodes: told.slice(0, MANY).map(described) };
}

function arrowLine({ source, target, traffic, gate, waiting }) {
  const said = [`${roleWords(source)} → ${roleWords(target)}`];
  if (traffic) said.push(rate(traffic.rate));
  if (traffic?.p99_ms != null) said.push(t("percentiles", { p50: ms(traffic.p50_ms), p99: ms(traffic.p99_ms) }));
  if (traffic?.errors) said.push(t("failing", { rate: rate(traffic.errors) }));
  if (gate) said.push(t(`gate.${gate}`));
  if (gate === "held") said.push(t("gate.waiting", { n: waiting }));
  return { text: said.join(", ") };
}
