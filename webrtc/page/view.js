// What the statistics say, on the page: captions, the sentence, the charts.

import { LaneChart, LineChart, SECONDS, StackChart } from "./charts.js";
import { LOST, Mosaic } from "./mosaic.js";

const KINDS = ["media", "side", "parity", "retransmit", "headers", "feedback"];
const STATE_NAMES = { whole: "all arrived", partial: "part arrived" }; // of the newest frame's packets
const KIND_NAMES = { media: "media", side: "side information", parity: "parity", retransmit: "sent again" };
const DRAW_EVERY = 120; // ms: charts; the numbers come with every word of the server
const HOLD = 900; // ms that a sentence stays, so that it can be read
const LOST_FOR = 5; // seconds that a lost packet of H.264 explains why it stands still
const LATE = 200; // ms by which a picture may be old before the sentence says so
const LEGS = ["lrae", "h264"];
const H264_DASH = [5, 3];

const $ = (id) => document.getElementById(id);
const put = (id, text) => {
  if ($(id).textContent !== text) $(id).textContent = text;
};
const number = (value, digits = 0, unit = "") => (Number.isFinite(value) ? `${value.toFixed(digits)}${unit}` : "–");

export class View {
  constructor() {
    const both = (key) => [
      { value: (s) => s[key]?.h264, name: "h264", dash: H264_DASH },
      { value: (s) => s[key]?.lrae, name: "lrae" },
    ];
    this.psnr = new LineChart("chart-psnr", both("psnr"), [20, 45]);
    this.ssim = new LineChart("chart-ssim", both("ssim"), [5, 20]);
    this.delay = new LineChart("chart-delay", both("delay_ms"), [0, 200]);
    this.stalls = new LaneChart("chart-stalls", [
      { title: "LRAE", state: (s) => s.state?.lrae },
      { title: "H.264", state: (s) => s.state?.h264 },
    ]);
    this.rates = LEGS.map((leg) => new StackChart(`chart-rate-${leg}`, KINDS, (s) => s.kbps?.[leg]));
    this.mosaics = LEGS.map((leg) => new Mosaic(`mosaic-${leg}`, `mosaic-${leg}-text`));
    $("rate-legend").replaceChildren(
      ...KINDS.map((kind) => {
        const item = document.createElement("li");
        const swatch = document.createElement("i");
        swatch.className = kind;
        item.append(swatch, KIND_NAMES[kind] ?? kind);
        return item;
      }),
    );
    this.reset();
    this.drawn = 0;
    this.drop = null;
    this.sentence = { kind: "", since: 0 };
  }

  // A server starts, perhaps another one: what was seen before is of no use.
  reset() {
    this.history = [];
    this.lost = -Infinity; // when H.264 lost a packet for good
    this.mosaics.forEach((mosaic) => mosaic.clear());
  }

  hello({ size, fps, input, source }) {
    this.reset();
    put("source-size", size.join("×"));
    put("source-fps", `${Math.round(fps * 100) / 100} fps`);
    this.input = input;
    this.source(source);
  }

  source(source) {
    put("source-kind", source === "camera" ? "your camera" : "sample clip");
  }

  // The viewer drops everything for so many seconds, from now.
  dropping(seconds) {
    this.drop = { until: performance.now() + 1000 * seconds, seen: {}, back: {} };
  }

  stats(stats) {
    const last = this.history.at(-1);
    if (last && (stats.time < last.time || stats.time - last.time > 5)) this.reset();
    this.history.push(stats);
    while (this.history[0].time < stats.time - SECONDS) this.history.shift();
    for (const [frame, ...codes] of stats.recent ?? []) {
      this.mosaics.forEach((mosaic, i) => mosaic.add(frame, codes[i]));
      if (codes[1]?.some((code) => code === LOST)) this.lost = stats.time;
    }
    this.captions(stats);
    this.say(stats);
    this.follow(stats);
    this.source(stats.source);
    const now = performance.now();
    if (now - this.drawn < DRAW_EVERY || document.hidden) return;
    this.drawn = now;
    requestAnimationFrame(() => this.draw(stats));
  }

  captions(stats) {
    for (const leg of LEGS) {
      const state = stats.state?.[leg] ?? "–";
      put(`${leg}-state`, STATE_NAMES[state] ?? state);
      $(`${leg}-state`).dataset.state = state;
      $(`figure-${leg}`).dataset.state = state;
      put(`${leg}-psnr`, number(stats.psnr?.[leg], 1, " dB"));
      put(`${leg}-delay`, number(stats.delay_ms?.[leg], 0, " ms"));
      put(`${leg}-stall`, number(stats.stall_ms?.[leg], 0, " ms"));
    }
    const { label } = stats;
    put("label-name", label ? (label.name ?? "nothing that it knows") : "no label yet");
    put("label-confidence", label ? `${Math.round(100 * label.confidence)} %` : "");
    $("label-bar").value = label?.confidence ?? 0;
    put("fact-fps", number(stats.fps, 1));
    put("fact-queue", number(stats.queue_ms, 0, " ms"));
    put("fact-gateway", number(stats.delay_ms?.gateway, 0, " ms"));
    put("fact-dropped", number(stats.dropped_inputs));
    put("fact-viewers", number(stats.broadcast?.viewers));
  }

