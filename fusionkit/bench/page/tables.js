// The leaderboard of one table: sortable, each mean a button that opens the images behind it.

const state = { sort: 'mean_rank', descending: false, all: false, intervals: true };

const headed = column => (column.score ? `${column.title} ${arrow(column)}` : column.title[0].toUpperCase() + column.title.slice(1));

function columnsOf(table) {
  return table.table_columns.filter(column => !column.extra || state.all);
}

function valueOf(row, column) {
  if (!column.score) return row[column.key];
  return row.means[column.key] ? row.means[column.key].mean : null;
}

// The place of each row by a score among the ranked rows, from 0; -1 for the others.
function places(rows, column) {
  if (!column.score) return () => -1;
  const best = [...new Set(rows.filter(row => row.ranked).map(row => valueOf(row, column)).filter(mean => mean !== null))];
  best.sort((a, b) => (column.higher_is_better ? b - a : a - b));
  return row => (row.ranked ? best.indexOf(valueOf(row, column)) : -1);
}

// The scores that networks have on the methods' images, as columns beside the metrics; they do not count for the rank.
function usesOf(table, downstream) {
  return downstream.flatMap((found, k) => found.columns.map(name => {
    const scores = new Map(found.rows.filter(row => row.ranked).map(row => [row.method, row.means[name]]));
    const known = table.rows.map(row => scores.get(row.method)).filter(spread => spread && spread.mean !== null);
    const best = Math.max(...known.map(spread => spread.mean));
    return { key: `use ${k} ${name}`, name, scores, known, hint: `${found.kind} by ${found.network.name}, in percent; higher is better; does not count for the rank`,
      place: spread => (known.length > 1 && spread && spread.mean === best ? 0 : -1) };
  })).filter(column => column.known.length);
}

function sorter(table, uses) {
  const use = uses.find(column => column.key === state.sort);
  const used = row => { const spread = use.scores.get(row.method); return spread ? spread.mean : null; };
  const column = table.table_columns.find(found => found.key === state.sort);
  return byValue(use ? used : column ? row => valueOf(row, column) : row => row.method, state.descending);
}

function heading(label, key, descendingFirst, redraw, hint) {
  const current = state.sort === key;
  const sort = () => {
    state.descending = current ? !state.descending : descendingFirst;
    state.sort = key;
    redraw(key);
  };
  return el('th', { scope: 'col', 'aria-sort': current ? (state.descending ? 'descending' : 'ascending') : null },
    el('button', { type: 'button', class: 'sort', 'data-key': key, title: hint, onclick: sort },
      label, el('span', { class: 'caret', 'aria-hidden': 'true' }, current ? (state.descending ? '▾' : '▴') : '')));
}

function meanCell(row, column, place, open) {
  const cell = row.means[column.key];
  if (!cell || cell.mean === null) return el('td', { class: 'number' }, el('span', { class: 'quiet' }, MISSING));
  const half = cell.low === null ? null : (cell.high - cell.low) / 2;
  const interval = cell.low === null ? 'no interval' : `95 % interval ${written(cell.low, column)} to ${written(cell.high, column)}`;
  const counted = `${plural(cell.count, 'image')}${cell.missing ? `, ${cell.missing} without a value` : ''}`;
  const rank = ['best', 'second'][place];
  return el('td', { class: 'number' },
    el('button', { type: 'button', class: `mean ${rank || ''}`, title: `${interval}; ${counted}`, onclick: () => open(row, column),
      'aria-label': `${row.method}, ${column.title} ${written(cell.mean, column)}${rank ? `, ${rank}` : ''}, ${interval}, ${counted}: show the images` },
      el('span', { class: 'value' }, written(cell.mean, column)),
      state.intervals && half !== null ? el('span', { class: 'half' }, `± ${written(half, column)}`) : null,
      cell.missing ? el('span', { class: 'half warn' }, `n = ${cell.count}`) : null));
}

function detailCell(row, column) {
  const where = ['seconds', 'bytes'].includes(column.format) ? row.devices.join(', ') : null;
  return el('td', { class: `number ${column.key === 'mean_rank' ? 'strong' : ''}`, title: where }, written(row[column.key], column));
}

