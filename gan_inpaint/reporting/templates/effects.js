"use strict";
// What each swept key does: paired effects on hole PSNR, least squares over the jobs. No DOM here.

const CATEGORIES = 8; // more different numbers than this are a continuous key

const isContinuous = (key, jobs) => {
  const values = new Set(jobs.map((job) => job.values[key]));
  return values.size > CATEGORIES && [...values].every((value) => typeof value === "number");
};

// A number with three digits: 0.0001234 is 1.23e-4.
const brief = (value) => {
  if (typeof value !== "number" || !Number.isFinite(value)) return String(value ?? "");
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : value.toPrecision(4);
  return text.includes("e") ? text.replace(/\.?0+e/, "e").replace("e+", "e") : String(Number(text));
};

const shortened = (text) => (text.length > 24 ? `${text.slice(0, 12)}…${text.slice(-10)}` : text);

// The key's levels in order. A level is a value, or of a continuous key about a quarter of the jobs.
function levelsOf(key, jobs) {
  const there = jobs.filter((job) => key in job.values);
  const sorted = [...there].sort((a, b) => d3.ascending(a.values[key], b.values[key]) || a.job - b.job);
  const groups = [...d3.group(sorted, (job) => job.values[key])];
  if (isContinuous(key, there)) {
    const parts = d3.range(4).map(() => []); // equal values stay together
    let before = 0;
    for (const [, own] of groups) {
      parts[Math.floor((4 * (before + own.length / 2)) / sorted.length)].push(...own);
      before += own.length;
    }
    return parts.filter((part) => part.length).map((part) => ({ label: `${brief(part[0].values[key])} to ${brief(part.at(-1).values[key])}`, jobs: part }));
  }
  let labels = groups.map(([value]) => shortened(brief(value)));
  if (new Set(labels).size < labels.length) labels = groups.map(([value]) => String(value));
  return groups.map(([, part], i) => ({ label: labels[i], jobs: part }));
}

// Whether every combination of the keys' values was run once. Else an effect may be another key's, and jobs differ by
// more than the images' noise says: no claims then.
function isGrid(jobs, keys) {
  if (keys.some((key) => isContinuous(key, jobs) || jobs.some((job) => !(key in job.values)))) return false;
  const combinations = new Set(jobs.map((job) => JSON.stringify(keys.map((key) => job.values[key]))));
  const size = keys.reduce((product, key) => product * levelsOf(key, jobs).length, 1);
  return combinations.size === jobs.length && size === jobs.length;
}

// Image by image, the mean of some jobs' vectors.
const meanOf = (jobs, vectors) => {
  const total = new Float64Array(vectors.get(jobs[0]).length);
  for (const job of jobs) vectors.get(job).forEach((value, i) => (total[i] += value / jobs.length));
  return total;
};

// The mean over the images, and how far its 95 % confidence interval reaches; of one image, that is unknown (NaN).
// `t` is Student's quantile.
function interval(values, t) {
  const mean = d3.mean(values);
  return { mean, reach: values.length > 1 ? (t * d3.deviation(values)) / Math.sqrt(values.length) : NaN };
}

// What is left of each job's PSNRs after the average job and the keys' effects are taken off, and those effects.
function fit(jobs, keys) {
  const left = new Map(jobs.map((job) => [job, Float64Array.from(job.psnrs)]));
  const average = meanOf(jobs, left);
  for (const job of jobs) left.get(job).forEach((_, i) => (left.get(job)[i] -= average[i]));
  const effects = keys.map((key) => ({ key, levels: levelsOf(key, jobs).map((level) => ({ ...level, values: new Float64Array(average.length) })) }));
  for (let round = 0; round < 200; round++) {
    let change = 0; // a full grid is solved in the first round
    for (const { levels } of effects) {
      for (const level of levels) {
        const step = meanOf(level.jobs, left);
        step.forEach((value, i) => (level.values[i] += value));
        for (const job of level.jobs) step.forEach((value, i) => (left.get(job)[i] -= value));
        change = Math.max(change, d3.max(step, Math.abs));
      }
    }
    if (change < 1e-9) break;
  }
  return { average, effects, left };
}

// The effect of each level of each key against the average job, how far it is behind the best level, and the share of
// the spread of the jobs' means that the key makes up.
function effectsOf(jobs, keys, t, { average, effects } = fit(jobs, keys)) {
  const level = d3.mean(average);
  const total = d3.sum(jobs, (job) => (d3.mean(job.psnrs) - level) ** 2);
  const found = effects.map(({ key, levels }) => {
    const best = d3.greatest(levels, (one) => d3.mean(one.values));
    const behind = (one) => interval(best.values.map((value, i) => value - one.values[i]), t);
    const told = levels.map((one) => ({ label: one.label, jobs: one.jobs, ...interval(one.values, t), behind: behind(one) }));
    return { key, levels: told, share: total ? d3.sum(told, (one) => one.jobs.length * one.mean ** 2) / total : 0 };
  });
  return found.sort((a, b) => b.share - a.share);
}

// How far the combinations of two keys' levels lie from the sum of both effects.
// `quantile(m)`: Student's quantile for the largest of m combinations (Bonferroni).
function interactionOf(jobs, keys, pair, quantile, { left } = fit(jobs, keys)) {
  const [rows, columns] = pair.map((key) => levelsOf(key, jobs));
  const cells = rows.flatMap((row) => columns.map((column) => {
    const both = row.jobs.filter((job) => column.jobs.includes(job));
    return { row: row.label, column: column.label, jobs: both };
  })).filter((cell) => cell.jobs.length);
  for (const cell of cells) {
    cell.psnr = d3.mean(cell.jobs, (job) => d3.mean(job.psnrs));
    Object.assign(cell, interval(meanOf(cell.jobs, left), quantile(cells.length)));
  }
  const full = isGrid(jobs, keys);
  const beyond = full ? cells.filter((cell) => Math.abs(cell.mean) > cell.reach + 1e-9) : [];
  return { pair, rows, columns, cells, full, beyond, largest: d3.greatest(cells, (cell) => Math.abs(cell.mean)) };
}

// How far each job lies from the average job, paired by image.
function standingOf(jobs, t) {
  const vectors = new Map(jobs.map((job) => [job, job.psnrs]));
  const average = meanOf(jobs, vectors);
  return new Map(jobs.map((job) => [job, interval(job.psnrs.map((value, i) => value - average[i]), t)]));
}

// The jobs that no other job beats in both figures. `signs`: 1 where more is better, -1 where less is.
function paretoFront(jobs, figures, signs) {
  const points = jobs.map((job) => figures.map((figure, i) => signs[i] * job.figures[figure]));
  return jobs.filter((_, i) => !points.some((other) => other.every((v, k) => v >= points[i][k]) && other.some((v, k) => v > points[i][k])));
}
