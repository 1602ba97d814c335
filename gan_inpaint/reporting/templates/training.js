"use strict";
// Shows the samples of the epoch that is chosen.
const epoch = document.getElementById("epoch");
epoch?.addEventListener("input", () => {
  const figures = [...document.querySelectorAll("figure.epoch")];
  figures.forEach((figure, i) => (figure.hidden = i !== Number(epoch.value)));
  document.getElementById("epoch-said").textContent = figures[epoch.value].dataset.epoch;
});
