// Two of several images in one frame: which two, how they are compared, and a film of all of them to choose from.

const MODES = [['slider', 'Slider'], ['side', 'Side by side'], ['difference', 'Difference']];

/**
 * The parts of a comparison, to be put into the page in their order.
 *
 * `now` holds the choice {a, b, mode, gain, full} and is changed with it; `items` are {id, label, kind, pair, why} with
 * a pair of addresses, of a preview and of the image itself; `changed` is called after every choice.
 */
function createComparison(now, items, changed) {
  const stage = createStage();
  const set = (side, id) => { now[side] = id; refresh(); };
  const choose = side => el('label', { class: 'choice' }, el('span', { class: `side-${side}` }, side.toUpperCase()), el('span', { class: 'hidden' }, side === 'a' ? 'left image' : 'right image'),
    el('select', { name: side, onchange: event => set(side, event.target.value) },
      [['source', 'sources'], ['method', 'methods'], ['map', 'weight maps']].map(([kind, label]) => {
        const some = items.filter(item => item.kind === kind);
        return some.length ? el('optgroup', { label }, some.map(item => option(item.id, item.label, false))) : null;
      })));
  const tool = (label, glyph, run) => el('button', { type: 'button', class: 'plain', 'aria-label': label, title: label, onclick: run }, glyph);
  const previewed = items.some(item => item.pair && item.pair[1] && item.pair[1] !== item.pair[0]);
  const controls = el('div', { class: 'controls' }, choose('a'), tool('Exchange the two images', '⇄', () => { [now.a, now.b] = [now.b, now.a]; refresh(); }), choose('b'),
    el('fieldset', { class: 'modes' }, el('legend', { class: 'hidden' }, 'Compare by'), MODES.map(([value, label]) => el('label', {}, el('input', { type: 'radio', name: 'mode', value, onchange: () => { now.mode = value; refresh(); } }), el('span', {}, label)))),
    el('label', { class: 'gain' }, el('span', { class: 'quiet' }, 'gain '), el('input', { type: 'range', min: '1', max: '16', step: '0.5', value: now.gain, oninput: event => { now.gain = Number(event.target.value); refresh(); } })),
    el('div', { class: 'tools' }, tool('Zoom out', '−', () => stage.zoom(1 / 1.5)), tool('Fit', '⤢', () => stage.fit()), tool('Zoom in', '+', () => stage.zoom(1.5)),
      previewed ? el('label', { class: 'check' }, el('input', { type: 'checkbox', checked: now.full, onchange: event => { now.full = event.target.checked; refresh(); } }), 'original files') : null));
  const film = el('ul', { class: 'film', 'aria-label': 'Images to compare' }, items.map(item => el('li', { class: item.kind },
    el('figure', {}, picture(item.pair, ''), el('figcaption', { title: item.why }, item.label)),
    item.pair ? el('div', { class: 'sides' }, ['a', 'b'].map(side => el('button', { type: 'button', 'data-side': side, 'data-id': item.id, 'aria-label': `${item.label} as ${side.toUpperCase()}`, onclick: () => set(side, item.id) }, side.toUpperCase()))) : el('span', { class: 'flag' }, item.why))));

  function refresh() {
    const chosen = side => {
      const item = items.find(found => found.id === now[side]) || { id: now[side], label: 'not there', pair: null };
      const pair = item.pair || ['', ''];
      // A difference of compressed copies would show the compression.
      return { ...item, address: ((now.full || now.mode === 'difference') && pair[1]) || pair[0] };
    };
    stage.show(chosen('a'), chosen('b'), now.mode, now.gain);
    for (const side of ['a', 'b']) controls.querySelector(`select[name=${side}]`).value = now[side];
    for (const button of film.querySelectorAll('[data-side]')) button.setAttribute('aria-pressed', String(now[button.dataset.side] === button.dataset.id));
    for (const radio of controls.querySelectorAll('input[name=mode]')) radio.checked = radio.value === now.mode;
    controls.querySelector('.gain').hidden = now.mode !== 'difference';
    changed();
  }
  return { nodes: [controls, stage.node, stage.split, film], stage, refresh };
}
