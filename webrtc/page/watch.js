// The picture: one video with three panes side by side (so that they are in step), drawn into three canvases.

import { path } from "./access.js";
import { clear, say } from "./messages.js";

const GATHERING = 1500; // ms to wait for ICE candidates
const CONNECTING = 8000; // ms until a connection counts as failed
const FIRST_WAIT = 1000; // ms until the next try, doubled up to
const LONGEST_WAIT = 10000;

// An offer with all its candidates, as the one POST of WHEP wants it.
export async function completeOffer(peer) {
  await peer.setLocalDescription(await peer.createOffer());
  await new Promise((done) => {
    if (peer.iceGatheringState === "complete") return done();
    setTimeout(done, GATHERING);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
  });
  return peer.localDescription.sdp;
}

export async function postOffer(name, sdp) {
  const answer = await fetch(path(name), { method: "POST", headers: { "Content-Type": "application/sdp" }, body: sdp });
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(text.trim().slice(0, 200) || `answer ${answer.status}`);
  return { sdp: text, location: new URL(answer.headers.get("Location"), location.origin) };
}

export function letGo(resource) {
  if (resource) fetch(path(resource.pathname), { method: "DELETE", keepalive: true }).catch(() => {});
}

export class Watch {
  constructor(video, canvases) {
    this.video = video;
    this.canvases = canvases;
    this.contexts = canvases.map((canvas) => canvas.getContext("2d", { alpha: false }));
    this.wait = FIRST_WAIT;
    this.wanted = false;
    addEventListener("pagehide", () => this.stop());
    this.drawNext();
  }

  // Connects, and connects again whenever that breaks.
  start() {
    if (this.wanted) return;
    this.wanted = true;
    this.connect();
  }

  stop() {
    this.wanted = false;
    this.close();
  }

  close() {
    clearTimeout(this.timer);
    letGo(this.resource);
    this.resource = null;
    this.peer?.close();
    this.peer = null;
  }

  async connect() {
    const peer = new RTCPeerConnection();
    this.peer = peer;
    this.timer = setTimeout(() => this.again(peer, "no connection came about"), CONNECTING);
    try {
      const { receiver } = peer.addTransceiver("video", { direction: "recvonly" });
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      peer.ontrack = ({ track }) => {
        this.video.srcObject = new MediaStream([track]);
        this.video.play().catch(() => {});
      };
      peer.onconnectionstatechange = () => {
        if (peer.connectionState === "connected") {
          clearTimeout(this.timer);
          this.wait = FIRST_WAIT;
          clear("video");
        }
        if (["failed", "disconnected", "closed"].includes(peer.connectionState)) this.again(peer, "the connection broke");
      };
      const { sdp, location: resource } = await postOffer("/whep", await completeOffer(peer));
      if (peer !== this.peer) return letGo(resource);
      this.resource = resource;
      await peer.setRemoteDescription({ type: "answer", sdp });
    } catch (error) {
      this.again(peer, error.message);
    }
  }

  again(peer, reason) {
    if (peer !== this.peer) return;
    this.close();
    if (!this.wanted) return;
    say("video", `No picture: ${reason}. Trying again.`, { kind: "problem", seconds: 0 });
    setTimeout(() => this.wanted && !this.peer && this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }

  drawNext() {
    const next = () => {
      this.draw();
      this.drawNext();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(next);
    else requestAnimationFrame(next);
  }

  draw() {
    const { video } = this;
    const width = Math.floor(video.videoWidth / 3);
    const height = video.videoHeight;
    if (!width) return;
    this.canvases.forEach((canvas, i) => {
      if (canvas.width !== width || canvas.height !== height) {
        Object.assign(canvas, { width, height });
        canvas.style.aspectRatio = `${width} / ${height}`;
      }
      this.contexts[i].drawImage(video, i * width, 0, width, height, 0, 0, width, height);
    });
  }
}
