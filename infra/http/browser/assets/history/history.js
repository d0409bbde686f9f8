// Shows the version under the slider at once, and the page of a version when the slider is let go.
// Without this script the form's button does the same.
"use strict";

for (const form of document.querySelectorAll("form[data-live]")) {
  const slider = form.querySelector("input[type=range]");
  const output = form.querySelector("output");
  form.querySelector("button").hidden = true;
  slider.addEventListener("input", () => { output.value = slider.value; });
  slider.addEventListener("change", () => form.submit());
}
