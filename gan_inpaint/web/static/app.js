// The page: photographs, settings, one search at a time.

import * as api from "./api.js";
import { Painter, readMask } from "./painter.js";
import { Results } from "./results.js";

const $ = (id) => document.getElementById(id);
const PHASES = { prior: "Loading the prior", guide: "Estimating the hole", starts: "Choosing starts", search: "Searching" };
const MISSING = { nothing: "Paint over what is missing first.", outside: "What is painted lies outside the frame.", everything: "Everything in the frame is painted: leave something to go by." };

const painter = new Painter($("canvas"), changed);
const results = new Results();
const photographs = new Map(); // id -> { info, file, image, kept, job, told, asked }
let current = null; // the photograph that is open
let priors = [];
let running = null; // { job, photograph }
let queue = [], skipped = []; // of "fill all"
let sharesDue = 0, shares = { inside: 0, outside: 0, any: false };

// opening

async function open(files) {
  await opened;
  problem(null);
  for (const file of files) {
    say(`Reading ${file.name}, and looking for faces`);
    document.body.classList.add("reading");
    try {
      const info = await api.openPhotograph(file, priorId());
      await adopt(info, file);
      select(info.id);
    } catch (error) {
      problem(`${error.message}`);
    } finally {
      document.body.classList.remove("reading");
    }
  }
}

async function adopt(info, file, kept, job) {
  for (const edit of kept?.edits ?? []) if (edit.kind === "file") edit.bitmap = await readMask(edit.source);
  const image = await picture(`/api/photographs/${info.id}/preview`);
  photographs.set(info.id, { info, file, image, kept, job, told: null, asked: null });
  while (photographs.size > 8) {
    const [oldest, { info: closed }] = photographs.entries().next().value;
    photographs.delete(oldest);
    problem(`${closed.name} was closed: at most eight photographs stay open.`);
  }
}

async function close() {
  const gone = current;
  if (!gone || running?.photograph === gone) return;
  photographs.delete(gone.info.id);
  current = null;
  const forgotten = api.forget(gone.info.id).catch(lost);
  const next = [...photographs.keys()].at(-1);
  if (next) { select(next); return; } // at once: a second click closes the next one
  await forgotten;
  $("studio").hidden = true;
  $("drop").classList.remove("small");
  sessionStorage.removeItem("photographs");
  strip();
  say("");
}

function picture(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => createImageBitmap(image).then(resolve, reject);
    image.onerror = () => reject(new Error("the photograph cannot be shown"));
    image.src = source;
  });
}

