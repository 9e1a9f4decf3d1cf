// The situation: controls on the page, the URL, and the server, kept equal.

const list = (...values) => values;
const steps = (low, high, step) => Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) => low + i * step);
const percent = (v) => `${Math.round(100 * v)} %`;

// what a slider can say; the server takes values in between, too
const SLIDERS = {
  loss: { values: steps(0, 90, 1).map((v) => v / 100), text: percent },
  burst: {
    values: list(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60, 100),
    text: (v) => (v < 1.05 ? "single packets" : `${Math.round(v * 10) / 10} in a row`),
  },
  delay_ms: { values: steps(0, 400, 5), text: (v) => `${Math.round(v)} ms` },
  bitrate_kbps: { values: list(...steps(100, 1000, 50), ...steps(1100, 3000, 100)), text: (v) => `${Math.round(v)} kbit/s` },
};
const SELECTS = ["fec", "layout", "trace"];
const CHECKS = ["imputer", "resync"];
const FIELDS = [...Object.keys(SLIDERS), ...SELECTS, ...CHECKS, "paused"];
const NAMES = { clean: "Clean", "cafe-wifi": "Café Wi-Fi", lte: "LTE", tunnel: "Tunnel", "call-trace": "Call on the move" };
const SEND_EVERY = 50; // ms between two messages while a slider moves
const TOUCHED = 700; // ms after the last touch in which the server's word does not move the controls

const $ = (id) => document.getElementById(id);
const nearest = (values, value) =>
  values.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(values[best] - value) ? i : best), 0);

// The fields of a situation that a URL gives, as values of their kinds; the server judges them.
export function fromQuery(query) {
  const found = {};
  for (const [name, text] of new URLSearchParams(query)) {
    if (name in SLIDERS) {
      if (text.trim() !== "" && Number.isFinite(Number(text))) found[name] = Number(text);
    } else if (SELECTS.includes(name)) found[name] = text;
    else if (FIELDS.includes(name)) found[name] = !["0", "false", "off", "no"].includes(text.toLowerCase());
  }
  return found;
}

export class Situation {
  // send(fields): tells the server
  constructor(send) {
    this.send = send;
    this.values = null;
    this.defaults = {};
    this.presets = {};
    this.touched = -Infinity;
    this.due = 0;
    this.pending = {};
    for (const [name, { values }] of Object.entries(SLIDERS)) {
      const slider = $(name);
      Object.assign(slider, { min: 0, max: values.length - 1, step: 1 });
      slider.addEventListener("input", () => this.change({ [name]: values[slider.value] }));
    }
    for (const name of SELECTS) $(name).addEventListener("change", (e) => this.change({ [name]: e.target.value }));
    for (const name of CHECKS) $(name).addEventListener("change", (e) => this.change({ [name]: e.target.checked }));
    $("pause").addEventListener("click", () => this.change({ paused: !this.values?.paused }));
  }

  // What the server says first: where things stand, and the presets.
  start(hello) {
    this.presets = hello.presets;
    this.defaults = hello.presets.clean ?? hello.situation;
    $("presets").replaceChildren(
      ...Object.keys(this.presets).map((name) => {
        const button = document.createElement("button");
        Object.assign(button, { type: "button", textContent: NAMES[name] ?? name });
        button.dataset.preset = name;
        button.addEventListener("click", () => this.preset(name));
        return button;
      }),
    );
    this.adopt(hello.situation, true);
  }

  preset(name) {
    this.change({ ...this.presets[name], paused: false });
  }

  nextPreset() {
    const names = Object.keys(this.presets);
    if (names.length) this.preset(names[(names.findIndex((n) => this.is(n)) + 1) % names.length]);
  }

  is(name) {
    return FIELDS.every((f) => this.presets[name][f] === this.values[f]);
  }

  // The viewer has changed something.
  change(fields) {
    if (!this.values || !Object.keys(fields).length) return;
    this.values = { ...this.values, ...fields };
    this.touched = performance.now();
    this.pending = { ...this.pending, ...fields };
    this.show();
    if (!this.timer) this.timer = setTimeout(() => this.flush(), Math.max(0, this.due - performance.now()));
  }

  flush() {
    this.timer = null;
    this.due = performance.now() + SEND_EVERY;
    this.send(this.pending);
    this.pending = {};
    this.remember();
  }

  // The server says how things stand; another page may have changed them.
  adopt(values, always = false) {
    if (!always && performance.now() - this.touched < TOUCHED) return;
    if (this.values && FIELDS.every((f) => this.values[f] === values[f])) return;
    const first = !this.values;
    this.values = { ...values };
    this.show();
    if (!first) this.remember();
  }

  // The address holds what differs from the clean situation, so that its link shows the same.
  remember() {
    const url = new URL(location.href);
    for (const name of FIELDS) {
      const value = this.values[name];
      if (value === this.defaults[name]) url.searchParams.delete(name);
      else url.searchParams.set(name, typeof value === "boolean" ? Number(value) : value);
    }
    history.replaceState(null, "", url);
  }

  show() {
    for (const [name, { values, text }] of Object.entries(SLIDERS)) {
      const words = text(this.values[name]);
      $(name).value = nearest(values, this.values[name]);
      $(name).setAttribute("aria-valuetext", words);
      $(`${name}-value`).textContent = words;
    }
    for (const name of SELECTS) $(name).value = this.values[name];
    for (const name of CHECKS) $(name).checked = this.values[name];
    $("pause").setAttribute("aria-pressed", this.values.paused);
    $("pause").textContent = this.values.paused ? "Go on" : "Pause";
    for (const button of $("presets").children) button.setAttribute("aria-pressed", this.is(button.dataset.preset));
  }
}