// Cells of a row in the order of the columns, with those of downstream scores behind the last score.
function beside(columns, cells, uses) {
  const end = columns.findLastIndex(column => column.score) + 1;
  return [cells.slice(0, end), uses, cells.slice(end)];
}

function measuredRow(table, row, columns, uses, placed, open, number) {
  const cells = columns.map((column, k) => (column.score ? meanCell(row, column, placed[k](row), open) : detailCell(row, column)));
  return el('tr', { class: row.ranked ? null : 'unranked' },
    el('th', { scope: 'row', class: 'method' },
      el('span', { class: 'name', style: { '--ink': `var(--c${number % 10})` } }, row.method),
      row.reference ? el('span', { class: 'quiet small clip', title: row.reference }, row.reference) : null,
      row.seen ? el('span', { class: 'seen', title: row.trained_on ? `trained on ${row.trained_on.join(', ')}` : 'no card says what it was trained on' },
        row.seen === 'unknown' ? '? training data not known' : `‡ trained on ${table.dataset}`) : null,
      row.marks.map(mark => el('span', { class: 'flag' }, mark))),
    beside(columns, cells, uses.map(column => spreadCell(column.scores.get(row.method), column.place(column.scores.get(row.method))))));
}

function publishedBody(published, columns, uses, table) {
  const pairs = published.pairs === table.pairs ? `${published.pairs} pairs` : `on ${published.pairs} pairs, measured here on ${table.pairs}`;
  const cells = row => columns.map(column => {
    const place = column.score ? published.metrics.indexOf(column.key) : -1;
    return el('td', { class: 'number' }, place >= 0 ? fixed(row.values[place], 2) : column.score ? MISSING : null);
  });
  return el('tbody', { class: 'published' },
    el('tr', {}, el('th', { scope: 'rowgroup', colspan: columns.length + uses.length + 1 },
      el('span', { class: 'about' }, el('span', { class: 'tag' }, 'published'), ` ${published.label}, ${pairs}; neither ranked nor averaged. `,
        el('span', { class: 'quiet small' }, published.citation)))),
    published.rows.map(row => el('tr', {},
      el('th', { scope: 'row', class: 'method' }, el('span', { class: 'name' }, row.method)),
      beside(columns, cells(row), uses.map(() => el('td'))))));
}

function leaderboard(table, downstream, open) {
  const uses = usesOf(table, downstream);
  const section = el('section', { class: 'card', 'aria-labelledby': 'leaderboard-title' });
  const draw = focus => {
    const columns = columnsOf(table);
    const placed = columns.map(column => places(table.rows, column));
    const rows = [...table.rows].sort(sorter(table, uses));
    const extra = table.table_columns.some(column => column.extra);
    const toggle = (key, label) => el('label', { class: 'check' },
      el('input', { type: 'checkbox', checked: state[key], onchange: event => { state[key] = event.target.checked; draw(); } }), label);
    section.replaceChildren(
      el('div', { class: 'bar' }, el('h2', { id: 'leaderboard-title' }, 'Leaderboard'),
        toggle('intervals', '95 % intervals'), extra ? toggle('all', 'all metrics') : null),
      el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Leaderboard, scrolls sideways' },
        el('table', { class: 'board' },
          el('caption', { class: 'hidden' }, `Methods on ${table.label}; every mean opens its images`),
          el('thead', {}, el('tr', {},
            heading('Method', 'method', false, draw, 'sort by name'),
            beside(columns, columns.map(column => heading(headed(column), column.key, Boolean(column.higher_is_better), draw, column.hint)),
              uses.map(column => heading(`${column.name} ↑`, column.key, true, draw, column.hint))))),
          el('tbody', {}, rows.map(row => measuredRow(table, row, columns, uses, placed, open, table.rows.indexOf(row)))),
          table.published.map(published => publishedBody(published, columns, uses, table)))),
      el('p', { class: 'quiet small' }, 'Choose a number to see the images behind it. Means over images ± half of the 95 % bootstrap interval; ',
        el('b', {}, 'best'), ' and ', el('u', {}, 'second-best'), ' among ranked rows.',
        uses.length ? ' Downstream scores are in percent ± their standard deviation over seeds; how they were made stands below.' : ''));
    if (focus) section.querySelector(`[data-key="${CSS.escape(focus)}"]`).focus();
  };
  draw();
  return section;
}
