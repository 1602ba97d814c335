"use strict";
const payload = JSON.parse(document.getElementById("payload").textContent);
const $ = (id) => document.getElementById(id);
const element = (name, attributes = {}, text = "") => {
  const made = name in svgNames ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};
const svgNames = Object.fromEntries(["svg", "g", "line", "circle", "path", "text", "title"].map((n) => [n, 1]));
const short = (value) => {
  if (typeof value !== "number") return value;
  const small = value !== 0 && Math.abs(value) < 1e-3;
  return small ? value.toExponential(2).replace(/\.?0+e/, "e") : Number(value.toPrecision(4)).toString();
};

// ---- the table of jobs: sort and filter

function sortable(table) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      const key = (row) => row.cells[column].textContent;
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...body.rows].sort((one, other) => {
        const a = key(one), b = key(other);
        if (a === "" || b === "") return (a === "") - (b === ""); // empty cells come last
        const numbers = a - b;
        return sign * (Number.isNaN(numbers) ? a.localeCompare(b, undefined, { numeric: true }) : numbers);
      });
      body.append(...rows);
    });
  });
}

function filterable(table, input, said) {
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of table.tBodies[0].rows) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      count += !row.hidden;
    }
    said.textContent = `${count} of ${table.tBodies[0].rows.length} rows.`;
  });
}

// ---- charts

const WIDTH = 420, HEIGHT = 240, LEFT = 66, RIGHT = 12, TOP = 12, BOTTOM = 40;

function scale(values, from, to) {
  if (values.some((value) => typeof value !== "number")) {
    const names = [...new Set(values)];
    const step = (to - from) / names.length;
    return { at: (v) => from + (names.indexOf(v) + 0.5) * step, ticks: names };
  }
  let low = Math.min(...values), high = Math.max(...values);
  const log = low > 0 && high / low >= 20;
  if (low === high) { low -= Math.abs(low) * 0.05 + 1e-9; high += Math.abs(high) * 0.05 + 1e-9; }
  const f = log ? Math.log10 : (v) => v;
  const margin = (f(high) - f(low)) * 0.06;
  const [a, b] = [f(low) - margin, f(high) + margin];
  const different = [...new Set(values)].sort((x, y) => x - y);
  let ticks = different;
  if (different.length > 6) ticks = [0, 1, 2, 3, 4].map((i) => { const t = f(low) + ((f(high) - f(low)) * i) / 4; return log ? 10 ** t : t; });
  return { at: (v) => from + ((f(v) - a) / (b - a)) * (to - from), ticks };
}

