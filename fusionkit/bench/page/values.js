// The images behind a number: each value of one method by one metric, worst to best, with a strip of them all.

function strip(values, column) {
  const known = values.filter(value => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const at = value => 10 + 480 * (high > low ? (value - low) / (high - low) : 0.5);
  return svg('svg', { viewBox: '0 0 500 62', class: 'strip', role: 'img',
    'aria-label': `${known.length} values from ${written(low, column)} to ${written(high, column)}` },
    svg('line', { class: 'grid', x1: 10, x2: 490, y1: 40, y2: 40 }),
    known.map(value => svg('line', { class: 'tickmark', x1: at(value), x2: at(value), y1: 14, y2: 40 })),
    svg('text', { class: 'tick', x: 10, y: 57 }, written(low, column)),
    svg('text', { class: 'tick', x: 490, y: 57, 'text-anchor': 'end' }, written(high, column)));
}

function openValues(number, table, row, column, openImage) {
  const dialog = document.getElementById('values');
  const data = valuesOf(number);
  const method = data.methods[table.rows.indexOf(row)];
  const values = method.values[column.key];
  const cell = row.means[column.key];
  const entries = values.map((value, k) => ({ value, k, image: data.images[method.at[k]], reason: (method.reasons[k] || {})[column.key] }));
  const list = el('ol', { class: 'entries' });
  const draw = descending => {
    const ordered = [...entries].sort(byValue(entry => entry.value, descending));
    list.replaceChildren(...ordered.map(entry => el('li', {},
      el('button', { type: 'button', class: 'entry', onclick: () => openImage(method.at[entry.k], row.method) },
        picture(method.fused[entry.k], ''),
        el('span', { class: 'grow' }, entry.image.name, entry.reason ? el('span', { class: 'flag' }, entry.reason) : null),
        el('span', { class: 'value' }, writtenOne(entry.value, column))))));
  };
  const failures = Object.entries(method.failures);
  dialog.replaceChildren(
    el('div', { class: 'bar' },
      el('h2', { id: 'values-title' }, `${column.title} of ${row.method}`),
      el('button', { type: 'button', class: 'plain close', 'aria-label': 'Close', onclick: () => closeDialog(dialog) }, '✕')),
    el('p', { class: 'facts' }, `mean ${written(cell.mean, column)}`,
      cell.low === null ? '' : `, 95 % interval ${written(cell.low, column)} to ${written(cell.high, column)}`,
      `, ${plural(cell.count, 'image')}`, cell.missing ? `, ${cell.missing} without a value` : '', `; ${better(column)}; unit ${column.unit}; profile ${table.profile}`),
    strip(values, column),
    el('label', { class: 'small' }, el('span', { class: 'quiet' }, 'order '), el('select', { onchange: event => draw((event.target.value === 'best') === column.higher_is_better) },
      option('worst', 'worst first', true), option('best', 'best first', false))),
    list,
    failures.length ? el('details', {}, el('summary', {}, `${plural(failures.length, 'pair')} failed`),
      el('ul', {}, failures.map(([name, why]) => el('li', {}, el('b', {}, name), ` ${why}`)))) : null);
  draw(!column.higher_is_better);
  openDialog(dialog);
}
