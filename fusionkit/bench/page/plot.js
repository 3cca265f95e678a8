// Quality against speed: one point a method, as inline SVG.

const PLOT = { left: 56, right: 24, top: 20, bottom: 48 };

function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const step of [1, 2, 5]) {
      const tick = step * 10 ** power;
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks.length > 6 ? ticks.filter(tick => Number.isInteger(Math.round(Math.log10(tick) * 1e6) / 1e6)) : ticks;
}

function linearTicks(low, high) {
  const raw = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) ticks.push(tick);
  return [ticks, Math.max(0, -Math.floor(Math.log10(step)))];
}

const LETTER = 7.1;
const overlap = (a, b) => Math.max(0, Math.min(a.right, b.right) - Math.max(a.left, b.left)) * Math.max(0, Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));

/** Put each label where it covers least of the dots, of the labels before it and of what lies outside. */
function placeLabels(points, width, height) {
  const taken = points.map(({ x, y, radius }) => ({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius }));
  for (const point of [...points].sort((a, b) => a.y - b.y || a.x - b.x)) {
    const wide = point.name.length * LETTER;
    const [near, far] = [point.radius + 4, point.radius + 13];
    const choices = [[near, 4, 'start'], [-near, 4, 'end'], [0, -near - 1, 'middle'], [0, far, 'middle'], [near, -8, 'start'], [near, 16, 'start'], [-near, -8, 'end'], [-near, 16, 'end'],
      [0, -near - 15, 'middle'], [0, far + 14, 'middle'], [near + 8, 30, 'start'], [-near - 8, 30, 'end'], [near + 8, -22, 'start'], [-near - 8, -22, 'end']];
    let best = null;
    choices.forEach(([dx, dy, anchor], order) => {
      const left = point.x + dx - { start: 0, middle: wide / 2, end: wide }[anchor];
      const box = { left, right: left + wide, top: point.y + dy - 11, bottom: point.y + dy + 3 };
      const outside = Math.max(0, PLOT.left - box.left) + Math.max(0, box.right - width) + Math.max(0, 2 - box.top) + Math.max(0, box.bottom - height);
      const cost = taken.reduce((sum, other) => sum + overlap(box, other), 0) + 40 * outside + order;
      if (!best || cost < best.cost) best = { cost, box, dx, dy, anchor };
    });
    taken.push(best.box);
    Object.assign(point, { label: best });
  }
}

function drawPlot(table, choice, width) {
  const height = Math.round(Math.min(540, 130 + width * 0.62));
  const column = table.table_columns.find(found => found.key === choice);
  const rows = table.rows.map((row, number) => ({ row, number, x: row.seconds, q: valueOf(row, column) }));
  const shown = rows.filter(point => point.x > 0 && point.q !== null && point.q !== undefined);
  if (!shown.length) return el('p', { class: 'quiet' }, 'No method here has both a measured time and this value.');
  const upward = column.higher_is_better;
  const [fast, slow] = [Math.min(...shown.map(p => p.x)) / 1.6, Math.max(...shown.map(p => p.x)) * 2.6];
  const values = shown.map(p => p.q);
  const margin = (Math.max(...values) - Math.min(...values)) * 0.12 || Math.abs(values[0]) * 0.1 || 1;
  const [low, high] = [Math.min(...values) - margin, Math.max(...values) + margin];
  const { left, right, top, bottom } = PLOT;
  const atX = value => left + (width - left - right) * Math.log(value / fast) / Math.log(slow / fast);
  const atY = value => { const part = (value - low) / (high - low); return top + (height - top - bottom) * (upward ? 1 - part : part); };
  const points = shown.map(p => {
    const text = p.row.method.length > 18 ? `${p.row.method.slice(0, 17)}…` : p.row.method;
    return { ...p, x: atX(p.x), y: atY(p.q), name: text, radius: 5.5 + Math.min(9, Math.log10(1 + (p.row.parameters || 0))) };
  });
  placeLabels(points, width, height - bottom);
  const [ticks, decimals] = linearTicks(low, high);
  const name = column.score ? column.title : 'mean rank';
  const said = points.map(p => `${p.row.method}: ${name} ${p.q.toPrecision(4)} at ${time(p.row.seconds)}`).join('; ');
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'plot', 'aria-label': `Quality against time. ${said}` },
    ticks.map(tick => [svg('line', { class: 'grid', x1: left, x2: width - right, y1: atY(tick), y2: atY(tick) }),
      svg('text', { class: 'tick', x: left - 8, y: atY(tick) + 4, 'text-anchor': 'end' }, tick.toFixed(decimals))]),
    logTicks(fast, slow).map(tick => [svg('line', { class: 'grid', x1: atX(tick), x2: atX(tick), y1: top, y2: height - bottom }),
      svg('text', { class: 'tick', x: atX(tick), y: height - bottom + 18, 'text-anchor': 'middle' }, time(tick))]),
    svg('text', { class: 'axis', x: (left + width - right) / 2, y: height - 8, 'text-anchor': 'middle' }, 'time an image (log) → slower'),
    svg('text', { class: 'axis', x: 14, y: (top + height - bottom) / 2, 'text-anchor': 'middle', transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, `${name}, better upward`),
    points.map(p => svg('g', {}, svg('title', {}, `${p.row.method}: ${name} ${p.q.toPrecision(4)}, ${time(p.row.seconds)}, ${count(p.row.parameters)} parameters`),
      svg('circle', { cx: p.x, cy: p.y, r: p.radius, class: 'dot', style: { '--ink': `var(--c${p.number % 10})` } }),
      svg('text', { class: 'label', x: p.x + p.label.dx, y: p.y + p.label.dy, 'text-anchor': p.label.anchor }, p.name))));
}

function plotSection(table) {
  const holder = el('div', {});
  let [choice, width] = ['mean_rank', 560];
  const draw = () => holder.replaceChildren(drawPlot(table, choice, width));
  // A page that has not been painted yet, in a tab behind others, has a plot, too.
  draw();
  new ResizeObserver(([entry]) => {
    const now = Math.max(260, Math.round(entry.contentRect.width));
    if (now !== width) requestAnimationFrame(() => { width = now; draw(); });
  }).observe(holder);
  return el('section', { class: 'card', 'aria-labelledby': 'plot-title' },
    el('div', { class: 'bar' }, el('h2', { id: 'plot-title' }, 'Quality against speed'),
      el('label', {}, el('span', { class: 'quiet' }, 'quality: '), el('select', { onchange: event => { choice = event.target.value; draw(); } },
        option('mean_rank', 'mean rank', true), scoresOf(table).filter(column => column.ranks).map(column => option(column.key, column.title, false))))),
    holder,
    el('p', { class: 'quiet small' }, 'Median time of the model call; larger dots have more parameters. Times compare on one machine alone.'));
}
