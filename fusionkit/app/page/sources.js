// Images that were dropped or chosen, in groups: one group per source.

const natural = (a, b) => a.localeCompare(b, undefined, { numeric: true });

/** The files of a drop with their paths below what was dropped; folders are walked. */
async function filesOfDrop(transfer) {
  const entries = [...transfer.items].map(item => (item.webkitGetAsEntry ? item.webkitGetAsEntry() : null)).filter(Boolean);
  if (!entries.length) return [...transfer.files].map(file => ({ file, path: file.name }));
  const found = [];
  const asked = run => new Promise(run);
  async function walk(entry, above) {
    if (entry.isFile) { found.push({ file: await asked((done, fail) => entry.file(done, fail)), path: above + entry.name }); return; }
    const reader = entry.createReader();
    for (;;) {
      const some = await asked((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const inner of some) await walk(inner, `${above}${entry.name}/`);
    }
  }
  for (const entry of entries) await walk(entry, '');
  return found;
}

/** The files of an input, with their paths where a folder was chosen. */
const filesOfInput = input => [...input.files].map(file => ({ file, path: file.webkitRelativePath || file.name }));

/**
 * Groups {label, files}: each loose file is a source, each of several folders is one, and of a folder alone each image.
 * Files in folders that are no images are left out; their number is told.
 */
function groupsOf(found, suffixes) {
  const known = path => suffixes.some(suffix => path.toLowerCase().endsWith(suffix));
  const hidden = path => path.split('/').some(part => part.startsWith('.'));
  const loose = found.filter(({ path }) => !path.includes('/'));
  const inside = found.filter(({ path }) => path.includes('/'));
  const images = inside.filter(({ path }) => known(path) && !hidden(path)).sort((a, b) => natural(a.path, b.path));
  const folders = new Map();
  for (const { file, path } of images) {
    const folder = path.slice(0, path.lastIndexOf('/'));
    if (!folders.has(folder)) folders.set(folder, []);
    folders.get(folder).push(file);
  }
  const groups = loose.map(({ file }) => ({ label: '', files: [file] }));
  if (folders.size === 1) groups.push(...[...folders.values()][0].map(file => ({ label: '', files: [file] })));
  else for (const [folder, files] of folders) groups.push({ label: folder.slice(folder.lastIndexOf('/') + 1), files });
  return { groups, left: inside.length - images.length };
}

/** Send groups to the server, which answers with a set of sources. */
function sendGroups(groups) {
  const body = new FormData();
  groups.forEach(({ label, files }, k) => {
    if (label) body.append(`label${k + 1}`, label);
    for (const file of files) body.append(`source${k + 1}`, file, file.name);
  });
  return ask('api/sets', { method: 'POST', body });
}
