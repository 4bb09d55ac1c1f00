"use strict";
// Without this script every pair stays two pictures, one below the other.
for (const figure of document.querySelectorAll("figure.compare")) {
  const pair = figure.querySelector(".pair");
  const controls = document.createElement("div");
  const slider = document.createElement("input");
  const flip = document.createElement("button");
  const words = document.createElement("span");
  const show = () => pair.style.setProperty("--cut", slider.value + "%");
  controls.className = "controls";
  slider.type = "range";
  slider.min = 0;
  slider.max = 100;
  slider.value = 50;
  slider.setAttribute("aria-label", "Part of each plane that shows the scan before harmonization");
  flip.type = "button";
  flip.textContent = "Flip";
  flip.addEventListener("click", () => { slider.value = slider.value > 50 ? 0 : 100; show(); });
  slider.addEventListener("input", show);
  words.textContent = "Left of each line: before. Right of it: after.";
  controls.append(slider, flip, words);
  pair.before(controls);
  figure.classList.add("laid");
  show();
}
