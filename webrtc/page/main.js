// Wires the page together.

import { Camera } from "./camera.js";
import { Link } from "./link.js";
import { clear, say } from "./messages.js";
import { Situation, fromQuery } from "./situation.js";
import { View } from "./view.js";
import { Watch } from "./watch.js";

const $ = (id) => document.getElementById(id);
const DROP = 1.0; // seconds
const FIELDS = ["INPUT", "SELECT", "TEXTAREA"];

function start() {
  const asked = fromQuery(location.search);
  const view = new View();
  const watch = new Watch($("composite"), [$("pane-source"), $("pane-lrae"), $("pane-h264")]);
  let hello = null;
  let first = true;

  const handlers = {
    hello(message) {
      const another = hello && hello.server !== message.server; // it has started again: it knows nothing of this page
      const before = another && situation.values;
      hello = message;
      document.body.dataset.role = message.role;
      view.hello(message);
      situation.start(message);
      if (message.role === "control" && (before || first)) situation.change(before || asked);
      first = false;
      if (another && camera.on) camera.failed("The server has started again; the sample clip plays.");
      handlers.problem(message.problem);
    },
    stats(message) {
      view.stats(message);
      situation.adopt(message.situation);
    },
    error: (text) => say("server", text, { kind: "problem" }),
    problem(text) {
      if (text) say("problem", `Something has stopped: ${text}`, { kind: "problem", seconds: 0 });
      else clear("problem");
    },
    open(up) {
      $("link").textContent = up ? "live" : "no server";
      $("link").dataset.state = up ? "live" : "gone";
      if (up) watch.start();
      else watch.stop();
    },
  };
  const situation = new Situation((fields) => link.send({ set: fields }));
  const camera = new Camera((on) => {
    if (on) link.send({ source: "camera" }); // what goes, the server sees
    $("camera").textContent = on ? "Back to the clip" : "Use my camera";
    if (on) clear("camera");
  });
  const link = new Link(handlers);

  const drop = () => {
    if (document.body.dataset.role !== "control" || !link.open || $("drop").dataset.dropping) return;
    link.send({ drop: DROP });
    view.dropping(DROP);
    $("drop").dataset.dropping = "1";
    setTimeout(() => delete $("drop").dataset.dropping, 1000 * DROP);
  };
  const toggleCamera = () => {
    if (!hello) return;
    camera.on ? camera.stop() : camera.start(hello);
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      say("copy", "The link to this situation is copied.", { seconds: 4 });
    } catch {
      say("copy", "The browser did not let the link be copied: take it from the address bar.", { seconds: 6 });
    }
  };
  $("drop").addEventListener("click", drop);
  $("camera").addEventListener("click", toggleCamera);
  $("copy").addEventListener("click", copy);
  $("help-open").addEventListener("click", () => $("help").showModal());

  const step = (by) => situation.values && situation.change({ loss: Math.min(0.9, Math.max(0, Math.round(100 * (situation.values.loss + by)) / 100)) });
  const keys = {
    d: drop,
    p: () => situation.change({ paused: !situation.values?.paused }),
    n: () => situation.nextPreset(),
    c: toggleCamera,
    "[": () => step(-0.05),
    "]": () => step(0.05),
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || $("help").open) return;
    if (FIELDS.includes(event.target.tagName) && event.target.type !== "range" && event.target.type !== "checkbox") return;
    const key = event.key.toLowerCase();
    if (key === "?") $("help").showModal();
    else if (key === "l") copy();
    else if (document.body.dataset.role === "control" && key in keys) keys[key]();
    else if (document.body.dataset.role === "control" && /^[0-9]$/.test(key)) situation.change({ loss: Number(key) / 10 });
  });
}

if ("RTCPeerConnection" in window && "WebSocket" in window && "IntersectionObserver" in window) {
  $("unsupported").remove();
  start();
}
