"use strict";
// Uncovers a photograph from its damage, as far as its slider says; shows its other completions.
for (const photograph of document.querySelectorAll(".photograph")) {
  const cover = photograph.querySelector(".cover");
  const slider = photograph.querySelector("input");
  const filled = photograph.querySelector(".filled");
  const move = () => (cover.style.clipPath = `inset(0 0 0 ${slider.value}%)`);
  if (cover) {
    slider.addEventListener("input", move);
    move();
  }
  for (const button of photograph.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      filled.src = button.dataset.file;
      photograph.querySelector("a").href = button.dataset.file;
      photograph.querySelectorAll("button").forEach((one) => one.setAttribute("aria-pressed", one === button));
    });
  }
}
