// Every image of a table as a grid; an image opens the viewer.

const PAGE = 240;

function gallerySection(number, table, openImage) {
  const data = valuesOf(number);
  const cover = new Map();
  for (const method of data.methods) method.at.forEach((at, k) => { if (!cover.has(at)) cover.set(at, method.fused[k]); });
  const grid = el('ul', { class: 'grid' });
  const more = el('button', { type: 'button', class: 'plain wide' });
  const told = el('span', { class: 'quiet small', role: 'status' });
  const choices = { text: '', order: 'data', limit: PAGE };
  const scores = scoresOf(table).filter(column => column.ranks);
  const valuesAt = () => {
    const [place, metric] = choices.order.split('|');
    const method = data.methods[Number(place)];
    const found = new Map(method.at.map((at, k) => [at, method.values[metric] ? method.values[metric][k] : null]));
    return at => found.get(at);
  };
  const draw = () => {
    const wanted = choices.text.trim().toLowerCase();
    let shown = data.images.slice(0, data.pictured).map((image, at) => ({ image, at })).filter(({ image }) => image.name.toLowerCase().includes(wanted));
    let value = null;
    if (choices.order !== 'data') {
      value = valuesAt();
      const column = scores.find(found => found.key === choices.order.split('|')[1]);
      shown = shown.sort(byValue(({ at }) => value(at), !column.higher_is_better));
    }
    told.textContent = plural(shown.length, 'image') + (data.pictured < data.images.length ? `; this copy has those of ${data.pictured} of ${data.images.length} pairs` : '');
    grid.replaceChildren(...shown.slice(0, choices.limit).map(({ image, at }) => el('li', {},
      el('button', { type: 'button', class: 'tile', onclick: () => openImage(at) },
        picture(cover.get(at), ''),
        el('span', { class: 'caption' }, image.name, value ? el('span', { class: 'value' }, fixed(value(at), 3)) : null)))));
    more.hidden = shown.length <= choices.limit;
    more.textContent = `Show ${Math.min(PAGE, shown.length - choices.limit)} more of ${shown.length}`;
  };
  more.addEventListener('click', () => { choices.limit += PAGE; draw(); });
  const section = el('section', { class: 'card', 'aria-labelledby': 'images-title' },
    el('div', { class: 'bar' }, el('h2', { id: 'images-title' }, 'Images'), told,
      el('label', {}, el('span', { class: 'hidden' }, 'Find an image'), el('input', { type: 'search', placeholder: 'find a name', oninput: event => { choices.text = event.target.value; choices.limit = PAGE; draw(); } })),
      el('label', {}, el('span', { class: 'quiet' }, 'order '), el('select', { onchange: event => { choices.order = event.target.value; draw(); } },
        option('data', 'of the data set', true),
        table.rows.map((row, k) => el('optgroup', { label: `worst first, ${row.method}` }, scores.filter(column => row.means[column.key]).map(column => option(`${k}|${column.key}`, `${column.title} of ${row.method}`, false))))))),
    grid, more);
  draw();
  return section;
}
