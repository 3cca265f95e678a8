// Nodes, numbers and stored data. Text reaches the document through text nodes alone.

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [key, part] of Object.entries(value)) node.style.setProperty(key, part);
    else node.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children.flat(3)) if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

const el = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

const read = id => JSON.parse(document.getElementById(id).textContent);

const loaded = new Map();
/** The images and values of one table, parsed when first asked for. */
function valuesOf(number) {
  if (!loaded.has(number)) loaded.set(number, read(`values-${number}`));
  return loaded.get(number);
}

const MISSING = '–';
const fixed = (value, decimals) => (value === null || value === undefined ? MISSING : value.toFixed(decimals));
const percent = value => (value === null || value === undefined ? MISSING : `${Math.round(value * 100)} %`);

function scaled(value, units, step) {
  if (value === null || value === undefined) return MISSING;
  let place = 0;
  while (value >= step && place < units.length - 1) { value /= step; place += 1; }
  return `${place ? value.toPrecision(3) : Math.round(value)} ${units[place]}`.trim();
}
const count = value => scaled(value, ['', 'k', 'M', 'G'], 1000);
const bytes = value => scaled(value, ['B', 'KiB', 'MiB', 'GiB', 'TiB'], 1024);
function time(value) {
  if (value === null || value === undefined) return MISSING;
  if (value >= 1) return `${Number(value.toPrecision(3))} s`;
  if (value >= 1e-3) return `${Number((value * 1e3).toPrecision(3))} ms`;
  return `${Number((value * 1e6).toPrecision(3))} µs`;
}

/** A value as its column writes it. */
function written(value, column) {
  if (value === null || value === undefined) return MISSING;
  switch (column.format) {
    case 'percent': return (100 * value).toFixed(column.decimals);
    case 'share': return percent(value);
    case 'count': return count(value);
    case 'seconds': return time(value);
    case 'bytes': return bytes(value);
    default: return value.toFixed(column.decimals);
  }
}

const scoresOf = table => table.table_columns.filter(column => column.score);
/** A single image's value, with a digit more than the mean of many. */
const writtenOne = (value, column) => written(value, { ...column, decimals: column.decimals + 1 });

/** A name that may break behind its hyphens and underscores. */
const breakable = name => name.split(/(?<=[-_])/).flatMap((part, k) => (k ? [el('wbr'), part] : [part]));

const arrow = metric => (metric.higher_is_better ? '↑' : '↓');
const better = metric => (metric.higher_is_better ? 'higher is better' : 'lower is better');
const plural = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;

/** Put ``null`` last whatever the direction. */
function byValue(get, descending) {
  return (a, b) => {
    const [x, y] = [get(a), get(b)];
    const [none, other] = [x === null || x === undefined, y === null || y === undefined];
    if (none || other) return none - other;
    const order = typeof x === 'string' ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
    return descending ? -order : order;
  };
}

function picture(pair, alternative, attributes) {
  if (!pair || !pair[0]) return el('span', { class: 'absent', role: 'img', 'aria-label': `${alternative}: not there` }, 'image not there');
  return el('img', { src: pair[0], alt: alternative, loading: 'lazy', decoding: 'async', draggable: 'false', ...attributes });
}

function option(value, label, chosen) {
  return el('option', { value, selected: chosen }, label);
}

/** Show a dialog over the page; a click on its backdrop and Escape close it, and focus goes back. */
function openDialog(dialog) {
  if (!dialog.open) dialog.showModal();
  dialog.onclick = event => { if (event.target === dialog) closeDialog(dialog); };
}

/** Close it and tell so now: the browser's own event comes with the next frame, which may be late. */
function closeDialog(dialog) {
  if (!dialog.open) return;
  dialog.close();
  dialog.dispatchEvent(new Event('close'));
}
