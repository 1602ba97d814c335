"use strict";
// The charts of a sweep's page, each over the jobs that it is given.

// ---- jobs under the pointer and the keyboard's focus

let chosen = null; // the job whose images were asked for last
const light = (jobs) => document.querySelectorAll("[data-job]").forEach((one) => one.classList.toggle("lit", [chosen, ...jobs].includes(Number(one.dataset.job))));

function tell(circles, x, y) {
  const tip = $("tip");
  tip.hidden = !circles.length;
  const lines = circles.map((circle) => circle.getAttribute("aria-label"));
  if (tip.dataset.said !== lines.join("\n")) {
    tip.dataset.said = lines.join("\n");
    tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
    light(circles.map((circle) => Number(circle.dataset.job)));
  }
  if (tip.hidden) return;
  tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? Math.max(4, y - tip.offsetHeight - 12) : y + 18}px`;
}

// Point at a dot, or walk with the arrow keys, to see its job and all that lie on it; choose one to see its images.
function pointable(chart) {
  const circles = [...chart.querySelectorAll("circle[aria-label^='job ']")];
  const middle = (circle) => {
    const box = circle.getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const near = (x, y, reach) => circles.filter((circle) => {
    const [cx, cy] = middle(circle);
    return Math.hypot(cx - x, cy - y) <= reach;
  });
  const choose = (circle) => {
    chosen = Number(circle.dataset.job);
    tell([]);
    light([]);
    document.querySelector(`#viewer [data-job="${chosen}"]`)?.scrollIntoView({ block: "center" });
  };
  circles.forEach((circle, i) => {
    circle.dataset.job = circle.getAttribute("aria-label").match(/^job (\d+)/)[1];
    circle.setAttribute("role", "img");
    circle.setAttribute("tabindex", i ? -1 : 0);
    circle.addEventListener("focus", () => {
      const [x, y] = middle(circle);
      tell(near(x, y, 1.5), x, y);
    });
    circle.addEventListener("blur", () => tell([]));
    let touched = false; // the first touch of a dot shows its job, the second one its images
    circle.addEventListener("pointerdown", (event) => (touched = event.pointerType === "touch" && document.activeElement !== circle));
    circle.addEventListener("click", () => (touched ? circle.focus() : choose(circle)));
    circle.addEventListener("keydown", (event) => {
      const order = [...circles].sort((a, b) => middle(a)[0] - middle(b)[0] || middle(a)[1] - middle(b)[1]);
      const at = order.indexOf(circle);
      const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: order.length - 1 }[event.key];
      if (event.key === "Enter") choose(circle);
      if (to === undefined) return;
      event.preventDefault();
      const next = order[(to + order.length) % order.length];
      circles.forEach((one) => one.setAttribute("tabindex", one === next ? 0 : -1));
      next.focus();
    });
  });
  chart.addEventListener("pointermove", (event) => tell(near(event.clientX, event.clientY, 7), event.clientX, event.clientY));
  chart.addEventListener("pointerleave", () => tell([]));
  return chart;
}

// A chart; a screen reader may enter it, which Plot's labels alone do not allow.
function plot(options) {
  const chart = Plot.plot({ style: theme, ...options });
  chart.querySelectorAll("[aria-label]:is(g, svg)").forEach((one) => one.setAttribute("role", "group"));
  if (chart.matches("svg")) chart.setAttribute("role", "group");
  return chart;
}

// Replace a section's content; hide the section if there is none.
function fill(id, ...content) {
  const kept = content.filter(Boolean);
  $(id).replaceChildren(...kept);
  $(id).closest("section").hidden = !kept.length;
}

const said = (text) => element("p", {}, text);
const named = (job, standing) => `job ${job.job}: ${job.label}, ${job.figures.psnr_hole.toFixed(2)} dB` + (standing?.reach >= 0 ? ` (${decibels(standing.mean)} ± ${standing.reach.toFixed(2)} against the average job)` : "");
const colours = (domain, label) => ({ domain, label, legend: domain.length > 1, ...(domain.length > 10 ? { scheme: "turbo" } : { scheme: "observable10" }) });

