// The canvas: a photograph, a square frame, and a mask that is painted over it.
// Positions and sizes are in pixels of the photograph, except where "screen" is said.

const HANDLE = 22; // screen pixels around a corner that take hold of it
const SMALLEST = 8; // side of a frame
const HATCH = 8; // screen pixels between two lines
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export class Painter {
  /** @param onChange called with what changed: "mask", "frame", "cursor", "tool" or "brush". */
  constructor(canvas, onChange) {
    this.canvas = canvas;
    this.onChange = onChange;
    this.context = canvas.getContext("2d");
    this.tool = "brush";
    this.brush = 30;
    this.pointers = new Map();
    this.hatches = { hole: hatch("#d81b60", "rgba(255,120,120,.55)"), out: hatch("#777", "rgba(120,120,120,.4)") };
    this.listen();
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  /** Show a photograph. `kept` is what `state()` returned for it, if anything. */
  load(image, width, height, frame, kept) {
    this.image = image;
    this.width = width;
    this.height = height;
    this.scale = image.width / width; // pixels of the preview and of the mask, for one of the photograph
    this.mask = new OffscreenCanvas(image.width, image.height);
    this.mask.getContext("2d", { willReadFrequently: true });
    this.frame = kept?.frame ?? frame;
    this.edits = kept?.edits ?? [];
    this.done = kept?.done ?? this.edits.length; // edits that are not undone
    this.cursor = { x: this.frame.left + this.frame.side / 2, y: this.frame.top + this.frame.side / 2 };
    this.penDown = false;
    this.drag = null; // of another photograph
    this.pointers.clear();
    this.replay();
    this.resize();
    this.fit();
  }

  state() {
    return { frame: this.frame, edits: this.edits, done: this.done };
  }

  // edits

  edit(edit) {
    this.edits.length = this.done; // what was undone is gone
    this.edits.push(edit);
    this.done = this.edits.length;
    this.apply(edit);
    this.changed("mask");
  }

  undo() {
    this.liftPen();
    if (this.done > 0) { this.done -= 1; this.replay(); this.changed("mask"); }
  }

  redo() {
    this.liftPen();
    if (this.done < this.edits.length) { this.apply(this.edits[this.done]); this.done += 1; this.changed("mask"); }
  }

  liftPen() {
    this.penDown = false;
    if (this.drag?.kind === "stroke") this.drag = null;
  }

  replay() {
    this.mask.getContext("2d").clearRect(0, 0, this.mask.width, this.mask.height);
    for (const edit of this.edits.slice(0, this.done)) this.apply(edit);
  }

  apply(edit) {
    const context = this.mask.getContext("2d");
    context.save();
    context.fillStyle = context.strokeStyle = "#fff";
    if (edit.kind === "clear") context.clearRect(0, 0, this.mask.width, this.mask.height);
    if (edit.kind === "invert") {
      context.globalCompositeOperation = "xor";
      context.fillRect(0, 0, this.mask.width, this.mask.height);
    }
    if (edit.kind === "file") context.drawImage(edit.bitmap, 0, 0, this.mask.width, this.mask.height);
    context.scale(this.scale, this.scale);
    if (edit.kind === "rectangle") context.fillRect(edit.x, edit.y, edit.width, edit.height);
    if (edit.kind === "ellipse") {
      const [a, b] = [edit.width / 2, edit.height / 2];
      context.beginPath();
      context.ellipse(edit.x + a, edit.y + b, a, b, 0, 0, 2 * Math.PI);
      context.fill();
    }
    if (edit.kind === "stroke") for (let last = 0; last < edit.points.length; last += 1) this.segment(context, edit, last);
    context.restore();
  }

  /** Draw a stroke's piece up to a point: piece by piece, so that a replay gives the same pixels. */
  segment(context, edit, last) {
    if (edit.tool === "eraser") context.globalCompositeOperation = "destination-out";
    context.lineWidth = edit.size;
    context.lineCap = "round";
    context.beginPath();
    if (last === 0) { // a line without a length is not drawn
      context.arc(...edit.points[0], edit.size / 2, 0, 2 * Math.PI);
      context.fill();
      return;
    }
    context.moveTo(...edit.points[last - 1]);
    context.lineTo(...edit.points[last]);
    context.stroke();
  }

  extend(edit, point) {
    edit.points.push(point);
    const context = this.mask.getContext("2d");
    context.save();
    context.fillStyle = context.strokeStyle = "#fff";
    context.scale(this.scale, this.scale);
    this.segment(context, edit, edit.points.length - 1);
    context.restore();
    this.changed("mask");
  }

  /** The mask with two values only: RGBA, white is missing. */
  binary() {
    const pixels = this.mask.getContext("2d").getImageData(0, 0, this.mask.width, this.mask.height);
    for (let i = 0; i < pixels.data.length; i += 4) {
      const value = pixels.data[i + 3] >= 128 ? 255 : 0;
      pixels.data[i] = pixels.data[i + 1] = pixels.data[i + 2] = value;
      pixels.data[i + 3] = 255;
    }
    return pixels;
  }

  async maskFile() {
    const canvas = new OffscreenCanvas(this.mask.width, this.mask.height);
    canvas.getContext("2d").putImageData(this.binary(), 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  }

  /** Shares: of the frame that is missing, and of what is missing that lies outside the frame. */
  shares() {
    const { data, width, height } = this.binary();
    const { left, top, side } = this.frame;
    const [l, t, r, b] = [left, top, left + side, top + side].map((edge) => Math.round(edge * this.scale));
    let inside = 0, all = 0;
    for (let y = 0, i = 0; y < height; y += 1)
      for (let x = 0; x < width; x += 1, i += 4)
        if (data[i]) { all += 1; if (x >= l && x < r && y >= t && y < b) inside += 1; }
    return { inside: inside / Math.max(1, (r - l) * (b - t)), outside: all ? 1 - inside / all : 0, any: all > 0 };
  }

  // frame

  setFrame(left, top, side) {
    side = clamp(Math.round(side), Math.min(SMALLEST, this.width, this.height), Math.min(this.width, this.height));
    this.frame = {
      left: clamp(Math.round(left), 0, this.width - side),
      top: clamp(Math.round(top), 0, this.height - side),
      side,
    };
    this.changed("frame");
  }

  zoomToFrame() {
    const { left, top, side } = this.frame;
    this.show(left + side / 2, top + side / 2, Math.min(this.wide, this.high) / (side * 1.3));
  }

  fit() {
    if (!this.image) return;
    this.show(this.width / 2, this.height / 2, Math.min(this.wide / this.width, this.high / this.height));
  }

  /** Centre a point of the photograph at so many screen pixels for one of the photograph. */
  show(x, y, zoom) {
    const whole = Math.min(this.wide / this.width, this.high / this.height);
    this.zoom = clamp(zoom, Math.min(whole, 1), Math.max(32, whole));
    this.origin = { x: this.wide / 2 - x * this.zoom, y: this.high / 2 - y * this.zoom };
    this.draw();
  }

  zoomBy(factor, x = this.wide / 2, y = this.high / 2) {
    const at = this.at(x, y);
    const whole = Math.min(this.wide / this.width, this.high / this.height);
    this.zoom = clamp(this.zoom * factor, Math.min(whole, 1), Math.max(32, whole));
    this.origin = { x: x - at.x * this.zoom, y: y - at.y * this.zoom };
    this.draw();
  }

  /** The point of the photograph under a point of the screen. */
  at(x, y) {
    return { x: (x - this.origin.x) / this.zoom, y: (y - this.origin.y) / this.zoom };
  }

  // pointers: mouse, pen, touch

  listen() {
    const { canvas } = this;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.image || event.button > 1) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event));
      if (this.pointers.size === 2) this.beginPinch();
      else if (this.pointers.size === 1) this.begin(place(event), event.button === 1 || this.spaceHeld);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.image) return;
      for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event])
        this.move(event.pointerId, place(one));
    });
    for (const kind of ["pointerup", "pointercancel"])
      canvas.addEventListener(kind, (event) => {
        this.pointers.delete(event.pointerId);
        this.drag = null;
        this.draw();
      });
    canvas.addEventListener("wheel", (event) => {
      if (!this.image) return;
      event.preventDefault();
      const { x, y } = place(event);
      this.zoomBy(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), x, y);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("keyup", (event) => {
      if (event.key !== " ") return;
      event.preventDefault();
      this.spaceHeld = false;
      if (!this.panned) this.togglePen();
      this.panned = false;
    });
    canvas.addEventListener("blur", () => { this.spaceHeld = false; this.penDown = false; this.draw(); });
    canvas.addEventListener("focus", () => this.draw());
  }

  begin(screen, pan) {
    const point = this.at(screen.x, screen.y);
    this.cursor = point;
    if (pan) {
      this.panned = this.spaceHeld; // the Space that pans does not put the pen down
      this.drag = { kind: "pan", from: screen, origin: { ...this.origin } };
    } else if (this.tool === "frame") {
      this.drag = { kind: this.corner(screen) ?? "frame", from: point, frame: { ...this.frame } };
    } else {
      this.penDown = false;
      this.edit(this.newStroke(point));
      this.drag = { kind: "stroke" };
    }
  }

  newStroke(point) {
    return { kind: "stroke", tool: this.tool, size: this.brush, points: [[point.x, point.y]] };
  }

  beginPinch() {
    if (this.drag?.kind === "stroke" && this.edits[this.done - 1].points.length < 4) this.undo(); // the first finger was not meant to paint
    const [a, b] = [...this.pointers.values()];
    this.drag = { kind: "pinch", distance: Math.hypot(a.x - b.x, a.y - b.y), zoom: this.zoom, middle: { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 } };
  }

  move(id, screen) {
    if (!this.pointers.has(id)) {
      this.cursor = this.at(screen.x, screen.y);
      this.draw();
      return;
    }
    this.pointers.set(id, screen);
    const point = this.at(screen.x, screen.y), { drag } = this;
    if (!drag) return;
    this.cursor = point;
    if (drag.kind === "pan") {
      this.origin = { x: drag.origin.x + screen.x - drag.from.x, y: drag.origin.y + screen.y - drag.from.y };
      this.draw();
    } else if (drag.kind === "pinch") {
      const [a, b] = [...this.pointers.values()];
      const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      this.origin.x += middle.x - drag.middle.x;
      this.origin.y += middle.y - drag.middle.y;
      drag.middle = middle;
      const factor = (Math.hypot(a.x - b.x, a.y - b.y) / drag.distance) * (drag.zoom / this.zoom);
      this.zoomBy(factor, middle.x, middle.y);
    } else if (drag.kind === "stroke") {
      this.extend(this.edits[this.done - 1], [point.x, point.y]);
    } else this.dragFrame(drag, point);
  }

  dragFrame(drag, point) {
    const { left, top, side } = drag.frame, dx = point.x - drag.from.x, dy = point.y - drag.from.y;
    if (drag.kind === "frame") { this.setFrame(left + dx, top + dy, side); return; }
    const [sx, sy] = { nw: [-1, -1], ne: [1, -1], sw: [-1, 1], se: [1, 1] }[drag.kind];
    const roomX = sx > 0 ? this.width - left : left + side, roomY = sy > 0 ? this.height - top : top + side;
    const larger = clamp(side + Math.max(sx * dx, sy * dy), SMALLEST, Math.min(roomX, roomY));
    this.setFrame(sx > 0 ? left : left + side - larger, sy > 0 ? top : top + side - larger, larger);
  }

  corner(screen) {
    const { left, top, side } = this.frame;
    const corners = { nw: [left, top], ne: [left + side, top], sw: [left, top + side], se: [left + side, top + side] };
    for (const [name, [x, y]] of Object.entries(corners)) {
      const at = { x: x * this.zoom + this.origin.x, y: y * this.zoom + this.origin.y };
      if (Math.hypot(at.x - screen.x, at.y - screen.y) <= HANDLE) return name;
    }
    return null;
  }

  // keyboard

  key(event) {
    if (!this.image) return;
    const { key } = event, control = event.ctrlKey || event.metaKey;
    if (control && key.toLowerCase() === "z") (event.shiftKey ? this.redo() : this.undo());
    else if (control && key.toLowerCase() === "y") this.redo();
    else if (control || event.altKey) return;
    else if (key.startsWith("Arrow")) this.arrow(key, event.shiftKey ? 4 : 1);
    else if (key === " ") { this.spaceHeld = true; }
    else if (key === "b" || key === "B") this.setTool("brush");
    else if (key === "e" || key === "E") this.setTool("eraser");
    else if (key === "f" || key === "F") this.setTool("frame");
    else if (key === "[" || key === "]") this.resizeTool(key === "]" ? 1 : -1);
    else if (key === "+" || key === "=") this.zoomBy(1.25);
    else if (key === "-") this.zoomBy(0.8);
    else return;
    event.preventDefault();
  }

  arrow(key, times) {
    const step = Math.max(1, Math.round(this.frame.side / 50)) * times;
    const dx = { ArrowLeft: -step, ArrowRight: step }[key] ?? 0, dy = { ArrowUp: -step, ArrowDown: step }[key] ?? 0;
    if (this.tool === "frame") {
      this.setFrame(this.frame.left + dx, this.frame.top + dy, this.frame.side);
      return;
    }
    this.cursor = { x: clamp(this.cursor.x + dx, 0, this.width), y: clamp(this.cursor.y + dy, 0, this.height) };
    if (this.penDown) this.extend(this.edits[this.done - 1], [this.cursor.x, this.cursor.y]);
    this.changed("cursor");
  }

  togglePen() {
    if (this.tool === "frame") return;
    this.penDown = !this.penDown;
    if (this.penDown) this.edit(this.newStroke(this.cursor));
    this.changed("cursor");
  }

  setTool(tool) {
    this.tool = tool;
    this.penDown = false;
    this.changed("tool");
  }

  resizeTool(direction) {
    if (this.tool === "frame") {
      const { left, top, side } = this.frame, change = direction * Math.max(1, Math.round(side / 50));
      this.setFrame(left - change / 2, top - change / 2, side + change);
    } else this.setBrush(this.brush + direction * Math.max(1, Math.round(this.brush / 10)));
  }

  setBrush(size) {
    this.brush = clamp(size, 2, this.frame.side / 2);
    this.penDown = false; // a stroke has one size
    this.changed("brush");
  }

  // drawing

  changed(what) {
    this.draw();
    this.onChange(what);
  }

  resize() {
    const ratio = window.devicePixelRatio || 1, old = [this.wide, this.high];
    this.wide = this.canvas.clientWidth;
    this.high = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.wide * ratio);
    this.canvas.height = Math.round(this.high * ratio);
    this.ratio = ratio;
    if (this.image && old[0] && this.origin) { // keep the middle
      this.origin.x += (this.wide - old[0]) / 2;
      this.origin.y += (this.high - old[1]) / 2;
      this.draw();
    } else this.fit();
  }

  draw() {
    if (!this.image || this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => { this.pending = false; this.paint(); });
  }

  paint() {
    const { context, ratio, origin, zoom } = this;
    if (!origin || !this.wide) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.wide, this.high);
    context.imageSmoothingEnabled = zoom < 4;
    const place = [origin.x, origin.y, this.width * zoom, this.height * zoom];
    context.drawImage(this.image, ...place);
    const { left, top, side } = this.frame;
    const frame = [left * zoom + origin.x, top * zoom + origin.y, side * zoom, side * zoom];
    this.paintMask(place, frame);
    context.fillStyle = "rgba(0,0,0,.35)"; // what lies outside the frame
    context.beginPath();
    context.rect(...place);
    context.rect(...frame);
    context.fill("evenodd");
    this.paintFrame(frame);
    this.paintCursor();
  }

  paintMask(place, frame) {
    const layer = this.layer ??= new OffscreenCanvas(1, 1);
    for (const [pattern, inside] of [[this.hatches.out, false], [this.hatches.hole, true]]) {
      layer.width = this.wide;
      layer.height = this.high;
      const context = layer.getContext("2d");
      context.imageSmoothingEnabled = false;
      if (inside) { context.beginPath(); context.rect(...frame); context.clip(); }
      context.drawImage(this.mask, ...place);
      context.globalCompositeOperation = "source-in";
      context.fillStyle = context.createPattern(pattern, "repeat");
      context.fillRect(0, 0, layer.width, layer.height);
      if (!inside) context.clearRect(...frame);
      this.context.drawImage(layer, 0, 0);
    }
  }

  paintFrame([x, y, side]) {
    const { context } = this;
    for (const [colour, width] of [["#000", 4], ["#fff", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x, y, side, side);
    }
    if (this.tool !== "frame") return;
    for (const [cx, cy] of [[x, y], [x + side, y], [x, y + side], [x + side, y + side]]) {
      context.fillStyle = "#fff";
      context.strokeStyle = "#000";
      context.beginPath();
      context.arc(cx, cy, 8, 0, 2 * Math.PI);
      context.fill();
      context.stroke();
    }
  }

  paintCursor() {
    const { context, zoom, origin } = this;
    if (this.tool === "frame") return;
    const x = this.cursor.x * zoom + origin.x, y = this.cursor.y * zoom + origin.y;
    for (const [colour, dash] of [["#000", []], [this.penDown ? "#f33" : "#fff", [4, 4]]]) {
      context.strokeStyle = colour;
      context.lineWidth = 1.5;
      context.setLineDash(dash);
      context.beginPath();
      context.arc(x, y, Math.max(2, (this.brush / 2) * zoom), 0, 2 * Math.PI);
      context.moveTo(x - 4, y); context.lineTo(x + 4, y);
      context.moveTo(x, y - 4); context.lineTo(x, y + 4);
      context.stroke();
    }
    context.setLineDash([]);
  }
}

/** A tile of diagonal lines over a tint: the hole is told by more than its colour. */
function hatch(line, tint) {
  const tile = new OffscreenCanvas(HATCH, HATCH), context = tile.getContext("2d");
  context.fillStyle = tint;
  context.fillRect(0, 0, HATCH, HATCH);
  context.strokeStyle = line;
  context.lineWidth = 1.5;
  context.beginPath();
  for (const shift of [-HATCH, 0, HATCH]) { context.moveTo(shift, HATCH); context.lineTo(shift + HATCH, 0); }
  context.stroke();
  return tile;
}

/** A black and white picture as a bitmap in which only what is white is opaque. */
export async function readMask(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
  context.putImageData(pixels, 0, 0);
  return canvas;
}
