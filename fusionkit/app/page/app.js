// The page: what is dropped becomes a set of sources on the server, a fusing is asked for and waited for.

const byId = id => document.getElementById(id);
const page = { choices: null, groups: [], set: null, jobs: [], scene: 0, running: null };

/** Ask the server; what it refuses, or its silence, becomes an error in words. */
async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error("the server does not answer: is 'fusionkit app' still running? An upload that is too large is cut off, too");
  }
  const told = await answer.json().catch(() => ({ error: `the server answered ${answer.status}` }));
  if (!answer.ok) throw new Error(told.error || `the server answered ${answer.status}`);
  return told;
}

function complain(error) {
  const place = byId('error');
  place.textContent = error ? error.message || String(error) : '';
  place.hidden = !error;
  if (error) place.scrollIntoView({ block: 'nearest' });
}

function progress(text, value, cancel) {
  byId('progress').replaceChildren(...(text ? [
    el('span', {}, text), el('progress', value ? { value: value.done, max: value.total, 'aria-label': text } : { 'aria-label': text }),
    cancel ? el('button', { type: 'button', class: 'plain text', onclick: cancel }, 'Cancel') : ''] : []));
}

function draw(keep) {
  byId('clear').hidden = !page.set;
  byId('drop').classList.toggle('filled', Boolean(page.set));
  if (!page.set) {
    byId('sources').replaceChildren();
    byId('form').hidden = true;
    byId('result').hidden = true;
    return;
  }
  const redraw = name => draw(name);
  drawSources(byId('sources'), page.choices, page.set, redraw);
  drawForm(byId('form'), page.choices, page.set, { submit: () => fuse().catch(complain), redraw, busy: Boolean(page.running) });
  const again = keep && (document.querySelector(`[data-keep="${keep}"]:not([disabled])`) || document.querySelector(`[name="${keep}"]`) || byId('choose-images'));
  if (again) again.focus();
}

function take(set) {
  if (page.set) ask(`api/sets/${page.set.set}`, { method: 'DELETE' }).catch(() => {});
  Object.assign(page, { set, jobs: [], scene: 0 });
  Object.assign(comparing, { a: null, b: null });
  chosen.ranges = [];
  if (set.task) chosen.task = set.task;
  byId('result').hidden = true;
  draw();
}

/** Add what was dropped to what is there, or begin anew after a result. */
async function add(found) {
  if (page.running || !page.choices) return;
  complain(null);
  const { groups, left } = groupsOf(found, page.choices.suffixes);
  if (!groups.length) { complain(`there is no image in it (${page.choices.suffixes.join(', ')})`); return; }
  const all = page.jobs.length || !page.groups.length ? groups : [...page.groups, ...groups];
  progress('sending the images…');
  try {
    take(await sendGroups(all));
    page.groups = all;
  } catch (error) { complain(error); }
  progress(left ? `left out ${plural(left, 'file')} that ${left === 1 ? 'is' : 'are'} no image` : '');
  if (left) byId('progress').querySelector('progress').remove();
}

async function fuse() {
  complain(null);
  const base = `api/sets/${page.set.set}/jobs`;
  let job = await ask(base, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(orderOf(page.choices, page.set)) });
  page.running = job.key;
  draw();
  try {
    while (!['done', 'failed', 'cancelled'].includes(job.state)) {
      const counted = job.total > 1 ? ` ${job.done + 1 > job.total ? job.total : job.done + 1} of ${job.total}` : '';
      const { key } = job;
      progress(job.state === 'waiting' ? 'waiting for other fusings…' : `${job.step || 'fusing'}${counted}…`, job.total > 1 ? job : null, () => ask(`${base}/${key}`, { method: 'DELETE' }).catch(complain));
      await new Promise(done => setTimeout(done, 200));
      job = await ask(`${base}/${job.key}`);
    }
  } finally {
    page.running = null;
    progress('');
    draw();
  }
  if (job.state === 'failed') throw new Error(job.error);
  if (job.state !== 'done') return;
  page.jobs = [...page.jobs, job].slice(-MOST_JOBS);
  if (!job.scenes[page.scene]) page.scene = 0;
  comparing.b = `method:${job.key}`;
  show(page.scene);
  byId('result-title').focus();
  byId('result').scrollIntoView({ block: 'nearest' });
}

function show(scene, keep) {
  page.scene = scene;
  drawResult(byId('result'), page.set, page.jobs, scene, page.choices, show);
  const again = keep && byId('result').querySelector(`[data-keep="${keep}"]:not([disabled])`);
  if (again) again.focus();
}

async function begin(number) {
  if (page.running) return;
  complain(null);
  const set = await ask(`api/gallery/${number}`, { method: 'POST' });
  page.groups = [];
  take(set);
  await fuse();
}

async function openGallery() {
  const scenes = await ask('api/gallery');
  const titles = new Map(page.choices.tasks.map(task => [task.name, task.title]));
  byId('gallery-told').textContent = 'a click fuses it';
  byId('gallery').querySelector('ul').replaceChildren(...scenes.map((scene, number) => el('li', {},
    el('button', { type: 'button', class: 'tile', 'aria-label': `Fuse the sample ${scene.name}, ${titles.get(scene.task)}`, onclick: () => begin(number).catch(complain) },
      el('span', { class: 'halves' }, Array.from({ length: scene.sources }, (_, k) => el('img', { src: `api/gallery/${number}/${k}.png`, alt: '', loading: 'lazy' }))),
      el('span', { class: 'caption' }, titles.get(scene.task) || scene.task)))));
}

for (const [button, input] of [['choose-images', 'images'], ['choose-folder', 'folder']]) {
  byId(button).addEventListener('click', () => byId(input).click());
  byId(input).addEventListener('change', async () => {
    const found = filesOfInput(byId(input));
    byId(input).value = '';
    await add(found);
  });
}
byId('clear').addEventListener('click', () => {
  if (page.running) return;
  ask(`api/sets/${page.set.set}`, { method: 'DELETE' }).catch(() => {});
  Object.assign(page, { set: null, groups: [], jobs: [] });
  complain(null);
  progress('');
  draw();
  byId('choose-images').focus();
});
for (const name of ['dragenter', 'dragover']) {
  window.addEventListener(name, event => { event.preventDefault(); document.body.classList.add('over'); });
}
window.addEventListener('dragleave', event => { if (!event.relatedTarget) document.body.classList.remove('over'); });
window.addEventListener('drop', async event => {
  event.preventDefault();
  document.body.classList.remove('over');
  await add(await filesOfDrop(event.dataTransfer).catch(error => { complain(error); return []; }));
});

(async () => {
  page.choices = await ask('api/choices');
  const { limits } = page.choices;
  byId('drop-help').textContent = `Drop two or more images of one scene here, a folder of a stack, or a folder with one folder per source. Up to ${limits.files} files and ${limits.megabytes} MB.`;
  byId('foot').textContent = `Everything stays on this machine. Images are deleted after ${page.choices.keep_minutes} minutes without use, and when the server ends.`;
  await openGallery();
})().catch(error => { byId('gallery-told').textContent = ''; complain(error); });