function select(id) {
  if (current) keep();
  current = photographs.get(id);
  const { info, image, kept } = current;
  $("studio").hidden = false;
  $("drop").classList.add("small");
  painter.load(image, info.width, info.height, square(info.proposals[0]), kept);
  painter.setBrush(Math.max(2, painter.frame.side / 8));
  $("frame-note").textContent = info.fallback
    ? `The frame is the centred square, because ${info.fallback}. Move it so that it holds what the prior knows, as in its training images.`
    : "The frame is where a face was found. Move it if it is not right.";
  const frames = info.proposals.map((box, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${number + 1}`;
    button.setAttribute("aria-label", `Face ${number + 1}`);
    button.addEventListener("click", () => { const { left, top, side } = square(box); painter.setFrame(left, top, side); painter.zoomToFrame(); });
    return button;
  });
  $("proposals").replaceChildren(...(info.proposals.length > 1 ? ["Faces found:", ...frames] : []));
  if (!info.fallback) painter.zoomToFrame();
  if (current.told) results.show(current.job, current.told, blend()); else results.hide();
  strip();
  update();
  say(`${info.name}, ${info.width} by ${info.height} pixels`);
}

const square = ([left, top, right, bottom]) => ({ left, top, side: Math.min(right - left, bottom - top) });

function strip() {
  $("strip").hidden = !photographs.size;
  const focused = document.activeElement.closest?.("#strip li") ? current : null;
  const items = [...photographs.values()].map((one) => {
    const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img");
    image.src = `/api/photographs/${one.info.id}/preview`;
    image.alt = button.title = one.info.name + (one.told ? ", filled" : "");
    button.type = "button";
    button.setAttribute("aria-current", one === current);
    button.classList.toggle("filled", Boolean(one.told));
    button.append(image);
    button.addEventListener("click", () => select(one.info.id));
    item.append(button);
    return item;
  });
  $("strip").querySelector("ul").replaceChildren(...items);
  if (focused) $("strip").querySelector("[aria-current=true]")?.focus();
  $("strip").querySelector("[aria-current=true]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  const filled = [...photographs.values()].filter((one) => one.told);
  $("fill-all").hidden = photographs.size < 2;
  $("zip-all").hidden = filled.length < 2;
  $("zip-all").href = `/api/bundle?jobs=${filled.map((one) => one.job).join(",")}&blend=${blend()}`;
}

// settings

const priorId = () => $("prior").value || (priors.find((one) => one.selected) ?? priors[0])?.id;
const blend = () => ($("blend").checked ? "poisson" : "none");

function asked() {
  const { left, top, side } = painter.frame;
  return {
    photograph: current.info.id,
    prior: priorId(),
    box: [left, top, left + side, top + side],
    keep: Number($("keep").value),
    quality: document.querySelector("input[name=quality]:checked").value,
    radius: Number($("radius").value),
    guide_weight: Number($("guide").value),
    seed: Number($("seed").value),
    lam: Number($("lam").value),
    condition: condition(),
  };
}

/** What a result depends on; the blend is only a view of it. */
const fingerprint = () => JSON.stringify([asked(), painter.edits.slice(0, painter.done).map(brief)]);
const brief = (edit) => (edit.kind === "file" ? [edit.kind, edit.name] : edit);

function condition() {
  const prior = priors.find((one) => one.id === priorId());
  if (!prior?.condition) return null;
  if (prior.condition.kind === "attributes") {
    const signs = [...$("condition").querySelectorAll("select")].map((one) => [one.name, Number(one.value)]);
    const known = signs.filter(([, sign]) => sign);
    return known.length ? Object.fromEntries(known) : null;
  }
  return $("condition").querySelector("input, select").value.trim() || null;
}

function showCondition() {
  const prior = priors.find((one) => one.id === priorId()), box = $("condition");
  box.replaceChildren();
  box.hidden = !prior?.condition;
  $("prior-note").textContent = prior ? `${prior.size}x${prior.size} pixels, ${prior.channels === "1" ? "grey" : "colour"}. Knows ${prior.knows}. ${prior.license ?? ""}` : "";
  $("radius").disabled = !prior?.ball;
  if (!prior?.condition) return;
  const { kind, choices } = prior.condition;
  const choice = (name, text, options) => {
    const label = document.createElement("label"), select = document.createElement("select");
    select.name = name;
    for (const [value, shown] of options) select.append(new Option(shown, value));
    select.addEventListener("change", update);
    label.append(text, " ", select);
    return label;
  };
  if (kind === "attributes") box.append(...choices.map((name) => choice(name, name.replaceAll("_", " "), [[0, "unknown"], [1, "yes"], [-1, "no"]])));
  else if (kind === "label") box.append(choice("label", "What it shows", [["", "unknown"], ["all", "try all"], ...choices.map((one) => [one, one])]));
  else {
    const label = document.createElement("label"), input = document.createElement("input");
    input.type = "text";
    input.maxLength = 400;
    input.placeholder = "a red seven on blue";
    input.addEventListener("input", update);
    label.append("What it shows, in words ", input);
    box.append(label);
  }
}

// state

function changed(what) {
  if (what === "tool" || what === "brush") tools();
  if (what === "mask" || what === "frame") {
    numbers();
    clearTimeout(sharesDue);
    sharesDue = setTimeout(update, 60);
  }
}

function tools() {
  for (const button of document.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", button.dataset.tool === painter.tool);
  $("brush").max = Math.max(2, Math.round(painter.frame.side / 2));
  $("brush").value = painter.brush;
  painter.draw();
}

function numbers() {
  for (const id of ["left", "top", "side"]) {
    const field = $(`box-${id}`);
    if (field !== document.activeElement) field.value = painter.frame[id]; // not what is being typed
  }
}

function update() {
  if (!current) return;
  shares = painter.shares();
  const why = !shares.any ? MISSING.nothing : shares.inside === 0 ? MISSING.outside : shares.inside >= 1 ? MISSING.everything : "";
  $("why").textContent = running ? "" : why;
  $("fill").disabled = Boolean(why) || Boolean(running);
  $("outside").textContent = shares.outside > 0.005 && shares.inside > 0 ? `${Math.round(shares.outside * 100)} % of what is painted lies outside the frame and will not be filled.` : "";
  $("undo").disabled = !painter.done;
  $("redo").disabled = painter.done >= painter.edits.length;
  if (current.told) results.stale(current.asked !== fingerprint());
  numbers();
  keep();
}

function keep() {
  if (!current) return;
  current.kept = painter.state();
  const saved = [...photographs.values()].map(({ info, kept, job, asked: told }) => ({
    id: info.id, job, asked: told,
    kept: kept && { ...kept, edits: kept.edits.map(({ bitmap, ...edit }) => edit) }, // bitmaps are made again
  }));
  try { sessionStorage.setItem("photographs", JSON.stringify({ saved, current: current.info.id, prior: priorId() })); } catch { /* full */ }
}

// filling

async function fill() {
  if (running || !current) return;
  problem(null);
  const one = current, request = asked(), mark = fingerprint();
  running = { photograph: one, job: null };
  $("stop").hidden = false;
  update();
  try {
    await api.sendMask(one.info.id, await painter.maskFile());
    const { id } = await api.startJob(request);
    one.job = id;
    one.asked = mark;
    one.told = null;
    watch(one);
  } catch (error) {
    ended(one);
    problem(error.message);
    if (error.status === 0) lost();
  }
}

/** Show that a job runs; after a reload, only its events say so. */
function begun(one) {
  if (running?.job === one.job) return;
  running = { photograph: one, job: one.job };
  $("stop").hidden = false;
  $("running").hidden = false;
  $("progress").removeAttribute("value");
  if (document.activeElement === $("fill")) $("stop").focus(); // Fill is about to be disabled
  update();
}

function watch(one) {
  let quarter = -1;
  api.follow(one.job, {
    phase: ({ phase }) => { begun(one); $("phase").textContent = PHASES[phase]; if (phase !== "search") say(PHASES[phase]); },
    progress: ({ step, steps, image }) => {
      begun(one);
      $("progress").value = (100 * step) / steps;
      $("phase").textContent = `Step ${step} of ${steps}`;
      $("live").src = image;
      const now = Math.floor((4 * step) / steps);
      if (now > quarter && now < 4) { quarter = now; say(`${25 * now} % done`); }
    },
    done: (told) => {
      one.told = told;
      ended(one);
      if (one === current) {
        results.show(one.job, told, blend());
        update();
        if (!queue.length) $("results-title").focus({ preventScroll: false });
      }
      say(`100 % done: ${told.completions} completions`);
      next();
    },
    failed: ({ error }) => { ended(one); queue = []; problem(error); },
    cancelled: () => { ended(one); queue = []; say("Stopped."); },
    gone: () => { one.job = null; ended(one); },
    lost: () => { ended(one); lost(); },
  });
}

function ended(one) {
  if (running && running.photograph !== one) return;
  running = null;
  $("stop").hidden = true;
  $("running").hidden = true;
  $("live").removeAttribute("src");
  strip();
  update();
}

function fillAll() {
  if (running) { problem("A search is running: stop it, or wait for its end."); return; }
  skipped = [];
  keep();
  queue = [...photographs.values()].filter((one) => one.kept?.done);
  if (!queue.length) { problem("No photograph has anything painted on it."); return; }
  next();
}

function next() {
  const one = queue.shift();
  if (!one) {
    if (skipped.length) problem(`Not filled: ${skipped.join(" ")}`);
    return;
  }
  select(one.info.id);
  if ($("fill").disabled) { skipped.push(`${one.info.name}: ${$("why").textContent}`); next(); } else fill();
}

// what the program says, and when it does not

function say(sentence) { $("status").textContent = sentence; }

function problem(sentence) {
  $("problem").hidden = !sentence;
  $("problem").textContent = sentence ?? "";
  if (!sentence) return;
  say("");
  $("problem").scrollIntoView({ block: "nearest" });
}

function lost() {
  $("offline").hidden = false;
  $("port").textContent = `port=${location.port}`;
  $("offline").scrollIntoView({ block: "nearest" });
}

async function reconnect() {
  const link = $("link").value.trim();
  if (link && !api.adoptLink(link)) { problem(`That is not the link of a program on port ${location.port}.`); return; }
  problem(null);
  try {
    await loadPriors();
    const there = new Set((await api.listPhotographs()).map((info) => info.id));
    for (const [id, one] of [...photographs]) {
      if (there.has(id) || !one.file) continue;
      const info = await api.openPhotograph(one.file, priorId());
      photographs.delete(id);
      if (one === current) one.kept = painter.state();
      Object.assign(one, { info, job: null, told: null });
      photographs.set(info.id, one);
    }
    $("offline").hidden = true;
    if (current) select(current.info.id);
  } catch (error) {
    problem(error.message);
  }
}

async function loadPriors() {
  priors = await api.listPriors();
  const before = $("prior").value;
  $("prior").replaceChildren(...priors.map((one) => new Option(one.name, one.id, false, one.selected)));
  if (priors.some((one) => one.id === before)) $("prior").value = before;
  showCondition();
}

async function begin() {
  say("Starting");
  try {
    await loadPriors();
    let before = {};
    try { before = JSON.parse(sessionStorage.getItem("photographs") ?? "{}"); } catch { /* damaged */ }
    if (priors.some((one) => one.id === before.prior)) { $("prior").value = before.prior; showCondition(); }
    const saved = new Map((before.saved ?? []).map((one) => [one.id, one]));
    for (const info of await api.listPhotographs()) {
      const own = saved.get(info.id);
      await adopt(info, null, own?.kept, own?.job);
      photographs.get(info.id).asked = own?.asked ?? null;
    }
    const last = photographs.has(before.current) ? before.current : [...photographs.keys()].at(-1);
    if (last) select(last);
    for (const one of photographs.values()) if (one.job) watch(one); // its events come again
    if (!photographs.size) say("");
  } catch (error) {
    if (error.status === 0) lost(); else problem(error.message);
  }
}

// wiring

$("file").addEventListener("change", (event) => { open([...event.target.files]); event.target.value = ""; });
$("example").addEventListener("click", async () => {
  await opened;
  problem(null);
  say("Opening the example, and looking for faces");
  try {
    const info = await api.openExample(priorId());
    await adopt(info, null);
    select(info.id);
  } catch (error) { problem(error.message); }
});
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => {
  event.preventDefault();
  if (kind === "drop") open([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) open([...event.clipboardData.files]); });
for (const button of document.querySelectorAll("[data-tool]")) button.addEventListener("click", () => painter.setTool(button.dataset.tool));
$("brush").addEventListener("input", () => painter.setBrush(Number($("brush").value)));
$("undo").addEventListener("click", () => painter.undo());
$("redo").addEventListener("click", () => painter.redo());
$("clear").addEventListener("click", () => painter.edit({ kind: "clear" }));
$("invert").addEventListener("click", () => painter.edit({ kind: "invert" }));
$("zoom-in").addEventListener("click", () => painter.zoomBy(1.5));
$("zoom-out").addEventListener("click", () => painter.zoomBy(1 / 1.5));
$("zoom-frame").addEventListener("click", () => painter.zoomToFrame());
for (const id of ["left", "top", "side"]) $(`box-${id}`).addEventListener("change", () => {
  painter.setFrame(Number($("box-left").value), Number($("box-top").value), Number($("box-side").value));
  $(`box-${id}`).value = painter.frame[id];
});
for (const kind of ["rectangle", "ellipse"]) $(`add-${kind}`).addEventListener("click", () => {
  const [x, y, width, height] = ["left", "top", "width", "height"].map((id) => Number($(`shape-${id}`).value));
  painter.edit({ kind, x, y, width: Math.max(1, width), height: Math.max(1, height) });
});
$("mask-file").addEventListener("change", async (event) => {
  problem(null);
  const [file] = event.target.files;
  if (!file || !current) return;
  try {
    await api.sendMask(current.info.id, file); // the same rules as mask=file
    const source = await api.maskAsText(current.info.id);
    painter.edit({ kind: "file", name: `${file.name} ${file.lastModified}`, source, bitmap: await readMask(source) });
  } catch (error) { problem(error.message); }
  event.target.value = "";
});
for (const id of ["keep", "radius", "guide", "seed", "lam"]) $(id).addEventListener("input", update);
for (const radio of document.querySelectorAll("input[name=quality]")) radio.addEventListener("change", update);
$("prior").addEventListener("change", () => { showCondition(); update(); });
$("blend").addEventListener("change", () => { results.setBlend(blend()); strip(); });
$("fill").addEventListener("click", () => { queue = []; skipped = []; fill(); });
$("fill-all").addEventListener("click", fillAll);
$("stop").addEventListener("click", () => { if (running?.job) api.stopJob(running.job).catch(lost); });
$("reconnect").addEventListener("click", reconnect);
$("close").addEventListener("click", close);
// a photograph that is opened waits for those that were open before
const opened = begin();
