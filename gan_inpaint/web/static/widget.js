// The painter in a notebook cell: an anywidget whose model carries the picture, the frame and the mask.

function render({ model, el }) {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const bar = make("div", { className: "gan-inpaint-bar" });
  const stage = make("div", { className: "gan-inpaint-stage" });
  const canvas = make("canvas", { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", "Photograph: paint over what is missing");
  stage.append(canvas);
  el.append(bar, stage);
  let due = 0;
  const painter = new Painter(canvas, (what) => {
    if (what !== "mask" && what !== "frame") return;
    clearTimeout(due);
    due = setTimeout(save, 100);
  });

  async function save() {
    const { left, top, side } = painter.frame;
    const file = await (await painter.maskFile()).arrayBuffer();
    model.set("box", [left, top, left + side, top + side]);
    model.set("painted", new DataView(file));
    model.save_changes();
  }

  const acts = {
    Frame: () => painter.setTool("frame"),
    Brush: () => painter.setTool("brush"),
    Eraser: () => painter.setTool("eraser"),
    Smaller: () => painter.setBrush(painter.brush / 1.3),
    Larger: () => painter.setBrush(painter.brush * 1.3),
    Undo: () => painter.undo(),
    Redo: () => painter.redo(),
    Clear: () => painter.edit({ kind: "clear" }),
  };
  for (const [name, act] of Object.entries(acts)) {
    const button = make("button", { type: "button", textContent: name });
    button.addEventListener("click", act);
    bar.append(button);
  }
  const [left, top, right, bottom] = model.get("box");
  const frame = { left, top, side: Math.min(right - left, bottom - top) };
  createImageBitmap(new Blob([model.get("picture")])).then((image) => {
    painter.load(image, model.get("width"), model.get("height"), frame);
    painter.setBrush(frame.side / 8);
    canvas.dataset.ready = "yes";
  });
}

export default { render };
