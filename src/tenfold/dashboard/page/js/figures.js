// Figures of one tier over the last hours: rate, errors, duration, saturation. The plots are uPlot's (vendor/), which is
// fetched when it is wanted for the first time.

import { file, get } from "./api.js";
import { h, say } from "./dom.js";
import { lang, ms, number, rate, role, share, size, t } from "./words.js";

const HOURS = [0.25, 1, 6];
const HEIGHT = 150;

/** The plots that matter, and the series in each; a series that the tier does not have is left out. */
const KINDS = [
  { name: "rate", series: ["rate", "read_rate", "write_rate"], shown: rate },
  { name: "errors", series: ["errors"], shown: rate },
  { name: "duration", series: ["p50_ms", "p99_ms", "read_p99_ms", "write_p99_ms"], shown: ms },
  { name: "cpu", series: ["cpu", "cpu_max"], shown: number, least: 0.2 },
  { name: "memory", series: ["memory", "memory_max"], shown: size },
  { name: "disk", series: ["disk", "disk_max"], shown: size },
  { name: "disk_busy", series: ["disk_busy"], shown: share, least: 1 },
  { name: "saturation", series: ["in_flight", "queue", "held", "connections", "pool_busy"], shown: number },
  { name: "loop", series: ["loop_late_ms"], shown: ms, least: 10 },
];

