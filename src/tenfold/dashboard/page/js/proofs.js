// The proofs that there were: their verdicts, and each one's report with its timeline, opened above the page.

import { get } from "./api.js";
import { exchange, h } from "./dom.js";
import { number, t, time } from "./words.js";

const dialog = () => document.getElementById("report");

/** The list in `panel`. */
export async function showProofs(panel) {
  const proofs = await get("/api/proofs");
  const rows = proofs.map((proof) => h("article", { class: "proof" },
    h("h3", {}, outcome(proof), ` ${time(proof.at_us)} `,
      h("button", { type: "button", class: "plain small", "data-key": `report-${proof.name}`, onclick: () => open(proof) }, t("proof.report")), " ",
      h("a", { href: address(proof), target: "_blank", rel: "noopener" }, t("proof.apart"))),
    h("ul", { class: "verdicts" }, proof.verdicts.map(verdict))));
  exchange(panel, h("p", { class: "soft" }, t("proofs.what"), " ", h("code", {}, "tenfold prove")), rows.length ? rows : h("p", {}, t("proofs.none")));
}

const address = (proof) => `/proofs/${encodeURIComponent(proof.name)}/report.html`;
const chip = (kind, text) => h("span", { class: `chip ${kind.replace(" ", "-")}` }, text);
const outcome = (proof) => chip(proof.passed ? "holds" : "broken", t(proof.passed ? "proof.passed" : "proof.broken"));
const verdict = ({ id, verdict: said, n, detail }) => h("li", {}, chip(said, `${id} ${t(`verdict.${said.replace(" ", "_")}`)}`), h("span", { class: "soft" }, ` n = ${number(n)} `), h("span", {}, detail ?? ""));

/** The report is a file that somebody may have changed: its scripts run in an origin of its own and can ask nobody. */
function open(proof) {
  const box = dialog();
  const title = t("proof.title", { time: time(proof.at_us) });
  const close = h("button", { type: "button", class: "quiet close", "aria-label": t("close"), onclick: () => box.close() }, "✕");
  const frame = h("iframe", { src: address(proof), sandbox: "allow-scripts", title });
  box.replaceChildren(h("header", {}, h("h2", { id: "report-title" }, title), outcome(proof), close), frame);
  box.onclose = () => box.replaceChildren(); // nothing of it goes on out of sight
  box.onclick = (event) => event.target === box && box.close();
  box.showModal();
}
