// Puts the page together: what comes from the stream goes to the picture and to everything beside it.

import { get, mode } from "./api.js";
import { drawAdvice } from "./advice.js";
import { put, say, set } from "./dom.js";
import { Feed } from "./feed.js";
import { Ladder } from "./ladder.js";
import { LoadForm } from "./load.js";
import { announce, MoveCard } from "./move.js";
import { NodeDrawer } from "./node.js";
import { Drawing } from "./picture/draw.js";
import { writeList } from "./picture/list.js";
import { badge } from "./picture/icons.js";
import { setUpSwitches } from "./switches.js";
import { Tabs } from "./tabs.js";
import { onWords, speak, t, time } from "./words.js";

const LIST_MS = 5000;
const LADDER_MS = 15000;
const by = (id) => document.getElementById(id);

class Page {
  constructor() {
    this.readOnly = mode() !== "full";
    this.node = new NodeDrawer(by("node"), this.readOnly);
    this.drawing = new Drawing(by("canvas"), (name) => this.node.open(name));
    this.ladder = new Ladder(by("steps"), by("more"), this.readOnly, () => this.climbed());
    this.move = new MoveCard(by("move"), this.readOnly);
    this.load = new LoadForm(by("load"), this.readOnly);
    this.tabs = new Tabs(by("below"));
    this.listed = 0;
  }

  begin() {
    const handlers = { picture: (p) => this.draw(p), move: () => this.climbed(), opened: () => this.climbed(), age: (age) => this.aged(age) };
    this.feed = new Feed(handlers);
    setInterval(() => document.hidden || this.climbed(), LADDER_MS);
    onWords(() => this.again());
  }

  /** One picture: everything that it says, everywhere. */
  draw(picture) {
    const before = this.picture;
    this.picture = picture;
    this.drawing.draw(picture);
    this.head(picture);
    this.list(picture, before);
    announce(before, picture);
    this.move.draw(picture.move);
    this.load.draw(picture.load, picture.state);
    this.node.draw(picture);
    this.ladder.moving(Boolean(picture.move), picture.way_back, picture.state);
    this.tabs.draw(picture);
    document.body.classList.add("drawn");
  }

  head(picture) {
    say(by("service"), picture.service);
    document.title = `${picture.service} · Tenfold`;
    const state = by("state");
    if (state.said !== picture.state + document.documentElement.lang) {
      state.said = picture.state + document.documentElement.lang;
      set(state, "class", `state ${picture.state}`);
      state.replaceChildren(badge(SIGNS[picture.state] ?? "ill"), t(`state.${picture.state}`));
    }
    const step = picture.step ? t("on_step", { step: picture.step }) : "";
    say(by("where"), [step, picture.version && t("version", { version: picture.version })].filter(Boolean).join(" · "));
    this.sentences(picture);
  }

  sentences(picture) {
    const said = [...picture.says];
    if (!picture.keeper) said.push(t("keeper_gone"));
    if (!picture.controller) said.push(t("controller_gone"));
    if (picture.limits_off) said.push(t("limits_off"));
    const all = said.join("\n");
    if (by("says").said === all) return;
    by("says").said = all;
    by("says").replaceChildren(...said.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
  }

  /** The words for a screen reader do not change under its tongue: at most every few seconds, or when it matters. */
  list(picture, before) {
    const health = (p) => JSON.stringify(p.tiers.map((tier) => tier.nodes.map((node) => [node.name, node.health])));
    const same = before && health(before) === health(picture);
    if (same && performance.now() - this.listed < LIST_MS) return;
    this.listed = performance.now();
    writeList(by("picture-list"), picture);
  }

  aged({ old, lost, at_us: atUs }) {
    document.body.classList.toggle("old", old);
    put(by("age"), { class: `age${old || lost ? " bad" : ""}` });
    if (old) say(by("age"), t(lost ? "age.lost" : "age.old", { time: time(atUs) }));
    else say(by("age"), lost ? t("age.connecting") : "");
  }

  /** Steps, advice and history, from the server. */
  async climbed() {
    try {
      const ladder = await get("/api/ladder");
      this.ladder.draw(ladder);
      drawAdvice(by("advice"), ladder.advice, (command) => this.ladder.follow(command));
      this.tabs.history(ladder.history, ladder.versions);
    } catch (problem) {
      if (problem.code !== "TF-PAGE-OFFLINE") throw problem;
    }
  }

  again() {
    if (this.picture) {
      by("picture-list").said = "";
      by("says").said = "";
      this.listed = 0;
      this.draw(this.picture);
      this.node.again();
    }
    this.tabs.again();
    this.climbed();
  }
}

const SIGNS = { running: "well", starting: "starting", degraded: "ill", failed: "ill", stopped: "gone" };

await speak(setUpSwitches());
new Page().begin();
