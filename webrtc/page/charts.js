// Lines, stacks and lanes over the last seconds.

import { Sheet, colour } from "./canvas.js";

export const SECONDS = 20; // on every time axis
const LEFT = 34; // pixels for the numbers
const LANES_LEFT = 44; // pixels for the names of lanes
const BOTTOM = 14; // pixels for the seconds
const TOP = 6;
const GAP = 2; // seconds without a word that break a line
const STATES = ["whole", "partial", "extrapolated", "frozen"];

// A round step that cuts a range into two to five parts.
function roundStep(range) {
  const power = 10 ** Math.floor(Math.log10(range / 2));
  return power * [5, 2, 1].find((factor) => factor * power <= range / 2);
}

// Axes and grid; gives the functions that place a time and a value.
function axes({ context, width, height }, now, low, high) {
  const x = (time) => LEFT + ((time - now + SECONDS) / SECONDS) * (width - LEFT - 2);
  const y = (value) => height - BOTTOM - ((value - low) / (high - low)) * (height - BOTTOM - TOP);
  context.lineWidth = 1;
  const step = roundStep(high - low);
  for (let value = Math.ceil(low / step) * step; value <= high + 1e-9; value += step) {
    context.strokeStyle = colour("quiet");
    context.beginPath();
    context.moveTo(LEFT, Math.round(y(value)) + 0.5);
    context.lineTo(width, Math.round(y(value)) + 0.5);
    context.stroke();
    context.fillStyle = colour("soft");
    context.textAlign = "right";
    context.fillText(String(Math.round(value * 100) / 100), LEFT - 5, y(value));
  }
  seconds({ context, width, height }, LEFT);
  return { x, y };
}

function seconds({ context, width, height }, left) {
  context.fillStyle = colour("soft");
  context.textAlign = "left";
  context.fillText(`−${SECONDS} s`, left, height - 5);
  context.textAlign = "right";
  context.fillText("now", width - 2, height - 5);
}

export class LineChart {
  // lines: [{ value(stats) -> number or null, name of a colour, dash }]; least: what the axis spans at the least
  constructor(id, lines, least) {
    this.sheet = new Sheet(id);
    this.lines = lines;
    this.least = least;
  }

  draw(history, now) {
    const sheet = this.sheet.begin();
    if (!sheet) return;
    const { context } = sheet;
    const all = this.lines.map(({ value }) => history.map(value));
    const known = all.flat().filter(Number.isFinite);
    let [low, high] = this.least;
    if (known.length) [low, high] = [Math.min(low, ...known), Math.max(high, ...known)];
    const { x, y } = axes(sheet, now, low, high);
    this.lines.forEach(({ name, dash }, i) => {
      context.strokeStyle = colour(name);
      context.lineWidth = 2;
      context.lineJoin = "round";
      context.setLineDash(dash ?? []);
      context.beginPath();
      let drawing = false;
      history.forEach(({ time }, j) => {
        const value = all[i][j];
        const broken = !Number.isFinite(value) || (j && time - history[j - 1].time > GAP);
        if (!Number.isFinite(value)) drawing = false;
        else if (drawing && !broken) context.lineTo(x(time), y(value));
        else {
          context.moveTo(x(time), y(value));
          drawing = true;
        }
      });
      context.stroke();
    });
  }
}

export class StackChart {
  // kinds: names of the layers, from below; each is a colour
  constructor(id, kinds, values) {
    this.sheet = new Sheet(id);
    this.kinds = kinds;
    this.values = values;
  }

  highest(history) {
    return Math.max(0, ...history.map((s) => this.kinds.reduce((sum, kind) => sum + (this.values(s)?.[kind] || 0), 0)));
  }

  // high: the top of the axis, so that two charts can share one
  draw(history, now, high) {
    const sheet = this.sheet.begin();
    if (!sheet) return;
    const { context } = sheet;
    const { x, y } = axes(sheet, now, 0, high);
    const base = history.map(() => 0);
    for (const kind of this.kinds) {
      const top = history.map((s, j) => base[j] + (this.values(s)?.[kind] || 0));
      context.fillStyle = colour(kind);
      context.beginPath();
      history.forEach((s, j) => context.lineTo(x(s.time), y(top[j])));
      for (let j = history.length - 1; j >= 0; j--) context.lineTo(x(history[j].time), y(base[j]));
      context.fill();
      top.forEach((value, j) => (base[j] = value));
    }
  }
}

export class LaneChart {
  constructor(id, lanes) {
    this.sheet = new Sheet(id);
    this.lanes = lanes; // [{ title, state(stats) }]
  }

  draw(history, now) {
    const sheet = this.sheet.begin();
    if (!sheet) return;
    const { context, width, height } = sheet;
    const x = (time) => LANES_LEFT + ((time - now + SECONDS) / SECONDS) * (width - LANES_LEFT - 2);
    const each = (height - BOTTOM - TOP) / this.lanes.length;
    this.lanes.forEach(({ title, state }, lane) => {
      const top = TOP + lane * each;
      context.fillStyle = colour("soft");
      context.textAlign = "right";
      context.fillText(title, LANES_LEFT - 6, top + each / 2);
      history.forEach((s, j) => {
        const word = state(s);
        if (!STATES.includes(word)) return;
        const end = Math.min(history[j + 1]?.time ?? s.time + 0.07, s.time + 0.5);
        // the worse, the higher: readable without colours, too
        const part = (0.25 * (STATES.indexOf(word) + 1)) * (each - 8);
        context.fillStyle = colour(word);
        context.fillRect(x(s.time), top + each - 4 - part, x(end) - x(s.time) + 0.6, part);
      });
    });
    seconds({ context, width, height }, LANES_LEFT);
  }
}
