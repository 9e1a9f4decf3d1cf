// The WebSocket to the server; it comes back by itself.

import { path, role } from "./access.js";
import { clear, say } from "./messages.js";

const FIRST_WAIT = 500; // ms until the next try, doubled up to
const LONGEST_WAIT = 5000;
const SILENCE = 15000; // ms without a word after which a connection counts as dead

export class Link {
  // on: { hello, stats, error, problem } called with what the server says; open(boolean) with every change
  constructor(on) {
    this.on = on;
    this.wait = FIRST_WAIT;
    this.connect();
  }

  get open() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  send(message) {
    if (this.open) this.socket.send(JSON.stringify(message));
  }

  connect() {
    const url = path("/ws");
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.watch(socket);
    socket.onmessage = ({ data }) => {
      this.watch(socket);
      const message = JSON.parse(data);
      for (const kind of ["hello", "stats", "error", "problem"]) if (kind in message) this.on[kind](message[kind]);
      if ("hello" in message) {
        this.wait = FIRST_WAIT;
        clear("link");
        this.on.open(true);
      }
    };
    socket.onclose = () => this.closed(socket);
  }

  watch(socket) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (socket.readyState === WebSocket.OPEN && !document.hidden) socket.close();
    }, SILENCE);
  }

  async closed(socket) {
    if (socket !== this.socket) return;
    clearTimeout(this.timer);
    this.on.open(false);
    const may = await role();
    if (may === "refused") {
      say("link", "This server asks for a token. Open the address that lrae-webrtc printed, with ?token= in it.", {
        kind: "problem",
        seconds: 0,
      });
      return;
    }
    const text = may === "gone" ? "The server is gone; this page tries again by itself." : "The connection broke; trying again.";
    say("link", may === "full" ? "Too many pages are open; trying again." : text, { kind: "problem", seconds: 0 });
    setTimeout(() => this.connect(), this.wait);
    this.wait = Math.min(2 * this.wait, LONGEST_WAIT);
  }
}
