// What an update of a picture makes the browser do: how many elements are made, how many values written, and how often
// the browser is asked for a measure (which makes it lay out the page at once). Pictures: drawn one after the other; told
// is the work of each.
const run = async (pictures) => {
  const { Drawing } = await import('/static/v0/js/picture/draw.js');
  const box = document.createElement('div');
  box.style.width = '1000px';
  document.body.append(box);
  const drawing = new Drawing(box, () => {});
  const count = { made: 0, written: 0, asked: 0 };
  const kept = [];
  const counted = (owner, name, kind) => {
    const before = Object.getOwnPropertyDescriptor(owner, name);
    kept.push(() => Object.defineProperty(owner, name, before));
    const of = (call) => call && function (...given) { count[kind]++; return call.apply(this, given); };
    const { get, set, value } = before;
    const kinds = value ? { value: of(value) } : { get: kind === 'asked' ? of(get) : get, set: kind === 'asked' ? set : of(set) };
    Object.defineProperty(owner, name, { ...before, ...kinds });
  };
  counted(Document.prototype, 'createElementNS', 'made');
  counted(Document.prototype, 'createElement', 'made');
  counted(Element.prototype, 'setAttribute', 'written');
  counted(Element.prototype, 'removeAttribute', 'written');
  counted(Node.prototype, 'textContent', 'written');
  counted(CSSStyleDeclaration.prototype, 'setProperty', 'written');
  counted(Element.prototype, 'getBoundingClientRect', 'asked');
  counted(SVGTextContentElement.prototype, 'getComputedTextLength', 'asked');
  counted(SVGGraphicsElement.prototype, 'getBBox', 'asked');
  for (const name of ['clientWidth', 'clientHeight', 'scrollWidth', 'scrollHeight']) counted(Element.prototype, name, 'asked');
  for (const name of ['offsetWidth', 'offsetHeight']) counted(HTMLElement.prototype, name, 'asked');
  const told = [];
  for (const picture of pictures) {
    Object.assign(count, { made: 0, written: 0, asked: 0 });
    drawing.draw(picture);
    told.push({ ...count });
  }
  kept.forEach((restore) => restore());
  box.remove();
  return told;
};
return run(arguments[0].map((text) => JSON.parse(text)));
