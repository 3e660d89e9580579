// What sticks out of a window that is 360 wide.
return [...document.querySelectorAll("body *")]
  .filter((e) => !e.closest(".unseen, .scroll, svg, dialog") && e.getBoundingClientRect().right > 361)
  .map((e) => `${e.tagName}.${e.className}`);
