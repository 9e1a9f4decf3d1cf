// Messages to the viewer, one of each kind at a time; read aloud politely.

const box = document.getElementById("messages");
const shown = new Map();

// Says something; the same `about` replaces what was said before. seconds: 0 stays until cleared.
export function say(about, text, { kind = "note", seconds = 8 } = {}) {
  let line = shown.get(about);
  if (!line) {
    line = document.createElement("p");
    line.className = "message";
    const words = document.createElement("span");
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: "Dismiss" });
    button.addEventListener("click", () => clear(about));
    line.append(words, button);
    box.append(line);
    shown.set(about, line);
  }
  if (line.firstChild.textContent !== text) line.firstChild.textContent = text;
  line.dataset.kind = kind;
  clearTimeout(line.timer);
  if (seconds) line.timer = setTimeout(() => clear(about), 1000 * seconds);
}

export function clear(about) {
  const line = shown.get(about);
  if (!line) return;
  clearTimeout(line.timer);
  line.remove();
  shown.delete(about);
}
