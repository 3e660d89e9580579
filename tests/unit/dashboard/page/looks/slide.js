// Moves the slider of the load.
const slider = document.getElementById("load-rate");
slider.value = arguments[0];
slider.dispatchEvent(new Event("input", { bubbles: true }));
