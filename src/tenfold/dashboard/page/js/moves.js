// Moves, stages and errors in the words of the page's language; in the server's English where there are none.

import { h } from "./dom.js";
import { knows, lang, t } from "./words.js";

const translated = (key, said) => (lang() !== "en" && knows(key) ? t(key) : said);

/** The title of a move. */
export const titleWords = (move, title) => (knows(`move.${move}`) && (lang() !== "en" || !title) ? t(`move.${move}`) : title || move);

/** What a stage does. */
export const stageWords = (move, stage, says) => translated(`stage.${move}.${stage}`, says || stage);

/** What a stage does, in a few words. */
export const stageShort = (move, stage, says) => (knows(`stage.${move}.${stage}`) ? t(`stage.${move}.${stage}`) : says || stage);

/** An error with what to do next. */
export function explain(problem) {
  if (problem.code === "TF-PAGE-OFFLINE") return h("p", { class: "problem", role: "alert" }, t("offline"));
  const code = problem.code ? h("code", {}, problem.code) : null;
  return h("div", { class: "problem", role: "alert", lang: problem.message ? "en" : null }, h("p", {}, problem.message || t("failed")), problem.hint ? h("p", { class: "soft" }, problem.hint) : null, code);
}
