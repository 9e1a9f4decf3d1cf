// The picture by WHEP: one POST of an offer, one DELETE at the end. Comes back by itself when the server does.

const video = document.getElementById("video");
const message = document.getElementById("message");
const receiver = document.getElementById("receiver");
const browser = document.getElementById("browser");
const token = new URLSearchParams(location.search).get("token");
const authorization = token ? { Authorization: `Bearer ${token}` } : {};

const GATHER_MS = 1000; // addresses of this side that are not known by then are found by the checks
const CONNECT_MS = 12000;
const STALL_MS = 5000;
const STATUS_MS = 500;
const MISSED = 6; // answers of the server, one after the other, until it counts as gone
const RETRY_MS = [500, 1000, 2000, 4000];
const HELP = {
  401: "This server asks for a token: open the address with ?token=… at its end.",
  403: "This server is reached as localhost or by its address.",
};

let connection = null;
let session = null; // the Location of the WHEP session
let over = () => {}; // ends the connection that is
let failures = 0;
let last = { at: 0, frames: 0, delay: 0, emitted: 0 };

class Refused extends Error {
  constructor(response, text) {
    super(text.trim());
    this.status = response.status;
    this.wait = Number(response.headers.get("Retry-After")) || 0;
  }
}

function say(text) {
  if (message.textContent !== text) message.textContent = text;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function gathered(pc) {
  if (pc.iceGatheringState === "complete") return null;
  const done = new Promise((resolve) =>
    pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve()),
  );
  return Promise.race([done, pause(GATHER_MS)]);
}

// Resolves when the connection is over; throws if it never came about.
async function look() {
  const pc = new RTCPeerConnection();
  connection = pc;
  const transceiver = pc.addTransceiver("video", { direction: "recvonly" });
  if ("jitterBufferTarget" in transceiver.receiver) transceiver.receiver.jitterBufferTarget = 0; // show at once
  pc.addEventListener("track", (event) => {
    video.srcObject = new MediaStream([event.track]);
    video.play().catch(() => say("Press the picture to play."));
  });
  await pc.setLocalDescription();
  await gathered(pc);
  const response = await fetch("/whep", {
    method: "POST",
    headers: { "Content-Type": "application/sdp", ...authorization },
    body: pc.localDescription.sdp,
  });
  if (response.status !== 201) throw new Refused(response, await response.text());
  session = response.headers.get("Location");
  await pc.setRemoteDescription({ type: "answer", sdp: await response.text() });
  await new Promise((resolve, reject) => {
    const slow = setTimeout(() => reject(new Error("no way for the video through the network")), CONNECT_MS);
    let stalled = null;
    over = () => {
      clearTimeout(slow);
      clearTimeout(stalled);
      resolve();
    };
    // the server's goodbye: a browser tells it here, and elsewhere only after a long silence
    const transport = transceiver.receiver.transport;
    if (transport) transport.addEventListener("statechange", () => transport.state === "closed" && over());
    pc.addEventListener("connectionstatechange", () => {
      clearTimeout(stalled);
      if (pc.connectionState === "connected") {
        clearTimeout(slow);
        failures = 0;
        say("");
      } else if (pc.connectionState === "disconnected") {
        say("The connection stalls…");
        stalled = setTimeout(over, STALL_MS);
      } else if (["failed", "closed"].includes(pc.connectionState)) {
        over();
      }
    });
  });
}

function leave() {
  if (connection) connection.close();
  if (session) fetch(session, { method: "DELETE", headers: authorization, keepalive: true }).catch(() => {});
  connection = session = null;
}

async function run() {
  if (!("RTCPeerConnection" in window)) {
    say("This browser has no WebRTC, or it is switched off.");
    return;
  }
  for (;;) {
    let wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    try {
      say("Connecting…");
      await look();
      say("The server has gone. Trying again…");
    } catch (error) {
      if (error.status in HELP) {
        say(HELP[error.status]);
        wait = 10000;
      } else if (error instanceof Refused) {
        say(`The server says: ${error.message}. Trying again…`);
        wait = Math.max(wait, 1000 * error.wait);
      } else {
        say(error instanceof TypeError ? "The server does not answer. Trying again…" : `${error.message}. Trying again…`);
      }
    }
    leave();
    failures += 1;
    await pause(wait);
  }
}

async function figures(pc) {
  const reports = [...(await pc.getStats()).values()];
  const video = reports.find((r) => r.type === "inbound-rtp" && r.kind === "video");
  if (!video) return "";
  const now = { at: video.timestamp, frames: video.framesDecoded || 0, delay: video.jitterBufferDelay || 0 };
  now.emitted = video.jitterBufferEmittedCount || 0;
  const fps = (1000 * (now.frames - last.frames)) / Math.max(1, now.at - last.at);
  const buffer = (1000 * (now.delay - last.delay)) / Math.max(1, now.emitted - last.emitted);
  last = now;
  const size = video.frameWidth ? `${video.frameWidth}×${video.frameHeight}, ` : "";
  return `in this browser: ${size}${Math.max(0, fps).toFixed(0)} frames a second, buffer ${Math.max(0, buffer).toFixed(0)} ms`;
}

async function report() {
  let missed = 0;
  for (;;) {
    try {
      if (connection && connection.connectionState === "connected") {
        missed += 1;
        const status = await (await fetch("/status", { headers: authorization })).json();
        missed = status.viewers + status.connecting ? 0 : missed; // it may be another server by now
        receiver.textContent = status.line;
        const viewers = status.viewers === 1 ? "1 viewer" : `${status.viewers} viewers`;
        const shown = connection ? await figures(connection) : "";
        browser.textContent = `${shown} · ${viewers}, queue ${status.queue_ms.toFixed(0)} ms`;
      } else {
        receiver.textContent = browser.textContent = "";
      }
    } catch {
      receiver.textContent = browser.textContent = "";
    }
    if (missed >= MISSED) {
      missed = 0;
      over();
    }
    await pause(STATUS_MS);
  }
}

video.addEventListener("resize", () => {
  video.style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
});
video.addEventListener("click", () => video.play().then(() => say(""), () => {}));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "f" || event.key === "F") {
    if (document.fullscreenElement) document.exitFullscreen();
    else video.requestFullscreen().catch(() => {});
  } else if (event.key === "i" || event.key === "I") {
    document.body.classList.toggle("plain");
  }
});
addEventListener("pagehide", leave);
addEventListener("pageshow", (event) => event.persisted && location.reload());
run();
report();
