"use strict";
// What the scripts of a sweep's page share: its data, and helpers.

const data = JSON.parse(document.getElementById("payload").textContent);
const $ = (id) => document.getElementById(id);
const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};
const jobOf = new Map(data.jobs.map((job) => [job.job, job]));
const decibels = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;
const theme = { background: "transparent", color: "currentColor", fontSize: "12px", fontFamily: "inherit", overflow: "visible" };
const wide = () => Math.min(720, Math.max(300, $("filter").closest("section").clientWidth));

const chosenTask = () => ($("task") ? Number($("task").value) : 0);
const task = () => data.tasks[chosenTask()];
const words = () => $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
const rowOf = new Map([...document.querySelectorAll("#jobs tbody tr")].map((row) => [Number(row.dataset.job), row]));
