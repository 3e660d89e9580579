// The dialog before anything is changed: what will be done, stage by stage, what it destroys, and one button that names it.

import { get, post } from "./api.js";
import { h } from "./dom.js";
import { explain, stageWords, titleWords } from "./moves.js";
import { duration, number, size, t } from "./words.js";

const dialog = () => document.getElementById("plan");

/** Shows the plan of a wish (`{to: "climb", step: 2}`); does it when the person says so, then calls `done()`. */
export async function ask(wish, done) {
  const heading = h("h2", { id: "plan-title" }, t(`plan.${wish.to}`, { ...wish }));
  show([heading, h("p", { class: "soft", role: "status" }, t("planning")), closing()]);
  try {
    const answer = await post("/api/plan", wish);
    if (dialog().open) show([heading, ...planned(answer), ...deciding(wish, answer, done)]);
  } catch (problem) {
    show([heading, explain(problem), closing()]);
  }
}

/** The same for something that has no plan: sentences of what will happen, and the button's words. */
export function confirm(title, sentences, verb, act) {
  const go = h("button", { type: "button", class: "danger" }, verb);
  go.addEventListener("click", () => doing(go, [h("h2", { id: "plan-title" }, title)], act));
  show([h("h2", { id: "plan-title" }, title), ...sentences.map((text) => h("p", {}, text)), h("p", { class: "buttons" }, cancel(), go)]);
}

function show(children) {
  const box = dialog();
  box.replaceChildren(...children);
  if (!box.open) box.showModal();
  (box.querySelector("[data-first]") ?? box.querySelector("button"))?.focus();
}

const cancel = () => h("button", { type: "button", class: "plain", "data-first": true, onclick: () => dialog().close() }, t("cancel"));
const closing = () => h("p", { class: "buttons" }, h("button", { type: "button", class: "plain", onclick: () => dialog().close() }, t("close")));

function planned({ plan, words, destroys }) {
  const body = [];
  if (plan.open) body.push(h("p", { class: "note" }, t("busy")));
  for (const move of plan.moves) body.push(moveOf(move));
  if (!plan.moves.length) body.push(h("p", {}, plan.same ? t("same_code", { version: plan.version }) : t("nothing_to_do")));
  for (const text of plan.waiting ?? []) body.push(h("p", { class: "note", lang: "en" }, text));
  if (destroys.length) body.push(h("div", { class: "destroys", role: "alert" }, h("h3", {}, t("destroys")), h("ul", {}, destroys.map(({ move, stage, says }) => h("li", {}, stageWords(move, stage, says))))));
  if (words?.length && plan.moves.length) body.push(h("details", {}, h("summary", {}, t("as_terminal")), h("pre", { tabindex: 0 }, words.join("\n"))));
  return body;
}

function moveOf(move) {
  const stages = move.stages.map((stage) => [
    h("li", { class: stage.holds_writes ? "holds" : null }, stageWords(move.name ?? move.move, stage.stage, stage.says),
      stage.holds_writes ? h("span", { class: "chip" }, t("writes_wait")) : null),
    stage.decides ? h("li", { class: "no-return", role: "note" }, t("no_return")) : null,
  ]);
  return h("section", { class: "planned" }, h("h3", {}, titleWords(move.name ?? move.move, move.title)), h("p", { class: "soft" }, factsOf(move).join(" · ")), h("ol", {}, stages));
}

function factsOf({ facts = {}, stages }) {
  const said = [];
  if (facts.rows !== undefined) said.push(t("fact.rows", { n: facts.rows, rows: number(facts.rows) }) + (facts.bytes ? ` (${size(facts.bytes)})` : ""));
  if (facts.expected_s) said.push(t("fact.takes", { time: duration(facts.expected_s) }));
  const holds = stages.some((stage) => stage.holds_writes);
  if (!holds) said.push(t("fact.nothing_waits"));
  else said.push(facts.expected_hold_ms ? t("fact.holds", { ms: number(facts.expected_hold_ms) }) : t("fact.holds_some"));
  return [...said, ...(facts.findings ?? [])];
}

function deciding(wish, { plan, destroys }, done) {
  if (plan.open || (!plan.moves.length && plan.empty)) return [closing()];
  const go = h("button", { type: "button", class: destroys.length ? "danger" : "main", id: "plan-go" }, t(`do.${wish.to}`, { ...wish }));
  const heading = h("h2", { id: "plan-title" }, t(`plan.${wish.to}`, { ...wish }));
  go.addEventListener("click", () => doing(go, [heading], async () => { await post("/api/do", wish); done(); }));
  return [h("p", { class: "buttons" }, cancel(), go)];
}

async function doing(button, heading, act) {
  button.disabled = true;
  button.textContent = t("begins");
  try {
    const said = await act();
    if (typeof said === "string" && said) show([...heading, h("p", {}, said), closing()]);
    else dialog().close();
  } catch (problem) {
    show([...heading, explain(problem), closing()]);
  }
}

/** The log of a node or of the mover, newest lines last. */
export async function logOf(node, lines = 200) {
  const { lines: found } = await get(`/api/log?node=${encodeURIComponent(node)}&lines=${lines}`);
  return h("pre", { class: "log", tabindex: 0, "aria-label": t("log_of", { node }) }, found.length ? found.join("\n") : t("log_empty"));
}
