// The ladder: the steps, where we are, and everything that changes the deployment, each behind a plan that is read.

import { exchange, h } from "./dom.js";
import { sentence } from "./advice.js";
import { ask } from "./plan.js";
import { knows, t } from "./words.js";

const MOST = 64;
const FOLDED_FROM = 3; // so many steps that nobody can take yet are folded into one line: where we are has to be seen

/** The steps in `root` and the other commands in `more`; `done()` after something was begun. */
export class Ladder {
  constructor(root, more, readOnly, done) {
    Object.assign(this, { root, more, readOnly });
    this.done = () => {
      this.touched = false;
      done();
    };
    this.busy = this.wayBack = this.touched = false;
    this.state = "running";
  }

  /** From `/api/ladder`. */
  draw(ladder) {
    this.ladder = ladder;
    this.readOnly = ladder.mode !== "full";
    if (!this.touched) this.wanted = { web: ladder.web, worker: ladder.workers };
    this.render();
  }

  /** What the picture says of it. */
  moving(open, wayBack, state) {
    if (open === this.busy && wayBack === this.wayBack && state === this.state) return;
    Object.assign(this, { busy: open, wayBack, state });
    if (this.ladder) this.render();
  }

  /** Whether other numbers were chosen than there are. */
  differs() {
    return this.wanted.web !== this.ladder.web || this.wanted.worker !== this.ladder.workers;
  }

  render() {
    exchange(this.root, h("h2", {}, t("ladder")), this.rungs(this.ladder.steps));
    const off = this.readOnly || this.state === "stopped";
    this.more.hidden = false;
    const body = off ? [h("p", { class: "soft" }, t(this.readOnly ? "read_only" : "stopped"))] : [this.scaling(), this.code(), this.finalizing()];
    exchange(this.more, h("h2", {}, t("change")), body);
  }

  /** The steps, the highest at the top. */
  rungs(steps) {
    const far = steps.filter((step) => !step.exists && step.state === "later");
    const folded = far.length >= FOLDED_FROM ? far : [];
    const near = steps.filter((step) => !folded.includes(step)).map((step) => this.rung(step));
    return h("ol", { class: "rungs", reversed: true }, folded.length ? this.folded(folded) : null, near.reverse());
  }

  folded(steps) {
    const [first, last] = [steps[0].number, steps.at(-1).number];
    const head = [h("span", { class: "number", "aria-hidden": "true" }, "⋮"), h("span", { class: "title" }, t("steps_later", { first, last })), h("span", { class: "what" }, t("step.later"))];
    const rungs = steps.map((step) => this.rung(step)).reverse();
    return h("li", { class: "rung later not-yet", value: last }, h("details", { "data-key": "steps-later" },
      h("summary", { class: "rung-head", "data-key": "head-later" }, head), h("ol", { class: "rungs", reversed: true }, rungs)));
  }

  rung(step) {
    const here = step.number === this.ladder.step;
    const title = words("step", step, "title");
    const promise = h("p", { class: "promise" }, words("step", step, "promise"));
    const engines = step.engines.length ? h("p", { class: "engines" }, step.engines.join(", ")) : null;
    const brings = step.brings?.length ? [h("p", { class: "brings-head" }, t("brings")), h("ul", { class: "brings" }, step.brings.map((one) => h("li", {}, sentence(one.words, one.sentence))))] : null;
    const state = t(`step.${here ? "here" : step.state}`);
    const more = here || step.state === "next";
    const head = [h("span", { class: "number", "aria-hidden": "true" }, step.number), h("span", { class: "title" }, title), h("span", { class: "what" }, state)];
    const body = more ? [promise, engines, brings, this.stepButtons(step, here)] : [];
    const label = { class: `rung ${step.state}${here ? " here" : ""}${step.exists ? "" : " not-yet"}`, value: step.number, "aria-current": here ? "step" : null };
    if (more) return h("li", label, h("div", { class: "rung-head" }, head), body);
    return h("li", label, h("details", { "data-key": `step-${step.number}` }, h("summary", { class: "rung-head", "data-key": `head-${step.number}` }, head), promise, engines, brings));
  }

  stepButtons(step, here) {
    if (this.readOnly) return null;
    const buttons = [];
    if (here && step.number > 1) buttons.push(this.button("descend", { to: "descend", step: step.number - 1 }, t("descend", { step: step.number - 1 }), "plain"));
    if (!here && step.exists) buttons.push(this.button("climb", { to: "climb", step: step.number }, t("climb", { step: step.number }), "main"));
    return buttons.length ? h("p", { class: "buttons" }, buttons) : null;
  }

  button(key, wish, text, kind = "plain") {
    return h("button", { type: "button", class: kind, "data-key": key, disabled: this.busy, title: this.busy ? t("busy") : null, onclick: () => ask(wish, this.done) }, text);
  }

  /** Numbers of web servers and workers, and what brings them about. */
  scaling() {
    const rows = [this.counter("web", 1), this.counter("worker", 0)];
    const wish = { to: "scale", web: this.wanted.web, worker: this.wanted.worker };
    const go = this.button("scale", wish, t("scale"));
    if (!this.differs()) go.disabled = true;
    return h("div", { class: "group" }, rows, h("p", { class: "buttons" }, go));
  }

  counter(role, least) {
    const id = `scale-${role}`;
    const input = h("input", { id, type: "number", min: least, max: MOST, inputmode: "numeric", "data-key": id, disabled: this.busy });
    input.value = this.wanted[role];
    const change = (value) => {
      this.wanted[role] = Math.min(MOST, Math.max(least, Math.round(Number(value)) || 0));
      this.touched = this.differs();
      this.render();
    };
    input.addEventListener("change", () => change(input.value));
    const nudge = (by, sign) => h("button", { type: "button", class: "nudge", "data-key": `${id}${by}`, disabled: this.busy, "aria-label": t(by > 0 ? "more_of" : "fewer_of", { role: t(`role.${role}`, { n: 2 }) }), onclick: () => change(this.wanted[role] + by) }, sign);
    return h("div", { class: "counter" }, h("label", { for: id }, t(`role.${role}`, { n: 2 })), nudge(-1, "−"), input, nudge(1, "+"));
  }

  /** New code, and the code before. */
  code() {
    const running = this.ladder.versions.find((version) => version.runs.length);
    const said = running ? t("runs_version", { version: running.id }) : "";
    return h("div", { class: "group" }, said ? h("p", { class: "soft" }, said) : null,
      h("p", { class: "buttons" }, this.button("deploy", { to: "deploy" }, t("deploy")), this.button("rollback", { to: "rollback" }, t("rollback"))));
  }

  finalizing() {
    if (!this.wayBack) return null;
    return h("div", { class: "group" }, h("p", { class: "soft" }, t("way_back")),
      h("p", { class: "buttons" }, this.button("finalize", { to: "finalize" }, t("finalize"), "danger")));
  }

  /** Does what an advice says: its command is one of those above. */
  follow(command) {
    const step = /climb (\d+)/.exec(command);
    const scale = /scale (.+)/.exec(command);
    if (step) return ask({ to: "climb", step: Number(step[1]) }, this.done);
    if (!scale) return undefined;
    const wish = { to: "scale" };
    for (const [, role, count] of scale[1].matchAll(/(web|worker)=(\d+)/g)) wish[role] = Number(count);
    return ask(wish, this.done);
  }
}

/** The words of a step in the language of the page; what the server says where there are none. */
const words = (kind, step, name) => (knows(`${kind}.${step.slug}.${name}`) ? t(`${kind}.${step.slug}.${name}`) : step[name]);
