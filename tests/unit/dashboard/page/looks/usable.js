// The ids of everything that can be used on the page.
return [...document.querySelectorAll('button, input, select, summary, [role], [tabindex]')]
  .filter((e) => e.checkVisibility() && !['presentation', 'status'].includes(e.getAttribute('role')) && !e.closest('[aria-hidden]'))
  .map((e) => { if (!e.id) e.id = 'made-' + Math.abs(hash(e)); return e.id; });
function hash(e) { window.counted = (window.counted ?? 0) + 1; return window.counted; }
