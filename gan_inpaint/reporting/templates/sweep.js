"use strict";
// The page of a sweep: every chart, table and image below the filter shows the jobs that pass it.

// ---- the table of jobs

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const direction = heading.getAttribute("aria-sort") === "descending" ? "ascending" : "descending";
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...table.tBodies[0].rows].sort((one, other) => {
      const a = key(one), b = key(other);
      if (a === "" || b === "") return (a === "") - (b === ""); // empty cells come last
      const numbers = a - b;
      return sign * (Number.isNaN(numbers) ? a.localeCompare(b, undefined, { numeric: true }) : numbers);
    });
    table.tBodies[0].append(...rows);
  }));
}

// ---- one filter for everything: norm=l1, lam>0.001, or a part of a job's settings, status or error

const valuesOf = new Map([...rowOf].map(([job, row]) => {
  const written = row.dataset.label.split(" ").map((word) => word.split("="));
  return [job, { ...Object.fromEntries(written), ...jobOf.get(job)?.values }];
}));
const tests = {
  "=": (value, wanted) => (typeof wanted === "number" ? Number(value) === wanted : String(value).toLowerCase().startsWith(wanted)),
  ">": (value, wanted) => Number(value) > wanted,
  "<": (value, wanted) => Number(value) < wanted,
  ">=": (value, wanted) => Number(value) >= wanted,
  "<=": (value, wanted) => Number(value) <= wanted,
};

function passes(job, word) {
  const [, key, sign, text] = word.match(/^([^<>=]+)([<>]=?|=)(.*)$/) ?? [];
  if (!sign) return rowOf.get(job).dataset.text.toLowerCase().includes(word);
  const own = Object.keys(valuesOf.get(job)).find((name) => name.toLowerCase() === key);
  if (own === undefined) return false;
  return text === "" || tests[sign](valuesOf.get(job)[own], Number.isNaN(Number(text)) ? text : Number(text));
}

function render() {
  tell([]);
  const wanted = words();
  const inFilter = new Map([...rowOf.keys()].map((job) => [job, wanted.every((word) => passes(job, word))]));
  let count = 0;
  for (const [job, row] of rowOf) {
    const other = jobOf.has(job) && jobOf.get(job).task !== chosenTask();
    row.hidden = other || !inFilter.get(job);
    count += !row.hidden;
  }
  const empty = count ? "" : " Try norm=l1, lam>0.001, or a word.";
  const others = data.tasks.length > 1 ? " The other images and masks have their own." : "";
  $("matches").textContent = `${count} of ${rowOf.size} jobs.${empty}${others}`;
  if (!data.tasks.length) return;
  const jobs = data.jobs.filter((job) => job.task === chosenTask() && inFilter.get(job.job)); // best first
  const measured = jobs.filter((job) => job.psnrs);
  const varied = data.keys.filter((key) => new Set(measured.filter((job) => key in job.values).map((job) => job.values[key])).size > 1);
  const fitted = measured.length > 1 ? fit(measured, varied) : null;
  const found = fitted ? effectsOf(measured, varied, task().t[1], fitted) : [];
  const keys = found.map((one) => one.key);
  effectCharts(measured, found, isGrid(measured, varied));
  jobCharts(jobs, keys);
  tradeChart(jobs);
  interactionChart(jobs, keys, fitted);
  parallelChart(jobs, keys);
  lossCharts(jobs, keys.length ? keys : data.keys);
  viewerOf(jobs);
}

for (const id of ["jobs", "leads"]) if ($(id)) sortable($(id));
$("more").addEventListener("change", () => $("jobs").classList.toggle("complete", $("more").checked));
$("filter").addEventListener("input", render);
$("task")?.addEventListener("change", render);
let width = innerWidth, later;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  clearTimeout(later);
  later = setTimeout(render, 150);
});
document.addEventListener("keydown", (event) => event.key === "Escape" && tell([]));
render();
