// What is too faint on the page, by the formula of WCAG 2.1 (1.4.3 and 1.4.11): texts, and the pairs of colours in the drawing.
const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
const light = (rgb) => { const [r, g, b] = rgb.map((v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
const ratio = (one, other) => { const [a, b] = [light(one), light(other)].sort((x, y) => y - x); return (a + .05) / (b + .05); };
const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c.slice(0, 3); } return [255, 255, 255]; };
const bad = [];
for (const e of document.querySelectorAll('body *:not(svg *):not(script)')) {
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !e.checkVisibility({ opacityProperty: true }) || e.closest('.unseen, .skip, :disabled, .u-legend')) continue;
  const style = getComputedStyle(e);
  const found = ratio(parse(style.color).slice(0, 3), ground(e));
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
  if (found < (large ? 3 : 4.5)) bad.push(`${e.tagName}.${e.className} ${e.textContent.slice(0, 30)}: ${found.toFixed(2)}`);
}
const probe = document.body.appendChild(document.createElement('i'));
const token = (name) => { probe.style.color = `var(${name})`; return parse(getComputedStyle(probe).color).slice(0, 3); };
const pairs = [['--ink', '--raised', 4.5], ['--soft', '--raised', 4.5], ['--soft', '--fence', 4.5], ['--ink', '--card', 4.5], ['--soft', '--card', 4.5],
  ['--held', '--held-tint', 4.5], ['--wrong', '--wrong-tint', 4.5], ['--wrong', '--card', 4.5], ['--ink', '--tint', 4.5], ['--soft', '--tint', 4.5],
  ['--edge', '--card', 3], ['--accent', '--card', 3], ...['well', 'starting', 'leaving', 'ill', 'gone'].flatMap((h) => [[`--${h}`, '--raised', 3], [`--${h}`, '--fence', 3], ['--on-sign', `--${h}`, 3]])];
for (const [one, other, least] of pairs) { const found = ratio(token(one), token(other)); if (found < least) bad.push(`${one} on ${other}: ${found.toFixed(2)}`); }
probe.remove();
return bad;