// ---- effects

const listed = (words) => (words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words[0]);

function effectSentence(key, levels, share) {
  const best = d3.greatest(levels, (one) => one.mean);
  const others = levels.filter((one) => one !== best);
  const lower = others.filter((one) => one.behind.mean > one.behind.reach);
  const tied = others.filter((one) => !lower.includes(one));
  const behind = (one) => `${one.label} (by ${one.behind.mean.toFixed(2)} ± ${one.behind.reach.toFixed(2)} dB)`;
  if (!lower.length) return `${key}: no difference beyond the noise; ${best.label} leads ${listed(others.map(behind))}.`;
  const ties = tied.length ? `, not to be told from ${listed(tied.map((one) => one.label))}` : "";
  return `${key}: ${best.label} is highest${ties}; it leads ${listed(lower.map(behind))}. ${key} makes up ${Math.round(100 * share)} % of the spread of the jobs' means.`;
}

function effectCharts(jobs, found, grid) {
  const free = jobs.length - 1 - d3.sum(found, ({ levels }) => levels.length - 1); // what a fit has to judge itself by
  if (!found.length || jobs[0].psnrs.length < 2 || (!grid && free < 1)) return fill("effects");
  const plain = !grid && said("Not every combination of values was run once, so these are least-squares fits without intervals: an effect may belong to another setting.");
  const reach = (one) => (grid ? one.reach : 0);
  const ends = found.flatMap(({ levels }) => levels.flatMap((one) => [one.mean - reach(one), one.mean + reach(one)]));
  const x = { domain: d3.extent([...ends, 0]), label: "effect on hole PSNR, dB →", grid: true, nice: true };
  const margin = Math.min(150, 20 + 7 * d3.max(found.flatMap(({ levels }) => levels.map((one) => one.label.length))));
  const charts = found.map(({ key, levels, share }) => {
    const chart = plot({
      width: wide(), height: 64 + 24 * levels.length, marginLeft: margin, marginBottom: 40, x,
      y: { domain: levels.map((one) => one.label), label: null },
      ariaLabel: `effect of ${key}`,
      marks: [
        Plot.ruleX([0]),
        Plot.ruleY(levels, { y: "label", x1: (one) => one.mean - reach(one), x2: (one) => one.mean + reach(one), strokeWidth: 2 }),
        Plot.dot(levels, { y: "label", x: "mean", fill: "currentColor", r: 4, title: (one) => `${key}=${one.label}: ${decibels(one.mean)}${grid ? ` ± ${one.reach.toFixed(2)}` : ""} dB, ${one.jobs.length} jobs` }),
      ],
    });
    return element("figure", { "data-key": key }, element("figcaption", {}, grid ? effectSentence(key, levels, share) : `${key}: ${d3.greatest(levels, (one) => one.mean).label} is highest in the fit.`), chart);
  });
  fill("effects", plain, said(`Over ${jobs[0].psnrs.length} images and ${jobs.length} jobs.`), ...charts);
}

// ---- every job

