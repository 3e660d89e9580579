// What lies below the picture: history, figures, slow and failed requests, proofs. Each is fetched when it is looked at.

import { get } from "./api.js";
import { exchange, h } from "./dom.js";
import { Plots } from "./figures.js";
import { explain, titleWords } from "./moves.js";
import { showProofs } from "./proofs.js";
import { duration, ms, t, time } from "./words.js";

const NAMES = ["figures", "history", "requests", "proofs"];
const REFRESH_MS = 10000;
const FEW = 8; // requests of a kind that are shown at first
const MANY = 100;

/** The tabs in `root`. */
export class Tabs {
  constructor(root) {
    this.list = root.querySelector("[role=tablist]");
    this.panels = root.querySelector(".tabpanels");
    this.moves = this.versions = null;
    this.open = { history: () => this.drawHistory(), figures: (panel) => this.plots.open(panel), requests: showRequests, proofs: showProofs };
    this.plots = new Plots();
    for (const name of NAMES) this.make(name);
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.choose("figures", false);
    setInterval(() => document.hidden || (this.chosen !== "history" && this.refresh()), REFRESH_MS);
  }

  make(name) {
    const tab = h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => this.choose(name) });
    const panel = h("div", { role: "tabpanel", id: `panel-${name}`, class: "card", "aria-labelledby": `tab-${name}`, tabindex: 0, hidden: true });
    this.list.append(tab);
    this.panels.append(panel);
    tab.textContent = t(`tab.${name}`);
  }

  choose(name, focus = true) {
    this.chosen = name;
    for (const one of NAMES) {
      const [tab, panel] = [document.getElementById(`tab-${one}`), document.getElementById(`panel-${one}`)];
      tab.setAttribute("aria-selected", String(one === name));
      tab.tabIndex = one === name ? 0 : -1;
      panel.hidden = one !== name;
      if (one === name && focus) tab.focus();
    }
    this.refresh();
  }

  key(event) {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.choose(NAMES[(NAMES.indexOf(this.chosen) + by + NAMES.length) % NAMES.length]);
  }

  async refresh() {
    const panel = document.getElementById(`panel-${this.chosen}`);
    try {
      await this.open[this.chosen](panel);
    } catch (problem) {
      if (!panel.childElementCount) panel.replaceChildren(explain(problem));
    }
  }

  /** Which tiers there are, for the figures. */
  draw(picture) {
    this.plots.tiers(picture.tiers.map((tier) => tier.role).filter((role) => role !== "users"));
  }

  /** From `/api/ladder`: the moves that there were, newest first, and the versions of the code. */
  history(moves, versions) {
    Object.assign(this, { moves, versions });
    if (this.chosen === "history") this.drawHistory();
  }

  /** Other words. */
  again() {
    for (const name of NAMES) document.getElementById(`tab-${name}`).textContent = t(`tab.${name}`);
    this.plots.again();
    this.refresh();
  }

  drawHistory() {
    const panel = document.getElementById("panel-history");
    const rows = (this.moves ?? []).map((move) => [
      time(move.begun_us), titleWords(move.move, ""), result(move), held(move), duration(move.took_s), move.reason || "",
    ]);
    exchange(panel, table(["when", "move", "result", "held", "took", "why"].map((name) => t(`history.${name}`)), rows, t("history.none")));
  }
}

const held = (move) => (move.facts?.held_ms > 0 ? ms(move.facts.held_ms) : "–");
const result = (move) => chip(move.result || "open", t(`result.${move.result || "open"}`));
const chip = (kind, text) => h("span", { class: `chip ${kind.replace(" ", "-")}` }, text);

/** A table that becomes a list of cards on a phone. */
export function table(heads, rows, none) {
  if (!rows.length) return h("p", { class: "soft" }, none);
  const cells = (row) => row.map((value, at) => h("td", { "data-label": heads[at] }, value));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))), h("tbody", {}, rows.map((row) => h("tr", {}, cells(row))))));
}

let all = false;

async function showRequests(panel) {
  const { slow, failed } = await get("/api/requests");
  const more = Math.max(slow.length, failed.length) > FEW
    ? h("button", { type: "button", class: "plain small", "data-key": "more-requests", onclick: () => { all = !all; showRequests(panel); } }, t(all ? "requests.fewer" : "requests.all")) : null;
  exchange(panel, h("div", { class: "legend" }, PARTS.map((part) => h("span", { class: `key ${part}` }, t(`spent.${part}`)))),
    h("h3", {}, t("requests.slow")), requests(slow, t("requests.none_slow")), h("h3", {}, t("requests.failed")), requests(failed, t("requests.none_failed")), more ? h("p", { class: "buttons" }, more) : null);
}

const PARTS = ["gate", "database", "cache", "rest"];

function requests(list, none) {
  const heads = ["when", "route", "node", "status", "took", "where"].map((name) => t(`requests.${name}`));
  return table(heads, list.slice(0, all ? MANY : FEW).map((told) => [
    time(told.ended_us), h("code", {}, `${told.method} ${told.route}`), told.node, told.error ? `${told.status} ${told.error}` : String(told.status), ms(told.took_ms), where(told),
  ]), none);
}

/** One bar: at the gate, at the database, in cache loads, and the rest. */
function where({ took_ms: took, spent }) {
  const cache = Math.max(0, spent.cache_ms - spent.database_ms);
  const parts = { gate: spent.gate_ms, database: spent.database_ms, cache, rest: Math.max(0, took - spent.gate_ms - spent.database_ms - cache) };
  const said = PARTS.filter((part) => parts[part] >= 0.05).map((part) => `${t(`spent.${part}`)} ${ms(parts[part])}`);
  if (spent.database_calls) said.push(t("requests.calls", { n: spent.database_calls }));
  if (spent.replays) said.push(t("requests.replays", { n: spent.replays }));
  const bar = h("span", { class: "spent", "aria-hidden": "true" }, PARTS.map((part) => {
    const piece = h("span", { class: part });
    piece.style.flexGrow = String(Math.max(0, parts[part] / Math.max(took, 0.001)).toFixed(3));
    return piece;
  }));
  return h("span", {}, bar, h("span", { class: "soft small" }, said.join(" · ")));
}
