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

/** Heights for labels such that none lies on another: each is pushed below the one before. */
function spread(points, gap) {
  const placed = [];
  for (const point of [...points].sort((a, b) => a.y - b.y)) {
    let y = point.y;
    for (const other of placed) if (Math.abs(other.x - point.x) < 150 && y - other.y < gap && y >= other.y - gap) y = other.y + gap;
    placed.push({ x: point.x, y });
    point.labelY = y;
  }
}

function drawPlot(table, choice, width) {
  const height = Math.round(Math.min(400, 140 + width * 0.42));
  const metric = table.metrics.find(found => found.name === choice);
  const quality = row => (choice === 'mean_rank' ? row.mean_rank : row.means[choice] ? row.means[choice].mean : null);
  const rows = table.rows.map((row, number) => ({ row, number, x: row.seconds, q: quality(row) }));
  const shown = rows.filter(point => point.x > 0 && point.q !== null && point.q !== undefined);
  if (!shown.length) return el('p', { class: 'quiet' }, 'No method here has both a measured time and this value.');
  const upward = metric ? metric.higher_is_better : false;
  const [fast, slow] = [Math.min(...shown.map(p => p.x)) / 1.6, Math.max(...shown.map(p => p.x)) * 2.6];
  const values = shown.map(p => p.q);
  const margin = (Math.max(...values) - Math.min(...values)) * 0.12 || Math.abs(values[0]) * 0.1 || 1;
  const [low, high] = [Math.min(...values) - margin, Math.max(...values) + margin];
  const { left, right, top, bottom } = PLOT;
  const atX = value => left + (width - left - right) * Math.log(value / fast) / Math.log(slow / fast);
  const atY = value => { const part = (value - low) / (high - low); return top + (height - top - bottom) * (upward ? 1 - part : part); };
  const points = shown.map(p => {
    const text = p.row.method.length > 18 ? `${p.row.method.slice(0, 17)}…` : p.row.method;
    return { ...p, x: atX(p.x), y: atY(p.q), name: text, left: atX(p.x) + 14 + 7.5 * text.length > width };
  });
  spread(points, 15);
  const [ticks, decimals] = linearTicks(low, high);
  const name = metric ? metric.name : 'mean rank';
  const said = points.map(p => `${p.row.method}: ${name} ${p.q.toPrecision(4)} at ${time(p.row.seconds)}`).join('; ');
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', class: 'plot', 'aria-label': `Quality against time. ${said}` },
    ticks.map(tick => [svg('line', { class: 'grid', x1: left, x2: width - right, y1: atY(tick), y2: atY(tick) }),
      svg('text', { class: 'tick', x: left - 8, y: atY(tick) + 4, 'text-anchor': 'end' }, tick.toFixed(decimals))]),
    logTicks(fast, slow).map(tick => [svg('line', { class: 'grid', x1: atX(tick), x2: atX(tick), y1: top, y2: height - bottom }),
      svg('text', { class: 'tick', x: atX(tick), y: height - bottom + 18, 'text-anchor': 'middle' }, time(tick))]),
    svg('text', { class: 'axis', x: (left + width - right) / 2, y: height - 8, 'text-anchor': 'middle' }, 'time an image (log) → slower'),
    svg('text', { class: 'axis', x: 14, y: (top + height - bottom) / 2, 'text-anchor': 'middle', transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, `${name}, better upward`),
    points.map(p => svg('g', {}, svg('title', {}, `${p.row.method}: ${name} ${p.q.toPrecision(4)}, ${time(p.row.seconds)}, ${count(p.row.parameters)} parameters`),
      svg('circle', { cx: p.x, cy: p.y, r: 5.5 + Math.min(9, Math.log10(1 + (p.row.parameters || 0))), class: 'dot', style: { '--ink': `var(--c${p.number % 10})` } }),
      svg('text', { class: 'label', x: p.x + (p.left ? -14 : 14), y: p.labelY + 4, 'text-anchor': p.left ? 'end' : 'start' }, p.name))));
}

function plotSection(table) {
  const holder = el('div', {});
  let [choice, width] = ['mean_rank', 0];
  const draw = () => holder.replaceChildren(drawPlot(table, choice, width));
  new ResizeObserver(([entry]) => {
    const now = Math.max(260, Math.round(entry.contentRect.width));
    if (now !== width) requestAnimationFrame(() => { width = now; draw(); });
  }).observe(holder);
  return el('section', { class: 'card', 'aria-labelledby': 'plot-title' },
    el('div', { class: 'bar' }, el('h2', { id: 'plot-title' }, 'Quality against speed'),
      el('label', {}, el('span', { class: 'quiet' }, 'quality: '), el('select', { onchange: event => { choice = event.target.value; draw(); } },
        option('mean_rank', 'mean rank', true), table.metrics.filter(m => m.ranks).map(m => option(m.name, m.name, false))))),
    holder,
    el('p', { class: 'quiet small' }, 'Median time of the model call; larger dots have more parameters. Times compare on one machine alone.'));
}
