// The form: task, method, ranges, alignment; what is chosen is kept when the sources change.

const ALIGNED = { none: 'no alignment', auto: 'automatic', translation: 'shift', rigid: 'shift and turn', affine: 'affine', homography: 'homography', resize: 'resize only' };
const MATCHED = { stem: 'by equal names', number: 'by the numbers in their names', order: 'in order' };

const chosen = { task: '', method: {}, align: 'none', match: 'stem', profile: '', ranges: [] };

function field(label, control, hint) {
  return el('label', { class: 'field' }, el('span', {}, label), control, hint ? el('span', { class: 'quiet small' }, hint) : null);
}

function select(name, entries, value, onchange) {
  return el('select', { name, onchange: event => onchange(event.target.value) }, entries.map(([key, label]) => option(key, label, key === value)));
}

const taskOf = choices => choices.tasks.find(task => task.name === chosen.task) || choices.tasks[0];

/** Draw the form for a set of sources; `submit` is called when it is sent, `redraw` when the task changes. */
function drawForm(form, choices, set, { submit, redraw, busy }) {
  const task = taskOf(choices);
  chosen.task = task.name;
  if (!task.methods.includes(chosen.method[task.name])) chosen.method[task.name] = task.methods[0];
  const profile = chosen.profile || task.profile;
  const short = set.order.length < 2;
  form.hidden = false;
  form.replaceChildren(...[
    el('h2', { id: 'form-title' }, 'How to fuse'),
    field('Task', select('task', choices.tasks.map(({ name, title }) => [name, title]), task.name, value => { chosen.task = value; chosen.profile = ''; redraw('task'); })),
    field('Method', select('method', task.methods.map(name => [name, name]), chosen.method[task.name], value => { chosen.method[task.name] = value; })),
    field('Align', select('align', choices.aligns.map(name => [name, ALIGNED[name] || name]), chosen.align, value => { chosen.align = value; }), 'the others onto the second source'),
    set.scenes > 1 ? field('Match', select('match', choices.matches.map(name => [name, MATCHED[name] || name]), chosen.match, value => { chosen.match = value; }), 'files of the folders') : null,
    field('Scores', select('profile', choices.profiles.map(({ name, title }) => [name, `${name}: ${title}`]), profile, value => { chosen.profile = value; })),
    el('datalist', { id: 'ranges' }, choices.ranges.map(range => el('option', { value: range }))),
    el('div', { class: 'tools' },
      el('button', { type: 'submit', class: 'go', disabled: short || busy }, 'Fuse'),
      short ? el('span', { class: 'quiet small' }, 'two or more sources are needed: add an image') : null)].filter(Boolean));
  form.onsubmit = event => { event.preventDefault(); if (!short && !busy) submit(); };
}

/** Draw the sources in their order, with their roles in the task. */
function drawSources(list, choices, set, redraw) {
  const task = taskOf(choices);
  const move = (place, by) => { const order = set.order; [order[place], order[place + by]] = [order[place + by], order[place]]; redraw(`move-${place + by}-${by}`); };
  const button = (key, label, glyph, disabled, run) => el('button', { type: 'button', class: 'plain', 'data-keep': key, 'aria-label': label, title: label, disabled, onclick: run }, glyph);
  list.replaceChildren(...set.order.map((number, place) => {
    const source = set.sources[number];
    const role = task.sources[place] || `source ${place + 1}`;
    return el('li', {},
      el('img', { src: `api/sets/${set.set}/source/${number}.png`, alt: '', width: 72, height: 54 }),
      el('div', { class: 'grow' },
        el('span', { class: 'tag' }, role), ' ', el('b', {}, breakable(source.label)),
        el('span', { class: 'quiet small block' }, source.about),
        el('label', { class: 'range small' }, el('span', { class: 'quiet' }, 'range '),
          el('input', { type: 'text', list: 'ranges', size: 14, maxlength: 60, value: chosen.ranges[number] || 'auto', 'aria-label': `Range of the ${role}`, oninput: event => { chosen.ranges[number] = event.target.value; } }))),
      el('div', { class: 'moves' },
        button(`move-${place}--1`, `Move ${source.label} up`, '↑', place === 0, () => move(place, -1)),
        button(`move-${place}-1`, `Move ${source.label} down`, '↓', place === set.order.length - 1, () => move(place, 1)),
        button(`out-${place}`, `Leave out ${source.label}`, '✕', false, () => { set.order.splice(place, 1); redraw(`out-${Math.max(0, place - 1)}`); })));
  }));
}

/** What is asked for, as the server reads it. */
function orderOf(choices, set) {
  const task = taskOf(choices);
  return { order: set.order, task: task.name, method: chosen.method[task.name], align: chosen.align, match: chosen.match,
    profile: chosen.profile || task.profile, ranges: set.order.map(number => (chosen.ranges[number] || 'auto').trim()) };
}
