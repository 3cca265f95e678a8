// Light or dark colours: the button in the head, and what was chosen before.

const theme = document.getElementById('theme');
const THEMES = { auto: ['◐', 'Colours: as the system'], light: ['☀', 'Colours: light'], dark: ['☾', 'Colours: dark'] };
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  theme.textContent = THEMES[name][0];
  theme.setAttribute('aria-label', THEMES[name][1]);
  theme.title = THEMES[name][1];
}
function stored() { try { return localStorage.getItem('fusionkit-theme'); } catch { return null; } }
theme.addEventListener('click', () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  setTheme(next);
  try { localStorage.setItem('fusionkit-theme', next); } catch { /* a page from disk may have no storage: the choice lasts as long as the page */ }
});
setTheme(THEMES[stored()] ? stored() : 'auto');
