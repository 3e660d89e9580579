// Buttons that are too small for a finger.
return [...document.querySelectorAll("main button")]
  .filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 32)
  .map((e) => e.textContent);
