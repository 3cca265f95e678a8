// The page: which table and image the address asks for, and the navigation.

const { tables } = read('board');
const downstream = read('downstream').tables;
const main = document.getElementById('main');
const picker = document.getElementById('picker');
const titleOf = table => `${table.label}${tables.some(other => other !== table && other.label === table.label && other.task === table.task) ? ` (${table.profile})` : ''}`;

let current = -1;
const viewer = createViewer(shown => {
  const parts = new URLSearchParams({ t: current });
  if (shown) for (const [key, value] of [['i', shown.at], ['a', shown.a], ['b', shown.b], ['m', shown.mode]]) parts.set(key, value);
  // Opening an image is a step that the browser's Back undoes; what is chosen in it is not.
  const opened = shown && !new URLSearchParams(location.hash.slice(1)).has('i');
  history[opened ? 'pushState' : 'replaceState'](null, '', `#${parts}`);
});

function showTable(number) {
  if (number === current) return;
  current = number;
  const table = tables[number];
  Object.assign(state, { sort: 'mean_rank', descending: false });
  const openImage = (at, method) => viewer.open(number, table, at, method === undefined ? {} : { b: `method:${method}` });
  const openMean = (row, column) => openValues(number, table, row, column, openImage);
  const used = downstream.filter(found => found.task === table.task && found.label === table.label);
  const scored = table.rows.length > 0;
  const facts = [plural(table.pairs, 'pair'), scored ? plural(table.rows.length, 'method') : null, scored ? `profile ${table.profile}` : null].filter(Boolean);
  main.replaceChildren(
    el('div', { class: 'lead' },
      el('p', { class: 'eyebrow' }, table.title), el('h1', {}, table.label),
      el('ul', { class: 'chips' }, facts.map(fact => el('li', {}, fact))),
      table.notes.length ? el('ul', { class: 'notes' }, table.notes.map(note => el('li', {}, note))) : null),
    ...(scored ? [leaderboard(table, used, openMean)] : []),
    ...used.map((found, k) => downstreamSection(found, table, k)),
    ...(scored ? [el('div', { class: 'pair' }, plotSection(table), winsSection(table)), gallerySection(number, table, openImage)] : []),
    el('section', { class: 'quiet small sources' }, table.citations.map(text => el('p', {}, `Data: ${text}`)), table.licences.map(text => el('p', {}, `Licence of the data: ${text}`))));
  document.title = `${table.label}: fusion leaderboard`;
  picker.value = String(number);
  for (const link of document.querySelectorAll('.side a')) {
    if (Number(link.dataset.number) === number) link.setAttribute('aria-current', 'page'); else link.removeAttribute('aria-current');
  }
}

function follow() {
  const parts = new URLSearchParams(location.hash.slice(1));
  const asked = Number(parts.get('t'));
  const number = tables[asked] ? asked : 0;
  const moved = number !== current;
  showTable(number);
  if (moved) window.scrollTo(0, 0);
  if (parts.has('i') && tables[number].rows.length) viewer.open(number, tables[number], Number(parts.get('i')), { a: parts.get('a'), b: parts.get('b'), mode: parts.get('m') });
  else viewer.close();
}

const groups = [...new Set(tables.map(table => table.title))].map(title => [title, tables.map((table, number) => ({ table, number })).filter(({ table }) => table.title === title)]);
document.querySelector('.side').append(...groups.map(([title, entries]) => el('section', {}, el('h2', {}, title),
  el('ul', {}, entries.map(({ table, number }) => el('li', {}, el('a', { href: `#t=${number}`, 'data-number': number }, el('span', {}, breakable(titleOf(table))), el('span', { class: 'quiet count' }, ` ${table.pairs}`))))))));
picker.append(...groups.map(([title, entries]) => el('optgroup', { label: title }, entries.map(({ table, number }) => option(number, titleOf(table), false)))));
picker.addEventListener('change', () => { location.hash = `t=${picker.value}`; });
window.addEventListener('hashchange', follow);
follow();
