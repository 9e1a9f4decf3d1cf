// The packets of the last frames: a column per frame, a cell per packet.

import { Sheet, colour } from "./canvas.js";

export const FRAMES = 120;
const CODES = ["arrived", "lost", "recovered", "imputed"];
export const LOST = 1;
const LEAST = 4; // cells that a column has room for at the least

export class Mosaic {
  constructor(id, textId) {
    this.sheet = new Sheet(id);
    this.text = document.getElementById(textId);
    this.columns = new Map(); // frame -> codes; the newest word on a frame counts
  }

  add(frame, codes) {
    if (!Array.isArray(codes) || !codes.length) return;
    this.columns.delete(frame);
    this.columns.set(frame, codes);
    while (this.columns.size > FRAMES) this.columns.delete(this.columns.keys().next().value);
  }

  clear() {
    this.columns.clear();
  }

  shares() {
    const counts = [0, 0, 0, 0];
    for (const codes of this.columns.values()) for (const code of codes) counts[code]++;
    const all = counts.reduce((a, b) => a + b, 0) || 1;
    return counts.map((count) => count / all);
  }

  draw() {
    const [, lost, recovered, imputed] = this.shares().map((share) => Math.round(100 * share));
    const text = `${lost + imputed} % lost for good (${imputed} % imputed), ${recovered} % recovered`;
    if (this.text.textContent !== text) this.text.textContent = text;
    const sheet = this.sheet.begin();
    if (!sheet) return;
    const { context, width, height } = sheet;
    const columns = [...this.columns.values()];
    const cells = Math.max(LEAST, ...columns.map((codes) => codes.length));
    const wide = width / FRAMES;
    const high = height / cells;
    const gap = wide > 3 ? 1 : 0.5;
    columns.forEach((codes, i) => {
      const x = width - (columns.length - i) * wide;
      codes.forEach((code, j) => {
        context.fillStyle = colour(CODES[code] ?? "lost");
        context.fillRect(x, height - (j + 1) * high, wide - gap, high - (high > 4 ? 1 : 0));
      });
    });
  }
}