  // One plain sentence on what is on screen, and why.
  say(stats) {
    const now = performance.now();
    const before = this.sentence;
    let [kind, text] = sentence(stats, this.drop, stats.time - this.lost < LOST_FOR);
    if (before.kind === "frozen" && kind !== "frozen" && kind !== "back") {
      [kind, text] = ["thawed", `H.264 stood still for ${before.stall} ms. ${LRAE_NOW[stats.state?.lrae] ?? ""}`];
    } else if (kind !== before.kind && !["calm", ""].includes(before.kind) && kind !== "frozen" && now - before.since < HOLD) {
      return; // long enough to be read
    }
    const since = kind === before.kind ? before.since : now;
    this.sentence = { kind, since, stall: Math.round(stats.stall_ms?.h264 ?? 0) };
    $("why").dataset.kind = kind;
    put("why", text);
  }

  // How long each leg takes to come back after the button.
  follow(stats) {
    const { drop } = this;
    const now = performance.now();
    if (!drop || drop.done) return;
    for (const leg of LEGS) {
      const good = ["whole", "partial"].includes(stats.state?.[leg]);
      if (!good) drop.seen[leg] = true;
      if (good && drop.seen[leg] && now >= drop.until) drop.back[leg] ??= Math.round(now - drop.until);
    }
    drop.done = LEGS.every((leg) => leg in drop.back) || now > drop.until + 10000;
  }

  draw(stats) {
    const { history } = this;
    const now = stats.time;
    for (const chart of [this.psnr, this.ssim, this.delay, this.stalls]) chart.draw(history, now);
    const high = Math.max(100, ...this.rates.map((chart) => 1.1 * chart.highest(history)));
    this.rates.forEach((chart) => chart.draw(history, now, high));
    this.mosaics.forEach((mosaic) => mosaic.draw());
    LEGS.forEach((leg) => {
      // feedback goes the other way, and is not part of the rate
      const all = KINDS.reduce((sum, kind) => sum + (kind === "feedback" ? 0 : stats.kbps?.[leg]?.[kind] || 0), 0);
      put(`rate-${leg}-text`, `${Math.round(all)} in all`);
    });
    pair("psnr-text", (leg) => number(stats.psnr?.[leg], 1));
    pair("ssim-text", (leg) => number(stats.ssim?.[leg], 1));
    pair("delay-text", (leg) => number(stats.delay_ms?.[leg]));
    const { back, seen } = this.drop ?? {};
    if (back && (this.drop.done || Object.keys(back).length)) {
      pair("stall-text", (leg) => (leg in back ? `back after ${back[leg]} ms` : seen[leg] ? "not back yet" : "never away"));
    } else pair("stall-text", (leg) => `${number(stats.stalls?.[leg])} so far`);
  }
}

function pair(id, text) {
  const parts = LEGS.flatMap((leg) => {
    const name = document.createElement("b");
    name.className = leg;
    name.textContent = leg === "lrae" ? "LRAE" : "H.264";
    return [name, ` ${text(leg)}${leg === "lrae" ? "   " : ""}`];
  });
  const box = $(id);
  const all = parts.map((part) => part.textContent ?? part).join("");
  if (box.textContent !== all) box.replaceChildren(...parts);
}

const LRAE_NOW = {
  whole: "LRAE has all of the newest frame.",
  partial: "LRAE goes on with what arrives.",
  extrapolated: "LRAE continues the motion that it saw last.",
  frozen: "LRAE stands still, too.",
};

// [kind, text]; kind: what the sentence is about. drop: that of the button, or null. lost: H.264 lost packets lately.
function sentence({ state, stall_ms: stall, situation }, drop, lost) {
  if (situation?.paused) return ["paused", "Paused: no new frames are sent."];
  const lrae = state?.lrae;
  const [old, oldH264] = LEGS.map((leg) => Math.round(stall?.[leg] ?? 0));
  const other = (old > LATE && lrae === "whole" ? `LRAE is late by ${old} ms.` : LRAE_NOW[lrae]) ?? "";
  if (state?.h264 === "frozen") {
    if (drop && performance.now() < drop.until) return ["frozen", `Nothing arrives. H.264 stands still: ${oldH264} ms. ${other}`];
    if (lost) return ["frozen", `H.264 waits for a key frame: ${oldH264} ms. ${other}`];
    return ["late", `H.264 is late by ${oldH264} ms. ${other}`];
  }
  if (drop && !drop.told && drop.done && LEGS.every((leg) => leg in drop.back)) {
    drop.told = true;
    return ["back", `After the drop, LRAE was back in ${drop.back.lrae} ms and H.264 in ${drop.back.h264} ms.`];
  }
  if (lrae === "extrapolated") return ["extrapolated", "Nothing of the newest frame arrived: LRAE continues the motion that it saw last."];
  if (lrae === "partial") return ["partial", "Packets are missing: LRAE paints their parts from what it knows; H.264 had them repaired in time."];
  if (lrae === "frozen" || old > LATE) return ["lrae", `LRAE is late by ${old} ms.`];
  return ["calm", "Both are up to date: every packet arrived, or was repaired in time."];
}
