// How the focus is shown: what has it, and its outline.
const style = getComputedStyle(document.activeElement);
return [document.activeElement.id, style.outlineStyle, parseFloat(style.outlineWidth)];
