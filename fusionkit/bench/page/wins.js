// Who beats whom: the share of images on which the row's method is better than the column's.

const SIGNIFICANT = 0.05;

function winsSection(table) {
  const scores = scoresOf(table).filter(column => column.ranks);
  const section = el('section', { class: 'card', 'aria-labelledby': 'wins-title' });
  const { rate, p, images } = table.wins;
  const entry = (i, j, chosen) => {
    const places = chosen < 0 ? scores.map((_, k) => k) : [chosen];
    const known = places.filter(k => rate[i][j][k] !== null);
    if (!known.length) return null;
    return {
      rate: known.reduce((sum, k) => sum + rate[i][j][k], 0) / known.length,
      sure: known.filter(k => p[i][j][k] < SIGNIFICANT).length,
      of: known.length,
      p: chosen < 0 ? null : p[i][j][chosen],
      images: Math.max(...known.map(k => images[i][j][k])),
    };
  };
  const draw = chosen => {
    const names = table.rows.map(row => row.method);
    const cell = (i, j) => {
      const found = i === j ? null : entry(i, j, chosen);
      if (!found) return el('td', { class: 'win none' }, i === j ? '' : MISSING);
      const said = chosen < 0 ? `differs by ${found.sure} of ${plural(found.of, 'metric')} (p < ${SIGNIFICANT})`
        : `p = ${Number(found.p.toPrecision(2))}`;
      const label = `${names[i]} against ${names[j]}: better on ${percent(found.rate)} of ${plural(found.images, 'image')}, ${said}`;
      const side = found.rate > 0.5 ? 'var(--win)' : 'var(--lose)';
      return el('td', { class: 'win', title: label, style: { '--side': side, '--much': `${Math.round(Math.abs(found.rate - 0.5) * 130)}%` } },
        `${Math.round(found.rate * 100)}`, el('span', { class: 'sure' }, chosen < 0 ? `${found.sure}/${found.of}` : found.sure ? '✱' : ''));
    };
    section.replaceChildren(
      el('div', { class: 'bar' }, el('h2', { id: 'wins-title' }, 'Image by image'),
        el('label', {}, el('span', { class: 'quiet' }, 'by '), el('select', { onchange: event => { const value = Number(event.target.value); draw(value); section.querySelector('select').focus(); } },
          option(-1, 'all metrics', chosen < 0), scores.map((column, k) => option(k, column.title, chosen === k))))),
      el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Win rates, scrolls sideways' },
        el('table', { class: 'wins' },
          el('caption', { class: 'hidden' }, 'Per cent of images on which the row is better than the column'),
          el('thead', {}, el('tr', {}, el('td'), names.map(name => el('th', { scope: 'col' }, el('span', { title: name }, name))))),
          el('tbody', {}, names.map((name, i) => el('tr', {}, el('th', { scope: 'row', class: 'method' }, el('span', { class: 'name' }, name)),
            names.map((_, j) => cell(i, j))))))),
      el('p', { class: 'quiet small' }, `Per cent of images on which the row is better than the column; ${chosen < 0
        ? 'below it, by how many metrics' : 'a star says that'} they differ at p < ${SIGNIFICANT} (Wilcoxon signed-rank, Holm-corrected over the table).`));
  };
  draw(-1);
  return section;
}
