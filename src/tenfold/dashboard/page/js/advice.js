// The advice: one sentence, the figures that say so, and how full everything is.

import { exchange, h, style } from "./dom.js";
import { knows, number, role, share, size, t } from "./words.js";

const SHOWN = 3;

/** Draws the advice into `root`; `follow(command)` when its button is pressed. */
export function drawAdvice(root, advice, follow) {
  root.hidden = !advice;
  if (!advice) return;
  const reasons = advice.because.map((text, at) => sentence(advice.because_words[at], text));
  const act = ["step", "scale"].includes(advice.verdict) && advice.command;
  const bars = advice.pressures.slice(0, SHOWN).map(pressure);
  const code = advice.command ? h("p", {}, h("code", {}, advice.command)) : null;
  exchange(root, h("h2", {}, t("advice")), h("p", { class: `verdict ${advice.verdict}` }, sentence(advice.words, advice.sentence)),
    reasons.length ? h("ul", { class: "because" }, reasons.map((text) => h("li", {}, text))) : null,
    bars.length ? h("ul", { class: "pressures", "aria-label": t("pressures") }, bars) : null, code,
    act ? h("p", { class: "buttons" }, h("button", { type: "button", class: "plain", "data-key": "follow", onclick: () => follow(advice.command) }, t("advice.plan"))) : null);
}

/** A sentence in the page's language, where its catalogue has it. */
export const sentence = (words, english) => (words && knows(words.key) ? t(words.key, words.values) : english);

function pressure({ tier, resource, used, most, unit, share: part, room }) {
  const filled = h("span", { class: "filled" });
  style(filled, "transform", `scaleX(${Math.min(1, part).toFixed(3)})`);
  const whole = { bytes: `${size(used)} / ${size(most)}`, share: "" }[unit] ?? `${number(used)} / ${number(most)}`;
  const amount = whole ? `${share(part)} (${whole})` : share(part);
  const name = `${role(tier)} · ${knows(`resource.${resource}`) ? t(`resource.${resource}`) : resource}`;
  return h("li", { class: part > 0.85 ? "full-up" : part > 0.7 ? "busy" : null },
    h("span", { class: "name" }, name), h("span", { class: "amount" }, amount),
    h("span", { class: "bar", "aria-hidden": "true" }, filled), room ? h("span", { class: "unseen" }, t("room", { times: number(room) })) : null);
}
