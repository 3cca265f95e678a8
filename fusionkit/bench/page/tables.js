// The leaderboard of one table: sortable, each mean a button that opens the images behind it.

const state = { sort: 'mean_rank', descending: false, all: false, intervals: true };

function columnsOf(table) {
  return table.metrics.filter(metric => metric.ranks || state.all);
}

function places(table, metric) {
  const means = table.rows.filter(row => row.mean_rank !== null && row.means[metric.name]).map(row => row.means[metric.name].mean);
  const best = [...new Set(means.filter(mean => mean !== null))].sort((a, b) => (metric.higher_is_better ? b - a : a - b));
  return row => (row.mean_rank === null || !row.means[metric.name] ? -1 : best.indexOf(row.means[metric.name].mean));
}

const SORTS = {
  method: row => row.method,
  mean_rank: row => row.mean_rank,
  win_rate: row => row.win_rate,
  parameters: row => row.parameters,
  seconds: row => row.seconds,
  peak_bytes: row => row.peak_bytes,
};

// The scores that networks have on the methods' images, as columns beside the metrics; they do not count for the rank.
function usesOf(table, downstream) {
  return downstream.flatMap((found, k) => found.columns.map(name => {
    const scores = new Map(found.rows.filter(row => !row.marks.length).map(row => [row.method, row.scores[name]]));
    const known = table.rows.map(row => scores.get(row.method)).filter(spread => spread && spread.mean !== null);
    const best = Math.max(...known.map(spread => spread.mean));
    return { key: `use ${k} ${name}`, name, scores, known, hint: `${found.kind} by ${found.network.name}, in percent; higher is better; does not count for the rank`,
      place: spread => (known.length > 1 && spread && spread.mean === best ? 0 : -1) };
  })).filter(column => column.known.length);
}

function sorter(uses) {
  const use = uses.find(column => column.key === state.sort);
  const used = row => { const spread = use.scores.get(row.method); return spread ? spread.mean : null; };
  const get = use ? used : SORTS[state.sort] || (row => (row.means[state.sort] ? row.means[state.sort].mean : null));
  return byValue(get, state.descending);
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

function meanCell(row, metric, place, open) {
  const cell = row.means[metric.name];
  if (!cell || cell.mean === null) return el('td', { class: 'number' }, el('span', { class: 'quiet' }, MISSING));
  const half = cell.low === null ? null : (cell.high - cell.low) / 2;
  const interval = cell.low === null ? 'no interval' : `95 % interval ${fixed(cell.low, metric.decimals)} to ${fixed(cell.high, metric.decimals)}`;
  const counted = `${plural(cell.count, 'image')}${cell.missing ? `, ${cell.missing} without a value` : ''}`;
  const rank = ['best', 'second'][place];
  return el('td', { class: 'number' },
    el('button', { type: 'button', class: `mean ${rank || ''}`, title: `${interval}; ${counted}`, onclick: () => open(row, metric),
      'aria-label': `${row.method}, ${metric.name} ${fixed(cell.mean, metric.decimals)}${rank ? `, ${rank}` : ''}, ${interval}, ${counted}: show the images` },
      el('span', { class: 'value' }, fixed(cell.mean, metric.decimals)),
      state.intervals && half !== null ? el('span', { class: 'half' }, `± ${fixed(half, metric.decimals)}`) : null,
      cell.missing ? el('span', { class: 'half warn' }, `n = ${cell.count}`) : null));
}

function measuredRow(row, columns, uses, placed, open, number) {
  return el('tr', { class: row.mean_rank === null ? 'unranked' : null },
    el('th', { scope: 'row', class: 'method' },
      el('span', { class: 'name', style: { '--ink': `var(--c${number % 10})` } }, row.method),
      row.reference ? el('span', { class: 'quiet small clip', title: row.reference }, row.reference) : null,
      row.marks.map(mark => el('span', { class: 'flag' }, mark))),
    el('td', { class: 'number strong' }, fixed(row.mean_rank, 2)),
    columns.map((metric, k) => meanCell(row, metric, placed[k](row), open)),
    uses.map(column => spreadCell(column.scores.get(row.method), column.place(column.scores.get(row.method)))),
    el('td', { class: 'number' }, percent(row.win_rate)),
    el('td', { class: 'number' }, count(row.parameters)),
    el('td', { class: 'number', title: row.devices.join(', ') }, time(row.seconds)),
    el('td', { class: 'number' }, bytes(row.peak_bytes)));
}

function publishedBody(published, columns, uses, table) {
  const pairs = published.pairs === table.pairs ? `${published.pairs} pairs` : `on ${published.pairs} pairs, measured here on ${table.pairs}`;
  const places = columns.map(metric => published.metrics.indexOf(metric.name));
  return el('tbody', { class: 'published' },
    el('tr', {}, el('th', { scope: 'rowgroup', colspan: columns.length + uses.length + 6 },
      el('span', { class: 'about' }, el('span', { class: 'tag' }, 'published'), ` ${published.label}, ${pairs}; neither ranked nor averaged. `,
        el('span', { class: 'quiet small' }, published.citation)))),
    published.rows.map(row => el('tr', {},
      el('th', { scope: 'row', class: 'method' }, el('span', { class: 'name' }, row.method)),
      el('td', { class: 'number quiet' }, MISSING),
      places.map(place => el('td', { class: 'number' }, place < 0 ? MISSING : fixed(row.values[place], 2))),
      uses.map(() => el('td')), el('td'), el('td'), el('td'), el('td'))));
}

function leaderboard(table, downstream, open) {
  const uses = usesOf(table, downstream);
  const section = el('section', { class: 'card', 'aria-labelledby': 'leaderboard-title' });
  const draw = focus => {
    const columns = columnsOf(table);
    const placed = columns.map(metric => places(table, metric));
    const rows = [...table.rows].sort(sorter(uses));
    const extra = table.metrics.some(metric => !metric.ranks);
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
            heading('Rank', 'mean_rank', false, draw, 'mean over the ranking metrics of the rank by each'),
            columns.map(metric => heading(`${metric.name} ${arrow(metric)}`, metric.name, metric.higher_is_better, draw,
              `${better(metric)}; unit ${metric.unit}${metric.ranks ? '' : '; does not count for the rank'}`)),
            uses.map(column => heading(`${column.name} ↑`, column.key, true, draw, column.hint)),
            heading('Wins', 'win_rate', true, draw, 'share of images on which it is better than another method'),
            heading('Params', 'parameters', false, draw, 'learned parameters'),
            heading('Time', 'seconds', false, draw, 'median time of fusing an image'),
            heading('Memory', 'peak_bytes', false, draw, 'greatest memory that fusing an image took'))),
          el('tbody', {}, rows.map(row => measuredRow(row, columns, uses, placed, open, table.rows.indexOf(row)))),
          table.published.map(published => publishedBody(published, columns, uses, table)))),
      el('p', { class: 'quiet small' }, 'Choose a number to see the images behind it. Means over images ± half of the 95 % bootstrap interval; ',
        el('b', {}, 'best'), ' and ', el('u', {}, 'second-best'), ' among ranked rows.',
        uses.length ? ' Downstream scores are in percent ± their standard deviation over seeds; how they were made stands below.' : ''));
    if (focus) section.querySelector(`[data-key="${CSS.escape(focus)}"]`).focus();
  };
  draw();
  return section;
}
