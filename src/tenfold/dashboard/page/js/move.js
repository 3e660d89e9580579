// The move that is open: its stages, how far it is, how long writes have waited, and the way back while there is one.

import { h, put, say, style } from "./dom.js";
import { post } from "./api.js";
import { confirm, logOf } from "./plan.js";
import { explain, stageShort, titleWords } from "./moves.js";
import { duration, knows, number, size, t } from "./words.js";

/** The card in `root`. */
export class MoveCard {
  constructor(root, readOnly) {
    Object.assign(this, { root, readOnly });
  }

  /** Draws the open move, or hides the card. */
  draw(move) {
    this.root.hidden = !move;
    document.body.classList.toggle("moving", Boolean(move));
    if (!move) return;
    const shape = `${move.id} ${move.stages.length} ${move.back} ${move.decided} ${document.documentElement.lang}`;
    if (this.shape !== shape) this.build(move, shape);
    this.move = move;
    move.stages.forEach((stage, at) => put(this.stages[at], { class: `stage ${stage.state.replace(" ", "-")}${stage.holds ? " holds" : ""}`, "aria-current": stage.state === "now" ? "step" : null }));
    say(this.doing, move.stages.some((stage) => stage.says === move.doing) ? "" : move.doing);
    this.progress(move);
    say(this.held, move.held_ms > 0 ? t("held_for", { ms: number(Math.round(move.held_ms)) }) : "");
  }

  build(move, shape) {
    this.shape = shape;
    this.stages = move.stages.map((stage) => h("li", { "data-stage": stage.name }, stageShort(move.name, stage.name, stage.says), stage.holds ? h("span", { class: "chip" }, t("writes_wait")) : null));
    const list = h("ol", { class: "stages" });
    move.stages.forEach((stage, at) => {
      list.append(this.stages[at]);
      if (stage.decides) list.append(h("li", { class: "no-return" }, t("no_return")));
    });
    this.doing = h("p", { class: "doing", lang: "en" });
    this.bar = h("div", { class: "progress", role: "progressbar", "aria-label": t("progress") }, h("div", { class: "filled" }));
    this.amount = h("p", { class: "soft" });
    this.held = h("p", { class: "held" });
    const heading = h("h2", {}, titleWords(move.name, move.title));
    const back = move.back ? h("p", { class: "note" }, t("undoing", { reason: move.reason })) : null;
    this.root.replaceChildren(heading, back ?? "", this.doing, this.bar, this.amount, this.held, list, this.buttons(move));
  }

  progress({ done, total, unit, left_s: left }) {
    this.bar.hidden = !total;
    if (total) {
      const part = Math.min(1, done / total);
      put(this.bar, { "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(part * 100) });
      style(this.bar.firstChild, "transform", `scaleX(${part.toFixed(3)})`);
    }
    const count = (value) => (unit === "bytes" ? size(value) : number(Math.round(value)));
    const whole = (value) => (unit === "bytes" ? size(value) : `${count(value)} ${unitWords(unit)}`.trim());
    const said = total ? [t("of", { done: count(done), total: whole(total) })] : done ? [whole(done)] : [];
    if (left !== null && left !== undefined) said.push(t("left", { time: duration(Math.max(1, Math.round(left))) }));
    say(this.amount, said.join(" · "));
  }

  buttons(move) {
    const log = h("details", { class: "more" }, h("summary", {}, t("log_of", { node: "mover" })));
    log.addEventListener("toggle", async () => {
      if (!log.open) return;
      const shown = await logOf("mover", 60).catch(explain);
      log.replaceChildren(log.firstChild, shown);
    });
    const abort = h("button", { type: "button", class: "danger", id: "abort" }, t("abort"));
    abort.addEventListener("click", () => this.abort());
    const may = !this.readOnly && !move.decided && !move.back;
    return h("div", {}, may ? h("p", { class: "buttons" }, abort) : move.decided ? h("p", { class: "soft" }, t("decided")) : "", log);
  }

  abort() {
    const title = t("abort.title", { move: titleWords(this.move.name, this.move.title) });
    confirm(title, [t("abort.what")], t("abort"), () => post("/api/do", { to: "abort" }).then(() => ""));
  }
}

const unitWords = (unit) => (knows(`unit.${unit}`) ? t(`unit.${unit}`) : unit);

/** Says to those who hear the page what has changed between two pictures. */
export function announce(before, picture) {
  if (!before) return;
  const said = [...moved(before.move, picture.move), ...healthOf(before, picture)];
  if (said.length) document.getElementById("live").textContent = said.slice(0, 4).join(". ");
}

function moved(before, now) {
  if (!before && !now) return [];
  if (!before) return [t("said.begins", { move: titleWords(now.name, now.title) })];
  if (!now) return [t("said.ends", { move: titleWords(before.name, before.title) })];
  if (now.back && !before.back) return [t("undoing", { reason: now.reason })];
  const stage = now.stages.find((one) => one.state === "now");
  const past = before.stages.find((one) => one.state === "now");
  return stage && stage.name !== past?.name ? [stageShort(now.name, stage.name, stage.says)] : [];
}

function healthOf(before, picture) {
  const past = new Map(before.tiers.flatMap((tier) => tier.nodes.map((node) => [node.name, node.health])));
  const said = [];
  for (const { name, health } of picture.tiers.flatMap((tier) => tier.nodes)) {
    if (past.get(name) !== health) said.push(t("said.health", { node: name, health: t(`health.${health}`) }));
    past.delete(name);
  }
  return [...said, ...[...past.keys()].map((node) => t("said.left", { node }))];
}
