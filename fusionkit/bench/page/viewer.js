// One image at full size: its sources, every method's result, weight maps where there are any, and all of its values.

function itemsOf(data, table, at) {
  const image = data.images[at];
  const items = image.sources.map((pair, k) => ({ id: `source:${k}`, label: data.roles[k] || `source ${k + 1}`, kind: 'source', pair }));
  if (image.truth) items.push({ id: 'truth', label: 'known result', kind: 'source', pair: image.truth });
  data.methods.forEach((method, m) => {
    const k = method.at.indexOf(at);
    const label = table.rows[m].method;
    if (k < 0) { items.push({ id: `method:${label}`, label, kind: 'method', pair: null, why: method.failures[image.name] || 'no result' }); return; }
    items.push({ id: `method:${label}`, label, kind: 'method', pair: method.fused[k], m, k });
    for (const [name, ...pair] of method.maps[k] || []) items.push({ id: `map:${name}:${label}`, label: `${name} of ${label}`, kind: 'map', pair });
  });
  return items;
}

function valuesTable(data, table, at) {
  const scores = scoresOf(table);
  const rows = data.methods.map((method, m) => ({ name: table.rows[m].method, method, k: method.at.indexOf(at) })).filter(row => row.k >= 0);
  const value = (row, column) => (row.method.values[column.key] ? row.method.values[column.key][row.k] : null);
  const best = scores.map(column => {
    const known = rows.map(row => value(row, column)).filter(found => found !== null);
    return column.higher_is_better ? Math.max(...known) : Math.min(...known);
  });
  return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Values of this image, scrolls sideways' },
    el('table', { class: 'board compact' },
      el('caption', { class: 'hidden' }, 'Values of this image'),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Method'), scores.map(column => el('th', { scope: 'col', title: better(column) }, headed(column))), el('th', { scope: 'col' }, 'Time'))),
      el('tbody', {}, rows.map(row => el('tr', {}, el('th', { scope: 'row', class: 'method' }, el('span', { class: 'name' }, row.name)),
        scores.map((column, c) => {
          const found = value(row, column);
          const reason = (row.method.reasons[row.k] || {})[column.key];
          return el('td', { class: `number ${found !== null && found === best[c] ? 'best' : ''}`, title: reason }, writtenOne(found, column));
        }),
        el('td', { class: 'number' }, time(row.method.seconds[row.k])))))));
}

function createViewer(remember) {
  const dialog = document.getElementById('viewer');
  const now = { number: 0, table: null, at: 0, a: null, b: null, mode: 'slider', gain: 4, full: false };
  let stage = null;

  function go(at) {
    now.at = at;
    build();
  }

  function build() {
    const data = valuesOf(now.number);
    const image = data.images[now.at];
    const items = itemsOf(data, now.table, now.at);
    const focused = dialog.open && document.activeElement ? document.activeElement.dataset.keep : null;
    const comparison = createComparison(now, items, () => remember(now));
    stage = comparison.stage;
    const step = (by, label, glyph) => el('button', { type: 'button', class: 'plain', 'data-keep': label, 'aria-label': label, disabled: now.at + by < 0 || now.at + by >= data.images.length, onclick: () => go(now.at + by) }, glyph);
    dialog.replaceChildren(
      el('header', { class: 'bar' },
        el('h2', { id: 'viewer-title' }, image.name, el('span', { class: 'quiet small' }, ` ${image.size[0]} × ${image.size[1]}, ${now.at + 1} of ${data.images.length}`)),
        el('div', { class: 'tools' }, step(-1, 'Previous image', '←'), step(1, 'Next image', '→'),
          el('button', { type: 'button', class: 'plain close', 'aria-label': 'Close', onclick: () => closeDialog(dialog) }, '✕'))),
      ...comparison.nodes,
      valuesTable(data, now.table, now.at));
    comparison.refresh();
    if (focused) { const same = dialog.querySelector(`[data-keep="${focused}"]:not([disabled])`); if (same) same.focus(); }
  }

  dialog.addEventListener('keydown', event => {
    if (event.target.matches('input, select')) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    const at = now.at + by;
    if (at >= 0 && at < valuesOf(now.number).images.length) { event.preventDefault(); go(at); }
  });
  dialog.addEventListener('close', () => { if (!dialog.open && dialog.firstChild) { dialog.replaceChildren(); remember(null); } });

  /** Open image ``at`` of a table, with ``choice`` {a, b, mode} where given, a source and the best method else. */
  function open(number, table, at, choice = {}) {
    const data = valuesOf(number);
    if (!data.images[at]) return;
    const items = itemsOf(data, table, at);
    const known = id => (items.some(item => item.id === id) ? id : null);
    const other = table === now.table;
    Object.assign(now, { number, table, at,
      a: known(choice.a) || (other && known(now.a)) || items[0].id,
      b: known(choice.b) || (other && known(now.b)) || (items.find(item => item.kind === 'method' && item.pair) || items[0]).id });
    if (MODES.some(([mode]) => mode === choice.mode)) now.mode = choice.mode;
    build();
    openDialog(dialog);
    stage.fit();
    stage.node.focus();
  }
  return { open, close: () => closeDialog(dialog) };
}
