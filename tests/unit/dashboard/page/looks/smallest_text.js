// How high the smallest text of the drawing is, in pixels.
return Math.min(...[...document.querySelectorAll(".figure text")]
  .filter((e) => e.textContent && e.checkVisibility())
  .map((e) => e.getBoundingClientRect().height));
