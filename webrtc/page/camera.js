// The viewer's camera, sent to the server.

import { say } from "./messages.js";
import { completeOffer, letGo, postOffer } from "./watch.js";

const CONNECTING = 10000; // ms
const REASONS = {
  NotAllowedError: "The camera was refused. Allow it in the browser's address bar to use it; the sample clip plays on.",
  NotFoundError: "No camera was found; the sample clip plays on.",
  OverconstrainedError: "No camera was found that gives such a picture; the sample clip plays on.",
  NotReadableError: "The camera is in use by another program; the sample clip plays on.",
};

export class Camera {
  // changed(boolean): it is on or off
  constructor(changed) {
    this.changed = changed;
    this.turn = 0;
    addEventListener("pagehide", () => this.stop());
  }

  get on() {
    return this.stream != null;
  }

  async start({ size: [width, height], fps }) {
    if (!navigator.mediaDevices?.getUserMedia) {
      say("camera", "Browsers give a camera only to pages from this machine (localhost) or over https; the sample clip plays on.", {
        kind: "problem",
      });
      return;
    }
    this.stop();
    const turn = ++this.turn;
    try {
      const stream = await navigator.mediaDevices.getUserMedia({
        audio: false,
        video: { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: fps, max: 30 } },
      });
      if (turn !== this.turn) return stream.getTracks().forEach((track) => track.stop());
      this.stream = stream;
      const [track] = stream.getVideoTracks();
      track.contentHint = "motion";
      track.onended = () => this.failed("The camera has stopped; the sample clip plays.");
      const peer = new RTCPeerConnection();
      this.peer = peer;
      peer.addTransceiver(track, { direction: "sendonly" });
      const { sdp, location } = await postOffer("/camera", await completeOffer(peer));
      if (turn !== this.turn) return letGo(location);
      this.resource = location;
      await peer.setRemoteDescription({ type: "answer", sdp });
      await connected(peer);
      if (turn !== this.turn) return;
      peer.onconnectionstatechange = () => {
        if (["failed", "closed"].includes(peer.connectionState)) this.failed("The camera's connection broke, or another camera has taken over.");
      };
      this.changed(true);
    } catch (error) {
      if (turn === this.turn) this.failed(REASONS[error.name] ?? `The camera cannot be used: ${error.message}. The sample clip plays on.`);
    }
  }

  failed(text) {
    say("camera", text, { kind: "problem", seconds: 12 });
    this.stop();
  }

  stop() {
    this.turn++;
    const was = this.on;
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    letGo(this.resource);
    this.resource = null;
    this.peer?.close();
    this.peer = null;
    if (was) this.changed(false);
  }
}

function connected(peer) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error("no connection came about")), CONNECTING);
    const look = () => {
      if (peer.connectionState === "connected") {
        clearTimeout(timer);
        done();
      }
      if (peer.connectionState === "failed") {
        clearTimeout(timer);
        fail(new Error("no connection came about"));
      }
    };
    peer.onconnectionstatechange = look;
    look();
  });
}