/** The panel of the figures. */
export class Plots {
  constructor() {
    this.roles = [];
    this.hours = 1;
    this.made = new Map();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.again());
    new MutationObserver(() => this.again()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Which tiers can be chosen. */
  tiers(shown) {
    const roles = shown.length ? [...shown, "machine"] : [];
    if (roles.join() === this.roles.join()) return;
    const first = !this.roles.length;
    this.roles = roles;
    if (!roles.includes(this.role)) this.role = roles.includes("web") ? "web" : roles[0];
    this.choices();
    if (first && this.panel && !this.panel.hidden) this.open(this.panel);
  }

  /** Draws what was measured into `panel`. */
  async open(panel) {
    this.panel = panel;
    if (!this.head) this.build(panel);
    if (!this.role) return;
    await loaded();
    const wanted = this.role;
    const { at_us: at, series, problem } = await get(`/api/figures?tier=${encodeURIComponent(wanted)}&hours=${this.hours}`);
    if (wanted !== this.role) return;
    const seconds = at.map((us) => us / 1e6);
    const any = KINDS.map((kind) => this.plot(kind, seconds, series)).some(Boolean);
    this.none.hidden = any && !problem;
    say(this.none, problem || t("figures.none"));
  }

  build(panel) {
    this.head = h("div", { class: "chooser" });
    this.grid = h("div", { class: "plots" });
    this.none = h("p", { class: "soft", hidden: true }, t("figures.none"));
    panel.replaceChildren(this.head, this.none, this.grid);
    this.choices();
    new ResizeObserver(() => this.resize()).observe(this.grid);
  }

  choices() {
    if (!this.head) return;
    const pick = (name, value, text) => h("button", { type: "button", class: "choice", "aria-pressed": String(this[name] === value), onclick: () => this.pick(name, value) }, text);
    this.head.replaceChildren(
      h("div", { role: "group", "aria-label": t("figures.tier") }, this.roles.map((one) => pick("role", one, role(one)))),
      h("div", { role: "group", "aria-label": t("figures.span") }, HOURS.map((one) => pick("hours", one, one < 1 ? t("figures.minutes", { n: one * 60 }) : t("figures.hours", { n: one })))));
  }

  pick(name, value) {
    this[name] = value;
    const at = [...this.head.querySelectorAll("button")].indexOf(document.activeElement);
    this.choices();
    this.head.querySelectorAll("button")[at]?.focus();
    this.open(this.panel);
  }

  /** Other words or colours: everything is drawn anew. */
  again() {
    for (const { plot, box } of this.made.values()) {
      plot.destroy();
      box.remove();
    }
    this.made.clear();
    this.choices();
    if (this.none) say(this.none, t("figures.none"));
    if (this.panel && !this.panel.hidden) this.open(this.panel);
  }

  plot(kind, seconds, series) {
    const names = kind.series.filter((name) => series[name]?.some((value) => value));
    if (!names.length && kind.name === "errors" && series.errors) names.push("errors");
    const key = `${kind.name} ${names}`;
    for (const [name, { plot, box, of }] of this.made) {
      if (of !== kind.name || (name === key && names.length && seconds.length)) continue;
      plot.destroy();
      box.remove();
      this.made.delete(name);
    }
    if (!names.length || !seconds.length) return false;
    const data = [seconds, ...names.map((name) => series[name])];
    const there = this.made.get(key);
    if (there) there.plot.setData(data);
    else this.made.set(key, this.make(kind, names, data));
    const made = this.made.get(key);
    if (made.plot.cursor.idx === null || made.plot.cursor.left < 0) made.plot.setLegend({ idx: seconds.length - 1 });
    const last = names.map((name) => `${t(`value.${name}`)} ${kind.shown(series[name].findLast((value) => value !== null) ?? 0)}`).join(", ");
    made.box.setAttribute("aria-label", `${t(`plot.${kind.name}`)}: ${last}`);
    return true;
  }

  make(kind, names, data) {
    const box = h("figure", { role: "img", class: "plot" }, h("figcaption", {}, t(`plot.${kind.name}`)));
    const after = KINDS.slice(KINDS.indexOf(kind) + 1).map(({ name }) => [...this.made.values()].find(({ of }) => of === name)).find(Boolean);
    this.grid.insertBefore(box, after ? after.box : null);
    const colours = getComputedStyle(document.documentElement);
    const colour = (name) => resolved(box, colours.getPropertyValue(name).trim());
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const lines = names.map((name, at) => ({ label: t(`value.${name}`), stroke: colour(`--plot-${at + 1}`), width: 2, dash: at % 2 ? [6, 4] : [], points: { show: data[0].length < 4 }, value: (_plot, value) => (value === null || value === undefined ? "–" : kind.shown(value)) }));
    const options = {
      width: this.width(), height: HEIGHT, series: [{ label: t("plot.time"), value: (_plot, value) => (value ? clock(value) : "") }, ...lines],
      axes: [{ ...axis, size: 30, values: (_plot, splits) => splits.map(clockShort) }, { ...axis, size: 62, values: (_plot, splits) => splits.map((value) => kind.shown(value)) }],
      scales: { y: { range: (_plot, _low, high) => [0, Math.max(high * 1.1, kind.least ?? 1)] } },
      legend: { live: true }, cursor: { points: { size: 7 }, drag: { x: false, y: false } },
    };
    const plot = new window.uPlot(options, data, box);
    return { plot, box, of: kind.name };
  }

  width() {
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length;
    return Math.max(220, Math.floor((this.grid.clientWidth - 20 * (columns - 1)) / columns));
  }

  resize() {
    const width = this.width();
    for (const { plot } of this.made.values()) if (plot.width !== width) plot.setSize({ width, height: HEIGHT });
  }
}

/** A colour of the page as the canvas understands it. */
function resolved(element, value) {
  element.style.color = value;
  const made = getComputedStyle(element).color;
  element.style.color = "";
  return made;
}

const clock = (seconds) => new Intl.DateTimeFormat(lang(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }).format(seconds * 1000);
const clockShort = (seconds) => new Intl.DateTimeFormat(lang(), { hour: "2-digit", minute: "2-digit", hour12: false }).format(seconds * 1000);

let loading = null;

/** uPlot, fetched once. */
function loaded() {
  loading ??= new Promise((resolve, reject) => {
    document.head.append(h("link", { rel: "stylesheet", href: file("vendor/uPlot.min.css") }));
    document.head.append(h("script", { src: file("vendor/uPlot.iife.min.js"), onload: resolve, onerror: () => reject(new Error("uPlot")) }));
  });
  return loading;
}
