// The load that is started from the page: so many requests a second, for so long.

import { post } from "./api.js";
import { h, say } from "./dom.js";
import { explain } from "./moves.js";
import { duration, number, onWords, rate, t } from "./words.js";

const RATES = [0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 300, 400, 500, 700, 1000, 1500, 2000];
const SECONDS = [30, 60, 180, 600];
const SETTLE_MS = 400;

/** The form in `root`; nothing where the page may only look. */
export class LoadForm {
  constructor(root, readOnly) {
    this.root = root;
    if (readOnly) return;
    this.seconds = 60;
    this.slider = h("input", { type: "range", id: "load-rate", min: 0, max: RATES.length - 1, step: 1, value: 0 });
    this.label = h("label", { for: "load-rate" });
    this.out = h("output", { for: "load-rate" });
    this.time = h("select", { id: "load-time" });
    this.status = h("span", { class: "soft", role: "status" });
    this.stop = h("button", { type: "button", class: "plain" });
    this.slider.addEventListener("input", () => this.slid());
    this.time.addEventListener("change", () => { this.seconds = Number(this.time.value); });
    this.stop.addEventListener("click", () => this.send(0));
    root.addEventListener("submit", (event) => event.preventDefault());
    root.append(this.label, this.slider, this.out, this.time, this.stop, this.status);
    onWords(() => this.words());
    this.words();
  }

  words() {
    this.label.textContent = t("load");
    this.time.setAttribute("aria-label", t("load.time"));
    this.time.replaceChildren(...SECONDS.map((value) => h("option", { value, selected: value === this.seconds }, duration(value))));
    this.stop.textContent = t("load.stop");
    this.tell();
  }

  /** From the picture: what runs now. */
  draw(load, state) {
    if (!this.slider) return;
    this.root.hidden = state === "stopped";
    this.now = load;
    this.stop.hidden = !load;
    if (!this.touched) this.slider.value = nearest(load?.rate ?? 0);
    this.tell();
    if (!this.trouble) say(this.status, load ? t("load.left", { rate: rate(load.rate), time: duration(Math.max(1, Math.round(load.left_s))) }) : "");
  }

  tell() {
    const value = RATES[Number(this.slider.value)];
    say(this.out, rate(value));
    this.slider.setAttribute("aria-valuetext", t("load.words", { n: value, rate: number(value) }));
  }

  slid() {
    this.touched = true;
    this.tell();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(RATES[Number(this.slider.value)]), SETTLE_MS);
  }

  async send(perSecond) {
    this.trouble = null;
    this.slider.value = nearest(perSecond);
    this.tell();
    try {
      await post("/api/load", { rate: perSecond, seconds: this.seconds });
    } catch (problem) {
      this.trouble = explain(problem);
      this.status.replaceChildren(problem.message || t("offline"));
    }
    this.touched = false;
  }
}

const nearest = (value) => RATES.reduce((best, one, at) => (Math.abs(one - value) < Math.abs(RATES[best] - value) ? at : best), 0);
