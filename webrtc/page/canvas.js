// Canvases that are sharp on every screen, and the page's colours on them.

const cache = new Map();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => cache.clear());

// A colour of style.css by name.
export function colour(name) {
  if (!cache.has(name)) cache.set(name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  return cache.get(name);
}

const visible = new WeakSet();
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? visible.add(target) : visible.delete(target);
});

// A canvas that draws only where it is seen: begin() gives an empty context and its size in CSS pixels, or null.
export class Sheet {
  constructor(id) {
    this.canvas = document.getElementById(id);
    this.context = this.canvas.getContext("2d");
    observer.observe(this.canvas);
  }

  begin() {
    if (!visible.has(this.canvas)) return null;
    const { canvas, context } = this;
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const wide = Math.round(width * ratio);
    const high = Math.round(height * ratio);
    if (canvas.width !== wide || canvas.height !== high) Object.assign(canvas, { width: wide, height: high });
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.setLineDash([]);
    return { context, width, height };
  }
}
