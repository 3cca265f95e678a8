// What a network makes of each method's images: scores with their spread over seeds, and its predictions beside the truth.

const SHOWN_AT_FIRST = 8;
const inPercent = value => (value === null || value === undefined ? MISSING : (100 * value).toFixed(1));

function spreadCell(spread, place) {
  if (!spread || spread.mean === null) return el('td', { class: 'number' }, el('span', { class: 'quiet' }, MISSING));
  const told = spread.values.map((value, seed) => `seed ${seed}: ${inPercent(value)}`).join(', ');
  return el('td', { class: `number ${place === 0 ? 'best' : ''}`, title: told },
    el('span', { class: 'value' }, inPercent(spread.mean)),
    spread.deviation === null ? null : el('span', { class: 'half' }, `± ${inPercent(spread.deviation)}`));
}

function lossCurve(curves) {
  const points = curves.flat();
  if (points.length < 2) return null;
  const [width, height] = [96, 26];
  const logs = points.map(([, loss]) => Math.log(Math.max(loss, 1e-9)));
  const [low, high, last] = [Math.min(...logs), Math.max(...logs), Math.max(...points.map(([step]) => step))];
  const path = curve => curve.map(([step, loss], k) => `${k ? 'L' : 'M'}${((step / last) * width).toFixed(1)} ${(height - ((Math.log(Math.max(loss, 1e-9)) - low) / Math.max(high - low, 1e-9)) * height).toFixed(1)}`).join('');
  const ends = curves.map(curve => curve[curve.length - 1][1].toPrecision(3)).join(', ');
  return svg('svg', { viewBox: `-1 -1 ${width + 2} ${height + 2}`, class: 'curve', role: 'img', 'aria-label': `Training loss, at the end ${ends}` },
    svg('title', {}, `training loss a seed, logarithmic; at the end ${ends}`), curves.map(curve => svg('path', { d: path(curve) })));
}

function downstreamTable(data, ranks) {
  const placed = data.table_columns.map(column => places(data.rows, column));
  const cellOf = (row, column, k) => (column.score ? spreadCell(row.means[column.key], placed[k](row)) : detailCell(row, column));
  const cells = row => data.table_columns.map((column, k) => cellOf(row, column, k));
  const heads = data.table_columns.map(column => el('th', { scope: 'col', title: column.hint }, headed(column)));
  return el('table', { class: 'board' },
    el('caption', { class: 'hidden' }, data.heading),
    el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Method'), beside(data.table_columns, heads, [
      ranks ? el('th', { scope: 'col', title: 'mean rank by fusion quality, from the leaderboard above' }, 'Quality rank') : null,
      el('th', { scope: 'col' }, 'Training loss')]))),
    el('tbody', {}, data.rows.map((row, number) => el('tr', { class: row.ranked ? null : 'unranked' },
      el('th', { scope: 'row', class: 'method' }, el('span', { class: 'name', style: { '--ink': `var(--c${number % 10})` } }, row.method),
        row.marks.map(mark => el('span', { class: 'flag' }, mark))),
      beside(data.table_columns, cells(row), [
        ranks ? el('td', { class: 'number' }, fixed(ranks.get(row.method), 2)) : null,
        el('td', {}, lossCurve(row.curves))])))));
}

function predictionRows(data) {
  const list = el('ul', { class: 'looks' });
  const more = el('button', { type: 'button', class: 'plain wide' });
  const told = el('span', { class: 'quiet small', role: 'status' });
  const choices = { text: '', limit: SHOWN_AT_FIRST };
  const look = (address, label, alternative) => el('figure', { class: 'look' }, picture([address], alternative), el('figcaption', {}, label));
  const draw = () => {
    const wanted = choices.text.trim().toLowerCase();
    const shown = data.images.filter(image => image.name.toLowerCase().includes(wanted));
    told.textContent = plural(shown.length, 'image');
    list.replaceChildren(...shown.slice(0, choices.limit).map(image => el('li', {}, el('h3', {}, image.name),
      el('div', { class: 'strip-row', tabindex: '0', role: 'region', 'aria-label': `${image.name}, scrolls sideways` },
        look(image.truth, 'known', `${image.name}: what is known to be there`),
        data.rows.map((row, k) => look(image.shown[k], row.method, `${image.name}: prediction on ${row.method}`))))));
    more.hidden = shown.length <= choices.limit;
    more.textContent = `Show ${Math.min(4 * SHOWN_AT_FIRST, shown.length - choices.limit)} more of ${shown.length}`;
  };
  more.addEventListener('click', () => { choices.limit += 4 * SHOWN_AT_FIRST; draw(); });
  const key = data.kind === 'detection'
    ? [['found', 'on a known object'], ['wrong', 'on none'], ['missed', 'known and missed'], ['known', 'known']].map(([name, label]) => el('li', { class: `swatch ${name}` }, label))
    : data.classes.slice(1).map((name, k) => el('li', { class: 'swatch', style: { '--ink': data.colours[(k % (data.colours.length - 1)) + 1] } }, name));
  draw();
  return [
    el('div', { class: 'bar' }, el('h3', {}, 'Predictions'), told, el('ul', { class: 'chips' }, key),
      el('label', {}, el('span', { class: 'hidden' }, 'Find an image'), el('input', { type: 'search', placeholder: 'find a name', oninput: event => { choices.text = event.target.value; choices.limit = SHOWN_AT_FIRST; draw(); } }))),
    list, more];
}

function downstreamSection(data, table, number) {
  const known = new Map(table.rows.map(row => [row.method, row.mean_rank]));
  const ranks = data.rows.some(row => known.has(row.method)) ? known : null;
  const id = `downstream-${number}`;
  return el('section', { class: 'card downstream', 'aria-labelledby': id },
    el('div', { class: 'bar' }, el('h2', { id }, `Downstream: ${data.kind} by ${data.network.name}`),
      el('span', { class: 'quiet small' }, `trained on ${data.train.pairs}, scored on ${data.test.pairs} images; `,
        el('a', { href: 'downstream.md' }, 'Markdown'), ', ', el('a', { href: 'downstream.csv' }, 'CSV'), ', ', el('a', { href: 'downstream.json' }, 'JSON'))),
    el('ul', { class: 'chips' }, data.facts.map(fact => el('li', {}, fact))),
    el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Downstream scores, scrolls sideways' }, downstreamTable(data, ranks)),
    el('p', { class: 'quiet small' }, data.legend),
    data.images.length ? predictionRows(data) : null,
    data.images.length ? el('p', { class: 'quiet small' }, `Pictures are of seed ${data.seed}. `, data.kind === 'detection' ? 'Boxes of a score of 0.3 or more are drawn, with the score in percent; the scores above count all.' : 'Masks at the size that the network saw.') : null);
}