function jobCharts(jobs, keys) {
  const measured = jobs.filter((job) => job.psnrs);
  if (!measured.length || !keys.length) return fill("every");
  const standing = standingOf(measured, task().t[1]);
  const [first, second, third] = keys;
  const continuous = isContinuous(first, measured);
  const rows = measured.map((job) => ({ job, psnr: job.figures.psnr_hole, ...standing.get(job) }));
  const level = new Map(keys.slice(0, 3).flatMap((key) => levelsOf(key, measured).flatMap((one) => one.jobs.map((job) => [`${key} ${job.job}`, one.label]))));
  const at = (key) => (row) => level.get(`${key} ${row.job.job}`) ?? "–";
  const aside = (row) => keys.slice(1).filter((key) => key !== (third ?? second)).map((key) => brief(row.job.values[key])).join(" ");
  const domain = (key) => [...levelsOf(key, measured).map((one) => one.label), ...(measured.some((job) => !(key in job.values)) ? ["–"] : [])];
  const along = continuous ? first : (third ?? second ?? first);
  const apart = [...new Set(rows.map(aside))].sort(); // side by side: jobs that differ in the keys that are not on the axis
  const places = continuous ? [] : domain(along);
  const place = (row) => places.indexOf(at(along)(row)) + (0.6 * (apart.indexOf(aside(row)) + 0.5)) / apart.length - 0.3;
  const panels = !continuous && second ? { fx: at(first) } : {};
  const value = (row) => row.job.values[first];
  const logarithmic = continuous && rows.every((row) => value(row) > 0) && d3.max(rows, value) / d3.min(rows, value) >= 20;
  const x = continuous
    ? { label: `${first} →`, type: logarithmic ? "log" : "linear", grid: true, tickFormat: logarithmic ? "~g" : undefined, ticks: 5 }
    : { domain: [-0.5, places.length - 0.5], ticks: d3.range(places.length), tickFormat: (i) => places[i], label: along };
  const options = { x: continuous ? value : place, ...panels };
  const best = d3.greatest(rows, (row) => row.psnr);
  const hidden = keys.slice(continuous ? 2 : 3);
  const chart = plot({
    width: wide(), height: 320, marginLeft: 56, marginBottom: 44, marginTop: panels.fx ? 44 : 24,
    x,
    fx: panels.fx ? { domain: domain(first), label: first, padding: 0.15 } : undefined,
    y: { label: "↑ hole PSNR, dB", grid: true, nice: true },
    color: second ? colours(domain(second), second) : undefined,
    ariaLabel: "hole PSNR of every job",
    marks: [
      Plot.ruleX(rows, { ...options, y1: (row) => row.psnr - row.reach, y2: (row) => row.psnr + row.reach, stroke: second ? at(second) : "currentColor", strokeOpacity: 0.7 }),
      Plot.dot(rows, { ...options, y: "psnr", fill: second ? at(second) : "currentColor", stroke: "var(--paper)", r: 5, ariaLabel: (row) => named(row.job, row), sort: null }),
      Plot.dot([best], { ...options, y: "psnr", r: 8, stroke: "currentColor", strokeWidth: 1.5, pointerEvents: "none" }),
    ],
  });
  const words = [panels.fx && `Panels: ${first}.`, second && `Colour: ${second}.`, "The best job is ringed.", hidden.length && `Not told apart: ${listed(hidden)}.`];
  fill("every", said(words.filter(Boolean).join(" ")), pointable(chart));
}

// ---- two figures against each other

function tradeChart(jobs) {
  const [a, b] = data.figures;
  const there = b ? jobs.filter((job) => Number.isFinite(job.figures[a.name]) && Number.isFinite(job.figures[b.name])) : [];
  if (there.length < 2) return fill("trade");
  const front = new Set(paretoFront(there, [a.name, b.name], [a.sign, b.sign]));
  const chart = plot({
    width: wide(), height: 320, marginLeft: 60, ariaLabel: `${a.label} against ${b.label}`,
    marginBottom: 40,
    x: { label: `${a.label}, better →`, reverse: a.sign < 0, grid: true, nice: true },
    y: { label: `↑ better, ${b.label}`, reverse: b.sign < 0, grid: true, nice: true },
    marks: [
      Plot.line(d3.sort([...front], (job) => job.figures[a.name]), { x: (job) => job.figures[a.name], y: (job) => job.figures[b.name], strokeOpacity: 0.4 }),
      Plot.dot(there, { x: (job) => job.figures[a.name], y: (job) => job.figures[b.name], r: 5, fill: (job) => (front.has(job) ? "currentColor" : "var(--paper)"), stroke: "currentColor", ariaLabel: (job) => `job ${job.job}: ${job.label}, ${a.label} ${brief(job.figures[a.name])}, ${b.label} ${brief(job.figures[b.name])}`, sort: null }),
    ],
  });
  const names = [...front].slice(0, 6).map((job) => job.label).join("; ");
  const optimised = b.name === "perceptual" && said("D's term is what lam weighs, so more lam lowers it, whether or not the images look more real. metrics=[feature_distance] is another judge.");
  fill("trade", said(`No other job beats the filled ones in both figures (the Pareto front; noise is not looked at): ${names}${front.size > 6 ? " …" : ""}.`), optimised, pointable(chart));
}