function frame(name, xs, ys, xTitle, yTitle) {
  const svg = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": name });
  const x = scale(xs, LEFT, WIDTH - RIGHT), y = scale(ys, HEIGHT - BOTTOM, TOP);
  for (const tick of x.ticks) {
    svg.append(element("line", { class: "axis", x1: x.at(tick), x2: x.at(tick), y1: TOP, y2: HEIGHT - BOTTOM }));
    svg.append(element("text", { x: x.at(tick), y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, String(short(tick)).slice(0, 14)));
  }
  const few = [0, 1, 2, 3].map((i) => Math.min(...ys) + ((Math.max(...ys) - Math.min(...ys)) * i) / 3);
  for (const tick of new Set(few)) {
    svg.append(element("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(tick), y2: y.at(tick) }));
    svg.append(element("text", { x: LEFT - 5, y: y.at(tick) + 4, "text-anchor": "end" }, short(Number(tick.toPrecision(3)))));
  }
  svg.append(element("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, xTitle));
  svg.append(element("text", { x: 12, y: HEIGHT / 2 - 10, "text-anchor": "middle", transform: `rotate(-90 12 ${HEIGHT / 2 - 10})` }, yTitle));
  return { svg, x, y };
}

function light(job) {
  document.querySelectorAll("[data-job]").forEach((e) => e.classList.toggle("lit", e.dataset.job === String(job)));
}

function settingCharts(box) {
  const jobs = payload.jobs.filter((job) => job.psnr !== null);
  for (const key of payload.keys) {
    const there = jobs.filter((job) => key in job.values);
    if (!there.length) continue;
    const ends = there.flatMap((job) => [job.psnr - (job.error || 0), job.psnr + (job.error || 0)]);
    const { svg, x, y } = frame(`hole PSNR against ${key}`, there.map((j) => j.values[key]), ends, key, "hole PSNR, dB");
    for (const job of there) {
      const at = { x: x.at(job.values[key]), y: y.at(job.psnr) };
      svg.append(element("line", { class: "whisker", x1: at.x, x2: at.x, y1: y.at(job.psnr - (job.error || 0)), y2: y.at(job.psnr + (job.error || 0)) }));
      const words = `${job.label}: ${job.psnr.toFixed(2)} dB`;
      const dot = element("circle", { class: "dot", cx: at.x, cy: at.y, r: 5, tabindex: 0, role: "img", "aria-label": words, "data-job": job.job });
      dot.append(element("title", {}, words));
      for (const event of ["pointerenter", "focus"]) dot.addEventListener(event, () => light(job.job));
      svg.append(dot);
    }
    box.append(svg);
  }
}

const COLOURS = ["#0b7ad1", "#d1610b", "#2e9e4f", "#b5329c", "#8a6d00", "#5b5bd6", "#c0392b", "#128f8f"];

function curves(box, said, series, xTitle, yTitle) {
  const drawn = series.filter((s) => s.points.length);
  if (!drawn.length) return;
  const all = drawn.flatMap((s) => s.points);
  const { svg, x, y } = frame(`${yTitle} against ${xTitle}`, [Math.min(...all.map((p) => p[0])), Math.max(...all.map((p) => p[0]))], all.map((p) => p[1]), xTitle, yTitle);
  const colour = (s, i) => COLOURS[(s.colour ?? i) % COLOURS.length];
  const paths = drawn.map((s, i) => {
    const d = s.points.map((p, n) => `${n ? "L" : "M"}${x.at(p[0]).toFixed(1)} ${y.at(p[1]).toFixed(1)}`).join("");
    const path = element("path", { class: s.raw ? "curve raw" : "curve", d, stroke: colour(s, i) });
    if (s.job !== undefined) path.dataset.job = s.job;
    if (s.points.length === 1) svg.append(element("circle", { cx: x.at(s.points[0][0]), cy: y.at(s.points[0][1]), r: 4, fill: colour(s, i) }));
    svg.append(path);
    return path;
  });
  svg.addEventListener("pointermove", (event) => {
    const area = svg.getBoundingClientRect();
    const at = [((event.clientX - area.left) / area.width) * WIDTH, ((event.clientY - area.top) / area.height) * HEIGHT];
    let best = null, distance = Infinity;
    drawn.forEach((s, i) => {
      if (s.raw) return;
      for (const p of s.points) {
        const d = Math.hypot(x.at(p[0]) - at[0], y.at(p[1]) - at[1]);
        if (d < distance) { distance = d; best = [i, p]; }
      }
    });
    if (!best) return;
    paths.forEach((path, i) => path.classList.toggle("lit", i === best[0]));
    said.textContent = `${drawn[best[0]].label}: ${short(best[1][1])} at ${xTitle} ${best[1][0]}.`;
  });
  box.append(svg);
  if (drawn.length <= 12) {
    const legend = element("p");
    drawn.filter((s) => !s.raw).forEach((s) => {
      const mark = element("span", { style: `color: ${colour(s, drawn.indexOf(s))}` }, "■ ");
      const item = element("span", {}, `${s.label}   `);
      item.prepend(mark);
      legend.append(item);
    });
    box.append(legend);
  }
}

// ---- the same image across the jobs: every job's pictures lie in one sprite, images side by side

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
  const { width, height } = payload;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, column * width, row * height, width, height, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

const rgb = (image, i) => [...image.data.subarray(4 * i, 4 * i + 3)];

async function draw(canvas, job, column, view, share) {
  const { width, height } = payload;
  const [mine, target] = await Promise.all([sprite(job.sprite), sprite(payload.targets[job.target])]);
  const result = pixels(mine, column, 0), generated = pixels(mine, column, 1);
  const given = pixels(target, column, 0), known = pixels(target, column, 1);
  const shown = new ImageData(width, height);
  const edge = Math.round(share * width);
  for (let i = 0; i < width * height; i++) {
    const seen = known.data[4 * i] > 127;
    let colour;
    if (view === "slider") {
      colour = i % width < edge ? rgb(result, i) : seen ? rgb(given, i) : payload.missing;
    } else if (view === "generated") {
      colour = rgb(generated, i);
    } else {
      const wanted = view === "known" ? seen : !seen;
      const source = view === "known" ? generated.data : result.data;
      let error = 0;
      for (let c = 0; c < 3; c++) error += Math.abs(source[4 * i + c] - given.data[4 * i + c]) / 3;
      colour = wanted ? [Math.min(255, 3 * error), Math.min(255, Math.max(0, 3 * error - 255)), 0] : [60, 60, 70];
    }
    shown.data.set([...colour, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

function viewer(box) {
  const image = $("image"), view = $("view"), slider = $("slider");
  payload.images.forEach((found, i) => image.append(element("option", { value: i }, `${found.number}: ${found.name}`)));
  const figures = payload.jobs.filter((job) => job.sprite).map((job) => {
    const figure = element("figure", { "data-job": job.job });
    const canvas = element("canvas", { width: payload.width, height: payload.height, role: "img" });
    const caption = element("figcaption");
    figure.append(canvas, caption);
    box.append(figure);
    return { job, figure, canvas, caption, seen: false, stale: true };
  });
  const legends = {
    slider: "The slider uncovers the result; missing pixels are red.",
    generated: "G(ẑ) everywhere: what the search fitted to the known pixels.",
    known: "Known pixels: |G(ẑ) − y|, black is none, red a third of the range, yellow two thirds.",
    hole: "Missing pixels: |result − truth|, black is none, red a third of the range, yellow two thirds.",
  };
  const refresh = (one) => {
    if (!one.seen) return;
    one.stale = false;
    draw(one.canvas, one.job, Number(image.value), view.value, slider.value / 100);
  };
  const change = (captions) => {
    $("legend").textContent = legends[view.value];
    $("position").hidden = view.value !== "slider";
    const number = payload.images[image.value].number;
    for (const one of figures) {
      if (captions) {
        const found = one.job.psnrs[number];
        const words = `${one.job.label}${found === undefined ? "" : `, ${found.toFixed(1)} dB`}`;
        one.canvas.setAttribute("aria-label", `Image ${number}, ${words}`);
        one.caption.textContent = words;
        const scores = one.job.restarts[number] || [];
        if (scores.length > 1) {
          const details = element("details");
          details.append(element("summary", {}, `${scores.length} restarts`));
          const table = element("table");
          table.append(element("tr", {}, ""));
          table.rows[0].append(element("th", {}, "objective"), element("th", {}, "dB"));
          for (const [objective, psnr] of scores) {
            const row = element("tr");
            row.append(element("td", {}, short(objective)), element("td", {}, psnr === null ? "" : psnr.toFixed(1)));
            table.append(row);
          }
          details.append(table);
          one.caption.append(details);
        }
      }
      one.stale = true;
      refresh(one);
    }
  };
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const one = figures.find((f) => f.canvas === entry.target);
      one.seen = entry.isIntersecting;
      if (one.seen && one.stale) refresh(one);
    }
  }, { rootMargin: "200px" });
  figures.forEach((one) => watch.observe(one.canvas));
  const move = (by) => {
    image.value = (Number(image.value) + by + payload.images.length) % payload.images.length;
    change(true);
  };
  $("previous").addEventListener("click", () => move(-1));
  $("next").addEventListener("click", () => move(1));
  image.addEventListener("change", () => change(true));
  view.addEventListener("change", () => change(false));
  slider.addEventListener("input", () => change(false));
  change(true);
}

// ---- what this page has

for (const id of ["jobs", "leads"]) if ($(id)) sortable($(id));
if ($("filter")) filterable($("jobs"), $("filter"), $("matches"));
if ($("settings")) settingCharts($("settings"));
if ($("viewer") && payload.images.length) viewer($("viewer"));
if ($("losses")) curves($("losses"), $("losses-said"), payload.curves, payload.unit, payload.loss);
if ($("epoch")) {
  const show = () => {
    const chosen = payload.samples[$("epoch").value];
    $("samples").src = chosen.picture;
    $("samples").alt = `Samples after epoch ${chosen.epoch}`;
    $("epoch-said").textContent = chosen.epoch;
  };
  $("epoch").addEventListener("input", show);
  show();
}
