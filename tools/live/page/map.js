// The map of a run: the outline of the country if there is one, and a point for each event. A point is
// [x, y, rank, label]; rank 0 is the backdrop, the others are the colours of severity.

"use strict";

class EventMap {
  static FIRST_MS = 1800; // how long a new point rings
  static MOST_RINGS = 400;
  static NEAR = 9; // pixels from a point to the pointer

  constructor(element, outline, most = Infinity) {
    this.element = element;
    this.outline = outline;
    this.most = most;
    this.points = [];
    this.rings = [];
    this.shapes = outline && ["land", "borders"].map(name => new Path2D(outline[name]));
    element.replaceChildren();
    element.classList.add("map");
    [this.still, this.lively] = [0, 1].map(() => element.appendChild(document.createElement("canvas")));
    this.tip = element.appendChild(document.createElement("div"));
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.resizing = new ResizeObserver(() => this.draw());
    this.resizing.observe(element);
    this.draw();
    element.onpointermove = event => this.point(event);
    element.onpointerleave = () => { this.tip.hidden = true; };
  }

  // A list of the colours.
  static legend(severities) {
    const list = document.createElement("ul");
    list.className = "legend";
    for (const { rank, text } of severities) {
      const item = list.appendChild(document.createElement("li"));
      item.textContent = text;
      item.style.setProperty("--colour", `var(--severity-${rank})`);
    }
    return list;
  }

  close() {
    this.resizing.disconnect();
  }

  // Adds points; lively ones light up.
  add(points, lively) {
    if (points.length === 0) return;
    const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.points.push(...points);
    if (this.points.length > 1.2 * this.most) this.points.splice(0, this.points.length - this.most);
    if (lively && !reduced) {
      const now = performance.now();
      const severe = points.filter(([, , rank]) => rank > 0);
      // Spread over the time until the next ones, since they come in batches.
      severe.forEach((point, place) => this.rings.push({ point, since: now + 500 * place / severe.length }));
      this.rings.splice(0, this.rings.length - EventMap.MOST_RINGS);
      this.animate();
    }
    // Among many points, each is smaller.
    if (this.points.length > this.drawn || !this.outline) this.draw();
    else this.dots(this.still.getContext("2d"), points);
  }

  // How a place on the map becomes one on the canvas.
  fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const box = this.outline ? [0, 0, this.outline.width, this.outline.height] : this.around();
    const scale = Math.min(width / (box[2] - box[0]), height / (box[3] - box[1]));
    const severe = this.points.filter(([, , rank]) => rank > 0).length;
    this.size = Math.max(0.7, Math.min(1.6, width / 900)) * Math.max(0.5, Math.min(1, (400 / (severe + 1)) ** 0.25));
    this.drawn = Math.min(1.3 * this.points.length + 100, 1.2 * this.most - 1);
    this.halos = severe < 400;
    this.view = {
      scale,
      left: (width - scale * (box[0] + box[2])) / 2,
      top: (height - scale * (box[1] + box[3])) / 2,
    };
  }

  // A box around all points, with some room.
  around() {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [x, y] of this.points) {
      box[0] = Math.min(box[0], x); box[1] = Math.min(box[1], y);
      box[2] = Math.max(box[2], x); box[3] = Math.max(box[3], y);
    }
    if (box[0] > box[2]) return [0, 0, 1, 1];
    const room = Math.max(0.01, 0.08 * Math.max(box[2] - box[0], box[3] - box[1]));
    return [box[0] - room, box[1] - room, box[2] + room, box[3] + room];
  }

  at([x, y]) {
    return [this.view.left + this.view.scale * x, this.view.top + this.view.scale * y];
  }

  draw() {
    this.fit();
    this.colours = ["--dust", "--severity-1", "--severity-2", "--severity-3", "--severity-4"].map(themeColour);
    const ratio = devicePixelRatio || 1;
    for (const canvas of [this.still, this.lively]) {
      canvas.width = ratio * this.element.clientWidth;
      canvas.height = ratio * this.element.clientHeight;
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    const context = this.still.getContext("2d");
    if (this.shapes) this.land(context);
    this.dots(context, [...this.points].sort((one, other) => one[2] - other[2]));
  }

  land(context) {
    const { left, top, scale } = this.view;
    context.save();
    context.translate(left, top);
    context.scale(scale / 10, scale / 10); // the paths are in tenths
    context.fillStyle = themeColour("--land");
    context.fill(this.shapes[0]);
    context.strokeStyle = themeColour("--border");
    context.lineWidth = 9 / scale;
    context.lineJoin = "round";
    context.stroke(this.shapes[1]);
    context.restore();
  }

  dots(context, points) {
    for (const point of points) {
      const [x, y] = this.at(point), rank = point[2];
      if (this.halos && rank > 2) {
        context.globalAlpha = 0.12;
        context.fillStyle = this.colours[rank];
        context.beginPath();
        context.arc(x, y, this.size * 2.3 * rank, 0, 2 * Math.PI);
        context.fill();
      }
      context.globalAlpha = rank === 0 ? 0.4 : 0.85;
      context.fillStyle = this.colours[rank];
      context.beginPath();
      context.arc(x, y, this.size * (rank === 0 ? 1.1 : 1.1 + 0.6 * rank), 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  animate() {
    if (this.frame) return;
    const step = now => {
      this.rings = this.rings.filter(({ since }) => now - since < EventMap.FIRST_MS);
      this.glow(now);
      this.frame = this.rings.length > 0 ? requestAnimationFrame(step) : undefined;
    };
    this.frame = requestAnimationFrame(step);
  }

  // Each new point flashes, and a ring leaves it.
  glow(now) {
    const context = this.lively.getContext("2d");
    context.clearRect(0, 0, this.element.clientWidth, this.element.clientHeight);
    for (const { point, since } of this.rings) {
      const age = (now - since) / EventMap.FIRST_MS;
      if (age < 0) continue;
      const [x, y] = this.at(point), rank = point[2], left = (1 - age) ** 2;
      const reach = this.size * (4 + 6 * rank) * (1 - left);
      context.strokeStyle = context.fillStyle = this.colours[rank];
      context.globalAlpha = left;
      context.lineWidth = this.size * (0.6 + 0.4 * rank);
      context.beginPath();
      context.arc(x, y, reach, 0, 2 * Math.PI);
      context.stroke();
      context.globalAlpha = 0.6 * left;
      context.beginPath();
      context.arc(x, y, this.size * (2 + 1.5 * rank), 0, 2 * Math.PI);
      context.fill();
    }
    context.globalAlpha = 1;
  }

  // Shows the label of the point that is nearest to the pointer.
  point(event) {
    const box = this.element.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    let near = null, least = EventMap.NEAR;
    for (const point of this.points) {
      if (!point[3]) continue;
      const [x, y] = this.at(point), distance = Math.hypot(x - left, y - top);
      if (distance <= least) [near, least] = [point, distance];
    }
    this.tip.hidden = near === null;
    if (near === null) return;
    this.tip.textContent = near[3];
    const aside = left > box.width / 2;
    this.tip.style.left = aside ? "auto" : `${left + 12}px`;
    this.tip.style.right = aside ? `${box.width - left + 12}px` : "auto";
    this.tip.style.top = `${top + 12}px`;
  }
}