// ---- interaction of two keys

let lastPair = ""; // what was chosen stays chosen under another filter
function interactionChart(jobs, keys, fitted) {
  const measured = jobs.filter((job) => job.psnrs);
  if (!(measured[0]?.psnrs.length > 1)) return fill("interaction");
  const pairs = keys.flatMap((one, i) => keys.slice(i + 1).map((other) => [one, other]));
  const quantile = (m) => task().t[Math.min(m, task().t.length - 1)];
  const found = pairs.map((pair) => interactionOf(measured, keys, pair, quantile, fitted)).filter((one) => one.largest);
  if (!found.length) return fill("interaction");
  found.sort((a, b) => b.beyond.length - a.beyond.length || Math.abs(b.largest.mean) - Math.abs(a.largest.mean));
  const select = element("select", { id: "pair" }, ...found.map((one, i) => element("option", { value: i }, one.pair.join(" and "))));
  const box = element("div");
  const draw = () => {
    const { pair, rows, columns, cells, full, beyond, largest } = found[select.value];
    const largestSaid = `${pair[0]}=${largest.row} with ${pair[1]}=${largest.column} is ${decibels(largest.mean)} ± ${largest.reach.toFixed(2)} dB from the sum of both effects`;
    const sentence = !full
      ? `Not every combination of the settings was run once, so it cannot be said whether ${pair.join(" and ")} interact.`
      : beyond.length ? `${pair.join(" and ")} interact: ${largestSaid}.` : `${pair.join(" and ")} do not interact beyond the noise: at most, ${largestSaid}.`;
    const marginLeft = Math.min(150, 20 + 7 * d3.max(rows, (one) => one.label.length));
    lastPair = pair.join();
    box.replaceChildren(said(`${sentence} Rows: ${pair[0]}; columns: ${pair[1]}.`), plot({
      width: Math.min(wide(), marginLeft + 40 + 110 * columns.length), height: 70 + 38 * rows.length, marginLeft, ariaLabel: `mean hole PSNR by ${pair.join(" and ")}`,
      x: { domain: columns.map((one) => one.label), label: null, axis: "top" },
      y: { domain: rows.map((one) => one.label), label: null },
      color: { range: [0.05, 0.5], interpolate: d3.interpolateBlues, type: "linear" },
      marks: [
        Plot.cell(cells, { x: "column", y: "row", fill: "psnr", inset: 1 }),
        Plot.text(cells, { x: "column", y: "row", text: (cell) => cell.psnr.toFixed(2), fill: "#111", fontSize: 13 }),
      ],
    }));
  };
  const before = found.findIndex((one) => one.pair.join() === lastPair);
  if (before > 0) select.value = before;
  select.addEventListener("change", draw);
  draw();
  fill("interaction", found.length > 1 && element("label", {}, "settings ", select), box);
}

// ---- parallel coordinates

