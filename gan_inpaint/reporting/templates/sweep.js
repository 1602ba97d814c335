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

// ---- one filter for everything: a whole setting, as norm=l1, or any part of a row's text

const settingsOf = (job) => rowOf.get(job).dataset.label.toLowerCase().split(" ");
const settings = new Set([...rowOf.keys()].flatMap(settingsOf));

function render() {
  tell([]);
  const wanted = words();
  const passes = (job) => wanted.every((word) => (settings.has(word) ? settingsOf(job).includes(word) : textOf.get(job).includes(word)));
  let count = 0;
  for (const [job, row] of rowOf) {
    const other = jobOf.has(job) && jobOf.get(job).task !== chosenTask();
    row.hidden = other || !passes(job);
    count += !row.hidden;
  }
  $("matches").textContent = `${count} of ${rowOf.size} jobs.`;
  if (!data.tasks.length) return;
  const jobs = data.jobs.filter((job) => job.task === chosenTask() && passes(job.job)); // best first
  const measured = jobs.filter((job) => job.psnrs);
  const varied = data.keys.filter((key) => new Set(measured.filter((job) => key in job.values).map((job) => job.values[key])).size > 1);
  const found = measured.length > 1 ? effectsOf(measured, varied, task().t[1]) : [];
  const keys = found.map((one) => one.key);
  effectCharts(measured, found);
  jobCharts(jobs, keys);
  tradeChart(jobs);
  interactionChart(jobs, keys);
  parallelChart(jobs, keys);
  lossCharts(jobs, keys);
  viewerOf(jobs);
}

for (const id of ["jobs", "leads"]) if ($(id)) sortable($(id));
$("more").addEventListener("change", () => $("jobs").classList.toggle("complete", $("more").checked));
$("filter").addEventListener("input", render);
$("task")?.addEventListener("change", render);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", render);
document.addEventListener("keydown", (event) => event.key === "Escape" && tell([]));
render();
