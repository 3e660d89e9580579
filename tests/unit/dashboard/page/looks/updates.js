// How long updates of a picture take, in milliseconds: two pictures in turn.
const run = async (pictures) => {
  const { Drawing } = await import('/static/v0/js/picture/draw.js');
  const box = document.createElement('div');
  box.style.width = '1000px';
  document.body.append(box);
  const drawing = new Drawing(box, () => {});
  drawing.draw(pictures[0]);
  const took = [];
  for (let turn = 1; turn < 12; turn++) {
    await new Promise((next) => requestAnimationFrame(next));
    const began = performance.now();
    drawing.draw(pictures[turn % 2]);
    drawing.svg.getBoundingClientRect();
    took.push(performance.now() - began);
  }
  box.remove();
  return took;
};
return run(arguments[0].map((text) => JSON.parse(text)));