function parallelChart(jobs, keys) {
  const measured = jobs.filter((job) => job.psnrs);
  if (keys.length < 4 || measured.length < 2) return fill("parallel");
  const places = keys.map((key) => {
    const levels = isContinuous(key, measured) ? null : levelsOf(key, measured);
    const numbers = measured.map((job) => job.values[key]);
    const scale = levels
      ? d3.scalePoint(levels.map((one) => one.label), [0, 1])
      : (d3.min(numbers) > 0 && d3.max(numbers) / d3.min(numbers) >= 20 ? d3.scaleLog : d3.scaleLinear)(d3.extent(numbers), [0, 1]);
    const ticks = levels ? levels.map((one) => one.label) : d3.extent(numbers);
    const label = new Map(levels?.flatMap((one) => one.jobs.map((job) => [job, one.label])));
    return { key, at: (job) => scale(levels ? label.get(job) : job.values[key]), ticks: ticks.map((tick) => ({ key, at: scale(tick) ?? 0.5, text: brief(tick) })) };
  });
  // a little apart, so that no line lies on another
  const shift = new Map(measured.map((job, i) => [job, 0.08 * (i / measured.length - 0.5)]));
  const rows = measured.flatMap((job) => places.filter(({ key }) => key in job.values).map(({ key, at }) => ({ key, at: (at(job) ?? 0.5) + shift.get(job), job: job.job, psnr: job.figures.psnr_hole })));
  fill("parallel", said("Each line is a job; its colour is its hole PSNR."), plot({
    width: wide(), height: 340, marginLeft: 40, marginRight: 60, ariaLabel: "parallel coordinates of the swept keys",
    x: { type: "point", domain: keys, label: null, axis: "top", padding: 0.2 },
    y: { axis: null },
    color: { legend: true, label: "hole PSNR, dB", scheme: "turbo" },
    marks: [
      Plot.ruleX(keys, { strokeOpacity: 0.3 }),
      Plot.line(d3.sort(rows, (row) => row.psnr), { x: "key", y: "at", z: "job", stroke: "psnr", strokeOpacity: 0.75 }),
      Plot.text(places.flatMap((one) => one.ticks), { x: "key", y: "at", text: "text", textAnchor: "start", dx: 6, stroke: "var(--paper)", strokeWidth: 5, fill: "currentColor" }),
    ],
  }));
}

// ---- losses of the search

function lossCharts(jobs, keys) {
  const drawn = jobs.filter((job) => job.curve?.step.length).slice(0, 60);
  if (!drawn.length) return fill("losses");
  const key = keys[0];
  const label = new Map(key ? levelsOf(key, drawn).flatMap((one) => one.jobs.map((job) => [job, one.label])) : []);
  const domain = key ? levelsOf(key, drawn).map((one) => one.label) : [];
  const logarithmic = element("input", { type: "checkbox", id: "log" });
  logarithmic.checked = $("log")?.checked ?? false;
  const box = element("div", { class: "charts" });
  const draw = () => {
    const charts = [...d3.group(drawn, (job) => job.norm)].flatMap(([norm, own]) => ["contextual", "perceptual"].map((term) => {
      const rows = own.flatMap((job) => job.curve.step.map((step, i) => ({ step, value: job.curve[term]?.[i], job })));
      const there = rows.filter((row) => Number.isFinite(row.value));
      if (!there.length) return null;
      const log = logarithmic.checked && there.every((row) => row.value > 0);
      const once = own[0].curve.step.length === 1;
      return plot({
        width: Math.min(440, wide()), height: 260, marginLeft: 60, ariaLabel: `${term} term, norm=${norm}`,
        x: { label: "step →" },
        y: { label: `↑ ${term}, norm=${norm}${log ? ", logarithmic" : ""}`, grid: true, type: log ? "log" : "linear", tickFormat: log ? "~g" : undefined },
        color: key ? colours(domain, key) : undefined,
        marks: [
          (once ? Plot.dot : Plot.line)(there, { x: "step", y: "value", z: (row) => row.job.job, stroke: key ? (row) => label.get(row.job) ?? "–" : "currentColor" }),
          Plot.tip(there, Plot.pointer({ x: "step", y: "value", title: (row) => `job ${row.job.job}: ${row.job.label}\n${term} ${brief(row.value)} at step ${row.step}`, fill: "var(--soft)" })),
        ],
      });
    }));
    box.replaceChildren(...charts.filter(Boolean));
  };
  logarithmic.addEventListener("change", draw);
  draw();
  const some = jobs.length > drawn.length ? ` The best ${drawn.length} jobs are drawn.` : "";
  fill("losses", said(`At each step, the terms of the image with the lowest objective so far, averaged over the images. Terms of different norms are in different units. ${key ? `Colour: ${key}.` : ""}${some}`), element("label", {}, logarithmic, " logarithmic, where all values are positive"), box);
}
