// Two images in one frame: a divider between them, side by side, or their difference; zoomed and moved together.

const CLOSEST = 32;

function createStage() {
  const view = { scale: 1, x: 0, y: 0, split: 0.5, mode: 'slider' };
  const images = [el('img', { draggable: 'false' }), el('img', { draggable: 'false' })];
  const missing = images.map(() => el('span', { class: 'absent' }, 'image not there'));
  const panes = images.map((image, k) => el('div', { class: `pane pane-${'ab'[k]}` }, image, missing[k]));
  const badges = ['a', 'b'].map(side => el('span', { class: `badge badge-${side}` }));
  const split = el('input', { type: 'range', class: 'split', min: '0', max: '1000', value: '500', 'aria-label': 'Divider between the two images' });
  const zoomed = el('output', { class: 'zoomed' });
  const node = el('div', { class: 'stage', tabindex: '0', role: 'group',
    'aria-label': 'Comparison. Plus and minus zoom, 0 fits, arrow keys move the divider or, zoomed in, the images.' },
  el('div', { class: 'panes' }, panes), el('div', { class: 'divider', 'aria-hidden': 'true' }, el('span', {}, '⇔')), badges, zoomed);

  const frame = () => panes[0].getBoundingClientRect();
  function apply() {
    const { width, height } = frame();
    const reach = [Math.max(0, (view.scale - 1) * width / 2), Math.max(0, (view.scale - 1) * height / 2)];
    view.x = Math.min(reach[0], Math.max(-reach[0], view.x));
    view.y = Math.min(reach[1], Math.max(-reach[1], view.y));
    node.style.setProperty('--split', view.split);
    for (const image of images) {
      image.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
      image.classList.toggle('pixels', view.scale >= 4);
    }
    split.value = Math.round(view.split * 1000);
    zoomed.textContent = view.scale > 1 ? `${view.scale.toPrecision(2)}×` : '';
    node.classList.toggle('near', view.scale > 1);
  }
  /** Zoom by a factor about a point given from the middle of a pane. */
  function zoom(factor, x = 0, y = 0) {
    const scale = Math.min(CLOSEST, Math.max(1, view.scale * factor));
    const ratio = scale / view.scale;
    view.x = x - (x - view.x) * ratio;
    view.y = y - (y - view.y) * ratio;
    view.scale = scale;
    apply();
  }
  function fit() { Object.assign(view, { scale: 1, x: 0, y: 0 }); apply(); }
  const fromMiddle = event => {
    const box = panes.map(pane => pane.getBoundingClientRect())
      .find(found => event.clientX >= found.left && event.clientX <= found.right && event.clientY >= found.top && event.clientY <= found.bottom) || frame();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  };

  const fingers = new Map();
  let dividing = false;
  const toSplit = event => { const box = node.getBoundingClientRect(); view.split = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)); apply(); };
  node.addEventListener('pointerdown', event => {
    if (event.button > 0) return;
    node.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    const box = node.getBoundingClientRect();
    const near = Math.abs(event.clientX - box.left - view.split * box.width) < 24;
    dividing = view.mode === 'slider' && fingers.size === 1 && (view.scale === 1 || near);
    if (dividing) toSplit(event);
  });
  node.addEventListener('pointermove', event => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY];
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = point => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1;
      const middle = fromMiddle({ clientX: (now[0] + other[0]) / 2, clientY: (now[1] + other[1]) / 2 });
      zoom(apart(now) / apart(before), ...middle);
    } else if (dividing) {
      toSplit(event);
    } else if (view.scale > 1) {
      view.x += now[0] - before[0];
      view.y += now[1] - before[1];
      apply();
    }
    fingers.set(event.pointerId, now);
  });
  for (const end of ['pointerup', 'pointercancel']) node.addEventListener(end, event => { fingers.delete(event.pointerId); dividing = false; });
  node.addEventListener('wheel', event => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0016), ...fromMiddle(event)); }, { passive: false });
  node.addEventListener('dblclick', event => (view.scale > 1 ? fit() : zoom(4, ...fromMiddle(event))));
  node.addEventListener('keydown', event => {
    const step = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === '+' || event.key === '=') zoom(1.5);
    else if (event.key === '-') zoom(1 / 1.5);
    else if (event.key === '0') fit();
    else if (step && view.scale > 1) { view.x += step[0] * 60; view.y += step[1] * 60; apply(); }
    else if (step && step[0] && view.mode === 'slider') { view.split = Math.min(1, Math.max(0, view.split - step[0] * 0.02)); apply(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  split.addEventListener('input', () => { view.split = Number(split.value) / 1000; apply(); });
  new ResizeObserver(apply).observe(node);

  function show(a, b, mode, gain) {
    view.mode = mode;
    for (const other of ['slider', 'side', 'difference']) node.classList.toggle(`mode-${other}`, other === mode);
    split.hidden = mode !== 'slider';
    node.style.setProperty('--gain', gain);
    [a, b].forEach((item, k) => {
      images[k].hidden = !item.address;
      missing[k].hidden = Boolean(item.address);
      if (item.address && images[k].getAttribute('src') !== item.address) images[k].src = item.address;
      images[k].alt = item.label;
      badges[k].textContent = item.label;
    });
    apply();
  }
  return { node, split, show, zoom, fit };
}
