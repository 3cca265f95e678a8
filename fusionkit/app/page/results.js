// What was fused: the comparison, the scores beside it, notes and downloads.

const comparing = { a: null, b: null, mode: 'slider', gain: 4, full: false };
const MOST_JOBS = 6;

const digits = value => { const size = Math.abs(value); return size < 1 ? 4 : size < 10 ? 3 : size < 1000 ? 2 : 1; };

const nameOf = (jobs, job) => {
  const alike = jobs.filter(other => other.method === job.method);
  if (alike.length < 2) return job.method;
  return alike.some(other => other !== job && other.align !== job.align) ? `${job.method}, align ${job.align}` : `${job.method} (${alike.indexOf(job) + 1})`;
};

/** Images to compare in a scene: the sources as the last fusing took them, then every result with its maps. */
function itemsOfScene(set, jobs, scene, task) {
  const last = jobs[jobs.length - 1];
  const file = (job, name) => { const address = `api/sets/${set.set}/jobs/${job.key}/files/${scene}.${name}`; return [address, address]; };
  const items = last.scenes[scene].sources.map((label, k) => ({ id: `source:${k}`, label: task && task.sources[k] && task.sources[k] !== label ? `${task.sources[k]}: ${label}` : label, kind: 'source', pair: file(last, `source${k}`) }));
  if (last.scenes[scene].truth) items.push({ id: 'truth', label: 'known result', kind: 'source', pair: file(last, 'truth') });
  for (const job of jobs) {
    const own = job.scenes[scene];
    if (!own) continue;
    const label = nameOf(jobs, job);
    items.push({ id: `method:${job.key}`, label, kind: 'method', pair: file(job, 'fused') });
    for (const map of own.maps) items.push({ id: `map:${map}:${job.key}`, label: `weight ${map} of ${label}`, kind: 'map', pair: file(job, `map.${map}`) });
  }
  return items;
}

function scoreTable(jobs, scene) {
  const last = jobs[jobs.length - 1];
  const alike = jobs.filter(job => job.task === last.task && job.profile === last.profile && job.scenes[scene]);
  const best = metric => {
    const known = alike.map(job => job.scenes[scene].scores[metric.name]).filter(value => typeof value === 'number');
    return known.length > 1 ? (metric.higher_is_better ? Math.max(...known) : Math.min(...known)) : null;
  };
  return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Scores, scrolls sideways' },
    el('table', { class: 'board compact' },
      el('caption', { class: 'hidden' }, `Scores of ${last.scenes[scene].name}`),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Metric'), alike.map(job => el('th', { scope: 'col' }, breakable(nameOf(jobs, job)))))),
      el('tbody', {}, last.metrics.map(metric => el('tr', {},
        el('th', { scope: 'row', class: 'method', title: `${metric.title}: ${metric.measures}; ${better(metric)}; unit ${metric.unit}` }, el('span', { class: 'name' }, `${metric.name} ${arrow(metric)}`)),
        alike.map(job => {
          const { scores, reasons } = job.scenes[scene];
          const value = scores[metric.name];
          return el('td', { class: `number ${value !== null && value === best(metric) ? 'best' : ''}`, title: reasons[metric.name] || null }, typeof value === 'number' ? value.toFixed(digits(value)) : MISSING);
        }))),
        el('tr', {}, el('th', { scope: 'row', class: 'method' }, el('span', { class: 'name' }, 'Time')), alike.map(job => el('td', { class: 'number', title: 'to read, fuse and write all images' }, time(job.seconds)))))));
}

/** Draw the results of a set; `go` shows another scene. */
function drawResult(section, set, jobs, scene, choices, go) {
  const last = jobs[jobs.length - 1];
  const own = last.scenes[scene];
  const items = itemsOfScene(set, jobs, scene, choices.tasks.find(task => task.name === last.task));
  const known = id => items.some(item => item.id === id);
  if (!known(comparing.a)) comparing.a = items[0].id;
  if (!known(comparing.b)) comparing.b = `method:${last.key}`;
  const { nodes, stage, refresh } = createComparison(comparing, items, () => {});
  const base = `api/sets/${set.set}/jobs/${last.key}`;
  const many = last.scenes.length > 1;
  const step = (by, label, glyph) => el('button', { type: 'button', class: 'plain', 'data-keep': label, 'aria-label': label, disabled: !last.scenes[scene + by], onclick: () => go(scene + by, label) }, glyph);
  const notes = [...last.notes, ...last.problems.map(problem => `left out: ${problem}`), ...(last.mapped ? [] : [`${last.method} computes no weight of each source at each pixel: there are no maps`])];
  section.hidden = false;
  section.replaceChildren(
    el('div', { class: 'card' },
      el('header', { class: 'bar' },
        el('h2', { id: 'result-title', tabindex: '-1' }, own.name, el('span', { class: 'quiet small' }, ` ${own.size}, ${own.bits} bits, fused by ${last.method} on ${last.device} in ${time(last.seconds)}${many ? `, ${scene + 1} of ${last.scenes.length}` : ''}`)),
        many ? el('div', { class: 'tools' }, step(-1, 'Previous scene', '←'), step(1, 'Next scene', '→')) : null),
      ...nodes),
    el('aside', { class: 'beside', 'aria-label': 'Scores and downloads' },
      el('div', { class: 'card' }, el('h2', {}, 'Scores'),
        el('p', { class: 'quiet small' }, `profile ${last.profile}; the sources as they are shown`), scoreTable(jobs, scene)),
      el('div', { class: 'card' }, el('h2', {}, 'Download'),
        el('ul', { class: 'downloads' },
          el('li', {}, el('a', { href: `${base}/files/${scene}.result`, download: own.file }, 'Fused image'), el('span', { class: 'quiet small' }, ` ${own.file}, ${own.bits} bits`)),
          el('li', {}, el('a', { href: `${base}/files/record`, download: 'fusion.json' }, 'Record'), el('span', { class: 'quiet small' }, ' method, settings, digests, scores')),
          el('li', {}, el('a', { href: `${base}/all.zip`, download: 'fused.zip' }, 'Everything'), el('span', { class: 'quiet small' }, ` ${plural(last.scenes.length, 'image')}, maps, record`)))),
      notes.length ? el('ul', { class: 'notes' }, notes.map(note => el('li', {}, note))) : null));
  refresh();
  stage.fit();
}
