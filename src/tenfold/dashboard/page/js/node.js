// What is behind a node that was clicked: its facts, its log, and the faults that can be made on it.

import { post } from "./api.js";
import { h } from "./dom.js";
import { badge } from "./picture/icons.js";
import { confirm, logOf } from "./plan.js";
import { explain } from "./moves.js";
import { notice } from "./notice.js";
import { ms, number, rate, role, share, size, t, knows } from "./words.js";

const BYTES = ["memory", "cache_bytes"];
const SHARES = ["cache_hits"];
const QUIET = ["in_flight", "connections", "queue", "held", "pool", "pool_busy", "cache_bytes", "errors"];

/** The dialog of one node. */
export class NodeDrawer {
  constructor(root, readOnly) {
    Object.assign(this, { root, readOnly, name: "" });
    root.addEventListener("close", () => { this.name = ""; });
    root.addEventListener("click", (event) => event.target === root && root.close());
  }

  /** Opens it for a node by name. */
  open(name) {
    const node = this.find(name);
    if (!node) return;
    this.name = name;
    this.build(node);
    if (!this.root.open) this.root.showModal();
  }

  /** The same with other words. */
  again() {
    if (this.name) this.open(this.name);
  }

  find(name) {
    return this.picture?.tiers.flatMap((tier) => tier.nodes).find((node) => node.name === name);
  }

  /** From the picture: the figures of the open one. */
  draw(picture) {
    this.picture = picture;
    if (!this.name) return;
    const node = this.find(this.name);
    if (node) this.facts(node);
    else this.state.replaceChildren(badge("gone"), t("said.left", { node: this.name }));
  }

  build(node) {
    this.state = h("p", { class: "node-state" });
    this.table = h("dl", { class: "facts" });
    this.log = h("div", {});
    const close = h("button", { type: "button", class: "quiet close", "aria-label": t("close"), onclick: () => this.root.close() }, "✕");
    const heading = h("header", {}, h("h2", { id: "node-title" }, node.name), h("p", { class: "soft" }, role(node.role, 1)), close);
    this.root.replaceChildren(heading, this.state, this.table, this.faults(node) ?? "", h("h3", {}, t("log")), this.log);
    this.facts(node);
    this.read(node.name);
  }

  async read(name) {
    this.log.replaceChildren(h("p", { class: "soft" }, t("reading")));
    const shown = await logOf(name).catch(explain);
    if (name !== this.name) return;
    const again = h("button", { type: "button", class: "quiet", onclick: () => this.read(name) }, t("read_again"));
    this.log.replaceChildren(shown, again);
    shown.scrollTop = shown.scrollHeight;
  }

  facts(node) {
    const told = node.says ? `${t(`health.${node.health}`)}: ${node.says}` : t(`health.${node.health}`);
    this.state.replaceChildren(badge(node.health), node.clients ? told : `${told} · ${t("no_clients")}`);
    const rows = [["version", node.version], ["pid", node.pid ? String(node.pid) : ""], ["restarts", String(node.restarts)]];
    for (const [name, value] of Object.entries(node.values)) if (value || !QUIET.includes(name)) rows.push([name, shown(name, value)]);
    for (const part of node.parts) if (part.traffic) rows.push([t(`part.${part.kind}`), `${rate(part.traffic.rate)} · p99 ${ms(part.traffic.p99_ms)}`]);
    this.table.replaceChildren(...rows.filter(([, value]) => value !== "").flatMap(([name, value]) => [h("dt", {}, knows(`value.${name}`) ? t(`value.${name}`) : name), h("dd", {}, value)]));
  }

  /** The faults, each said in words before it is made. */
  faults(node) {
    const victims = [node, node.program].filter((one) => one?.faults.length);
    if (this.readOnly || !victims.length) return null;
    const buttons = victims.map((victim) => {
      const these = victim.faults.map((how) => h("button", { type: "button", class: "danger small", "data-fault": how, "data-victim": victim.name, onclick: () => this.ask(victim, how) }, t(`fault.${how}`)));
      const group = { class: "buttons", role: "group", "aria-label": victim.name };
      return h("div", group, victims.length > 1 ? h("span", { class: "victim" }, victim.name) : null, these);
    });
    const heal = h("button", { type: "button", class: "plain small", onclick: () => this.heal() }, t("heal"));
    return h("section", { class: "faults" }, h("h3", {}, t("break")), h("p", { class: "soft" }, t("break.why")), node.program ? h("p", { class: "soft" }, t("break.program", { node: node.name, program: node.program.name })) : null, buttons, h("p", { class: "buttons" }, heal));
  }

  ask(node, how) {
    const seconds = 10;
    const values = { node: node.name, pid: String(node.pid), seconds };
    const sentences = [t(`fault.${how}.what`, values), t("fault.undone")];
    const does = t("fault.do", { fault: t(`fault.${how}`), node: node.name });
    confirm(does, sentences, does, async () => {
      this.root.close(); // the picture is where it is seen
      notice(t("fault.now", { fault: does }));
      this.make({ node: node.name, how, for_s: seconds });
      return "";
    });
  }

  /** Makes it; the answer comes when all is whole again. */
  async make(fault) {
    try {
      const made = await post("/api/break", fault);
      notice(made.effect ? `${fault.node}: ${made.detail}` : t("fault.nothing", { detail: made.detail }), true);
    } catch (problem) {
      notice([problem.message || t("offline"), problem.hint].filter(Boolean).join(" "), true);
    }
  }

  async heal() {
    this.root.close();
    try {
      const made = await post("/api/heal", {});
      notice(made.done.length ? made.done.join(" ") : t("healed"), true);
    } catch (problem) {
      notice([problem.message || t("offline"), problem.hint].filter(Boolean).join(" "), true);
    }
  }
}

function shown(name, value) {
  if (BYTES.includes(name)) return value ? size(value) : "";
  if (SHARES.includes(name)) return share(value);
  if (name.endsWith("_ms")) return ms(value);
  if (name === "rate" || name === "errors") return rate(value);
  return number(value);
}
