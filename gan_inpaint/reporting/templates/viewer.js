"use strict";
// The same image across the jobs. Every job's pictures lie in one sprite, images side by side.

const sprites = new Map();
function sprite(uri) {
  if (!sprites.has(uri)) {
    const picture = new Image();
    picture.src = uri;
    sprites.set(uri, picture.decode().then(() => picture));
  }
  return sprites.get(uri);
}

function pixels(picture, column, row) {
  const { width, height } = data;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, column * width, row * height, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height).data;
}

const heat = (error) => [Math.min(255, 3 * error), Math.min(255, Math.max(0, 3 * error - 255)), 0];
const legends = {
  images: "The result: the known pixels, and the best completion in the hole.",
  slider: "The slider uncovers the result; missing pixels are red.",
  generated: "G(ẑ) everywhere: what the search fitted to the known pixels.",
  known: "Known pixels: |G(ẑ) − y|, black is none, red a third of the range, yellow two thirds.",
  hole: "Missing pixels: |result − truth|, black is none, red a third of the range, yellow two thirds.",
  spread: "Where the restarts disagree: their standard deviation, black is none, white half of the range.",
};

// One canvas: a job's picture under the chosen view; for the job null the damaged image or the true one.
async function paint(canvas, job, own, column, view, share) {
  const { width, height } = data;
  const target = await sprite(data.tasks[own].sprite);
  const truth = pixels(target, column, 0), known = pixels(target, column, 1);
  const mine = job && (await sprite(job.sprite));
  const row = (name) => (job.rows.includes(name) ? pixels(mine, column, job.rows.indexOf(name)) : null);
  const result = job && row("images");
  const plain = job && !["slider", "known", "hole"].includes(view) ? row(view) : null;
  const generated = job && view === "known" ? row("generated") : null;
  const shown = new ImageData(width, height);
  const edge = Math.round(share * width);
  const grey = [60, 60, 70];
  for (let i = 0; i < width * height; i++) {
    const seen = known[4 * i] > 127;
    const rgb = (from) => [from[4 * i], from[4 * i + 1], from[4 * i + 2]];
    const apart = (one, other) => (Math.abs(one[4 * i] - other[4 * i]) + Math.abs(one[4 * i + 1] - other[4 * i + 1]) + Math.abs(one[4 * i + 2] - other[4 * i + 2])) / 3;
    let colour = grey;
    if (!job) colour = view === "true" || seen ? rgb(truth) : data.missing;
    else if (view === "slider") colour = i % width < edge ? rgb(result) : seen ? rgb(truth) : data.missing;
    else if (view === "known" && seen) colour = heat(apart(generated, truth));
    else if (view === "hole" && !seen) colour = heat(apart(result, truth));
    else if (plain) colour = rgb(plain);
    shown.data.set([...colour, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

const viewer = { figures: [], seen: new Set() };
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    viewer.seen[isIntersecting ? "add" : "delete"](target);
    if (isIntersecting) refresh();
  }
}, { rootMargin: "200px" });

function refresh() {
  for (const one of viewer.figures) {
    if (!one.stale || !viewer.seen.has(one.canvas)) continue;
    one.stale = false;
    const view = one.job ? $("view").value : one.view;
    paint(one.canvas, one.job, chosenTask(), Number($("image").value), view, $("slider").value / 100);
  }
}

function scores(job, number) {
  const found = job.restarts[number] ?? [];
  if (found.length < 2) return [];
  const rows = found.map(([objective, psnr]) => element("tr", {}, element("td", {}, brief(objective)), element("td", {}, psnr === null ? "" : psnr.toFixed(1))));
  const head = element("tr", {}, element("th", { scope: "col" }, "objective"), element("th", { scope: "col" }, "dB"));
  return [element("details", {}, element("summary", {}, `${found.length} restarts`), element("table", {}, head, ...rows))];
}

function caption(one) {
  const image = task().images[$("image").value];
  const psnr = one.job?.shown[image.number];
  const told = one.job ? `${one.job.label}${Number.isFinite(psnr) ? `, ${psnr.toFixed(1)} dB` : ""}` : one.view;
  one.canvas.setAttribute("aria-label", `Image ${image.number}, ${told}`);
  const page = one.job && rowOf.get(one.job.job).dataset.page;
  const link = page ? element("a", { href: page }, told) : told;
  one.caption.replaceChildren(link, ...(one.job ? scores(one.job, image.number) : []));
}

function change(captions) {
  $("legend").textContent = legends[$("view").value] ?? "Another completion of the same hole, the next in the order of their objectives.";
  $("position").hidden = $("view").value !== "slider";
  for (const one of viewer.figures) {
    if (captions) caption(one);
    one.stale = true;
  }
  refresh();
}

function viewerOf(jobs) {
  const pictured = jobs.filter((job) => job.sprite);
  $("viewer").closest("section").hidden = !pictured.length;
  if (!pictured.length) return;
  const before = $("image").value, { images, truth } = task();
  $("image").replaceChildren(...images.map((one, i) => element("option", { value: i }, `${one.number}: ${one.name}${one.chosen ? ` — ${one.chosen}` : ""}`)));
  $("image").value = images[before] ? before : 0;
  const rows = new Set(pictured.flatMap((job) => job.rows));
  const views = [["images", "results"], ["slider", "before and after"], ["generated", "generated images"], ["known", "error on known pixels"]];
  if (truth) views.push(["hole", "error in the hole"]);
  for (let rank = 1; rows.has(`alternative ${rank}`); rank++) views.push([`alternative ${rank}`, `completion ${rank + 1}`]);
  if (rows.has("spread")) views.push(["spread", "where the restarts disagree"]);
  const view = $("view").value;
  $("view").replaceChildren(...views.map(([value, text]) => element("option", { value }, text)));
  $("view").value = views.some(([value]) => value === view) ? view : "images";
  viewer.figures.forEach((one) => watch.unobserve(one.canvas));
  viewer.seen.clear();
  const targets = truth ? ["damaged", "true"] : ["damaged"];
  viewer.figures = [...targets.map((view) => ({ job: null, view })), ...pictured.map((job) => ({ job }))].map((one) => {
    const canvas = element("canvas", { width: data.width, height: data.height, role: "img" });
    const text = element("figcaption");
    const figure = element("figure", one.job ? { "data-job": one.job.job } : { class: "target" }, canvas, text);
    return { ...one, canvas, caption: text, figure, stale: true };
  });
  $("viewer").replaceChildren(...viewer.figures.map((one) => one.figure));
  viewer.figures.forEach((one) => watch.observe(one.canvas));
  change(true);
  light([]);
  // those that are not in view too, for print; of many that would take long
  if (viewer.figures.length <= 60) setTimeout(() => viewer.figures.forEach((one) => viewer.seen.add(one.canvas)) ?? refresh());
}

const move = (by) => {
  $("image").value = (Number($("image").value) + by + task().images.length) % task().images.length;
  change(true);
};
$("previous").addEventListener("click", () => move(-1));
$("next").addEventListener("click", () => move(1));
$("image").addEventListener("change", () => change(true));
$("view").addEventListener("change", () => change(false));
$("slider").addEventListener("input", () => change(false));
