// The completions of one search: cards, comparison, where the model is unsure.

const $ = (id) => document.getElementById(id);

export class Results {
  constructor() {
    this.job = null;
    $("unsure").addEventListener("change", () => this.overlay());
    $("slider").addEventListener("input", () => this.wipe());
    $("copy").addEventListener("click", () => this.copy());
  }

  /** Show a finished job; `told` is what its `done` event said. */
  show(job, told, blend) {
    this.job = job;
    this.told = told;
    $("results").hidden = false;
    $("fit").hidden = told.fits;
    $("fit").textContent = told.fits ? "" : "The prior does not fit what is known"
      + ` (it explains ${Math.round(Math.max(0, told.explained) * 100)} % of what lies around the hole). Frame the face as`
      + " in the prior's samples, or choose another prior.";
    $("cards").replaceChildren(...Array.from({ length: told.completions }, (_, rank) => this.card(rank)));
    this.setBlend(blend);
    this.stale(false);
  }

  hide() {
    this.job = null;
    $("results").hidden = true;
  }

  /** Another blend is another view of the same search. */
  setBlend(blend) {
    if (!this.job) return;
    this.blend = blend;
    const base = `/api/jobs/${this.job}`;
    [...$("cards").children].forEach((card, rank) => {
      card.querySelector(".filled").src = `${base}/completions/${rank}?blend=${blend}`;
      card.querySelector(".download").href = `${base}/photograph/${rank}?blend=${blend}`;
    });
    $("mask-link").href = `${base}/mask`;
    $("bundle").href = `${base}/bundle?blend=${blend}`;
    $("command").textContent = this.told.commands[blend];
    this.choose(this.chosen < this.told.completions ? this.chosen : 0);
    this.overlay();
  }

  card(rank) {
    const item = document.createElement("li");
    const figure = document.createElement("div");
    figure.className = "picture";
    const image = make("img", { className: "filled", alt: `Completion ${rank + 1}` });
    const damaged = make("img", { className: "damaged", alt: "", hidden: true, src: `/api/jobs/${this.job}/damaged` });
    const unsure = make("img", { className: "unsure", alt: "", hidden: true, src: `/api/jobs/${this.job}/unsure` });
    figure.append(image, damaged, unsure);
    const hold = make("button", { type: "button", className: "hold", textContent: "Hold to compare" });
    const see = (before) => { damaged.hidden = !before; };
    hold.addEventListener("pointerdown", () => see(true));
    for (const kind of ["pointerup", "pointerleave", "pointercancel", "blur"]) hold.addEventListener(kind, () => see(false));
    hold.addEventListener("keydown", (event) => { if (event.key === " " || event.key === "Enter") { event.preventDefault(); see(true); } });
    hold.addEventListener("keyup", () => see(false));
    const wipe = make("button", { type: "button", textContent: "Slide" });
    wipe.setAttribute("aria-label", `Slide between before and completion ${rank + 1}`);
    wipe.addEventListener("click", () => { this.choose(rank); $("slider").focus(); });
    const download = make("a", { className: "button download", textContent: "Download" });
    download.setAttribute("download", "");
    download.setAttribute("aria-label", `Download completion ${rank + 1} at full size`);
    const title = make("h3", { textContent: `${rank + 1}${rank ? "" : ": fits best"}` });
    const row = make("p", { className: "row" });
    row.append(hold, wipe, download);
    item.append(title, figure, row);
    if (!rank) item.append(this.details());
    return item;
  }

  details() {
    const details = make("details", {});
    details.append(make("summary", { textContent: "Details" }), make("p", {
      className: "small",
      textContent: `objective ${this.told.objective?.toPrecision(4)}, the best of ${this.told.restarts} searches; it took`
        + ` ${this.told.steps} steps, and explains ${this.told.explained === null ? "an unknown part" : `${(this.told.explained * 100).toFixed(0)} %`}`
        + " of what lies around the hole",
    }));
    return details;
  }

  choose(rank) {
    this.chosen = rank;
    for (const id of ["before", "after"]) $(id).removeAttribute("src"); // not those of another search
    $("compare").hidden = false;
    $("compare-title").textContent = `Before and after: completion ${rank + 1}`;
    $("before").src = `/api/jobs/${this.job}/damaged`;
    $("after").src = `/api/jobs/${this.job}/completions/${rank}?blend=${this.blend}`;
    this.wipe();
  }

  wipe() {
    $("after-clip").style.clipPath = `inset(0 ${100 - $("slider").value}% 0 0)`;
  }

  overlay() {
    const on = $("unsure").checked;
    $("legend").hidden = !on;
    for (const image of document.querySelectorAll("#cards .unsure")) image.hidden = !on;
  }

  stale(yes) {
    $("stale").hidden = !yes;
    $("cards").classList.toggle("dimmed", yes);
  }

  async copy() {
    try {
      await navigator.clipboard.writeText($("command").textContent);
      $("copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren($("command"));
      $("copy").textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { $("copy").textContent = "Copy"; }, 2000);
  }
}

function make(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
