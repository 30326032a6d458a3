// ---- Main: the page's state and its changes ----

const THEMES = { auto: "◐", light: "☀", dark: "☾" };
const state = {
  number: 0, // the step's number in the page
  step: null,
  groups: [],
  order: [], // rows in the order of the list
  scoreRange: [0, 0],
  row: null, // open trajectory; null shows the overview
  beside: null, // the one of the other run beside it
  spans: new Map(), // token -> its span, of what is open
  token: null, // the selected token
  mode: MODES[0],
  sort: "file",
  descending: false,
  dim: null,
  scope: "all",
  theme: "auto",
};

/** Show another step; the same trajectory stays open if the step has it. */
async function openStep(number, wanted = null, beside = null) {
  state.number = number;
  document.getElementById("step").value = number;
  document.getElementById("step-label").textContent = `step ${count(MANIFEST[number].step)}`;
  const before = state.row === null ? null : state.step.rows[state.row];
  const step = await loadStep(number);
  if (state.number !== number) return; // another step was requested meanwhile
  state.step = step;
  state.scoreRange = rangeOfScores(step);
  const same = (row) => before && ["run", "uid", "session", "output"].every((key) => row[key] === before[key]);
  const found = wanted ?? step.rows.findIndex(same);
  state.row = null;
  redrawStrips();
  buildList();
  openRow(found >= 0 && found < step.rows.length ? found : null, beside);
}

/** Show a trajectory, beside it the wanted one of the other run or one that fits, or with null the overview. */
function openRow(index, beside = null) {
  hideTip();
  state.row = index;
  state.beside = besideOf(index, beside);
  state.spans = new Map();
  state.token = null;
  if (index === null) showOverview();
  else showTrajectory(index);
  markCurrent();
  showPanel(null);
  showLegend();
  writeHash();
}

function setMode(mode) {
  state.mode = mode;
  markMode();
  repaintTokens();
  redrawStrips();
  showScale();
  writeHash();
}

function markMode() {
  for (const element of document.querySelectorAll("#modes button")) {
    element.setAttribute("aria-pressed", String(element.dataset.mode === state.mode.key));
  }
}

function setTheme(theme) {
  state.theme = theme;
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const element = document.getElementById("theme");
  element.textContent = THEMES[theme];
  element.setAttribute("aria-label", `Theme: ${theme}`);
}

function nextTheme() {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(state.theme) + 1) % names.length]);
  writeHash();
}

/** Sort the list; quantities start with the largest. */
function setSort(sort, descending) {
  state.sort = sort;
  state.descending = descending;
  const element = document.getElementById("direction");
  element.textContent = descending ? "↓" : "↑";
  element.setAttribute("aria-label", descending ? "Largest first" : "Smallest first");
  element.title = element.getAttribute("aria-label");
}

function sortAgain() {
  showList();
  if (state.row === null) showOverview();
  showLegend();
}

/** The view as the fragment of the page's address, so that a link reopens it. */
function writeHash() {
  const view = new URLSearchParams({ step: state.step.meta.step, mode: state.mode.key });
  if (state.row !== null) view.set("row", state.row);
  if (state.beside !== null) view.set("beside", state.beside);
  if (state.token !== null) {
    const row = rowOf(state.step, state.token);
    view.set("token", state.token - row.begin);
    if (row !== state.step.rows[state.row]) view.set("side", "beside");
  }
  if (state.theme !== "auto") view.set("theme", state.theme);
  history.replaceState(null, "", `#${view}`);
}

/** Open the view in the page's address. */
async function readHash() {
  const view = new URLSearchParams(location.hash.slice(1));
  setTheme(view.get("theme") in THEMES ? view.get("theme") : "auto");
  state.mode = MODES.find((mode) => mode.key === view.get("mode")) ?? MODES[0];
  const number = MANIFEST.findIndex(({ step }) => String(step) === view.get("step"));
  markMode();
  const [row, beside] = ["row", "beside"].map((key) => (view.has(key) ? Number(view.get(key)) : -1));
  await openStep(Math.max(0, number), row, beside);
  if (state.row === null || !view.has("token")) return;
  const { begin, end } = state.step.rows[view.has("side") && state.beside !== null ? state.beside : state.row];
  const i = begin + Number(view.get("token"));
  if (i < end && state.spans.has(i)) pinToken(i); // text of tools has no spans until opened
}

function listen(id, event, does) {
  document.getElementById(id).addEventListener(event, does);
}

function buildControls() {
  document.getElementById("modes").append(
    ...MODES.map((mode, place) => {
      const element = button("", () => setMode(mode), mode.label);
      element.dataset.mode = mode.key;
      element.title = `${mode.title} (${place + 1})`;
      return element;
    }),
  );
  document.getElementById("steps").hidden = MANIFEST.length < 2;
  document.getElementById("step").max = MANIFEST.length - 1;
  setSort("file", false);
  buildPair();
  buildHelp();
}

function listenToControls() {
  listen("to-overview", "click", () => openRow(null));
  listen("step", "input", (event) => openStep(Number(event.target.value)));
  listen("step-back", "click", () => moveStep(-1));
  listen("step-on", "click", () => moveStep(1));
  listen("theme", "click", nextTheme);
  listen("help-open", "click", () => document.getElementById("help").showModal());
  listen("help-close", "click", () => document.getElementById("help").close());
  listen("sort", "change", (event) => {
    setSort(event.target.value, event.target.value !== "file");
    sortAgain();
  });
  listen("direction", "click", () => {
    setSort(state.sort, !state.descending);
    sortAgain();
  });
  for (const id of ["filter", ...["tool", "error", "source", "low", "high"].map((name) => `filter-${name}`)]) {
    listen(id, "input", sortAgain);
  }
  for (const scope of ["all", "one"]) {
    listen(`scope-${scope}`, "click", () => {
      state.scope = scope;
      showLegend();
    });
  }
  listenToTokens();
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", readHash);
}

function listenToTokens() {
  listen("main", "pointerover", ({ target }) => {
    const span = target.closest(".t[data-i]");
    if (!span) return;
    showTip(span);
    showPanel(Number(span.dataset.i));
  });
  listen("main", "pointerout", ({ target }) => {
    if (!target.closest(".t[data-i]")) return;
    hideTip();
    showPanel(state.token);
  });
  listen("main", "click", ({ target }) => {
    const span = target.closest(".t[data-i]");
    if (span) pinToken(Number(span.dataset.i));
  });
  document.getElementById("main").addEventListener("scroll", hideTip, { passive: true });
}

async function start() {
  buildControls();
  await readHash();
  listenToControls();
  // after two frames the new elements are on the screen
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      performance.mark("viewer-ready");
      document.documentElement.dataset.ready = "true";
    }),
  );
}

function fail(error) {
  const element = document.getElementById("failure");
  element.textContent = `This page cannot be shown: ${error}. It needs a browser of 2024 or later.`;
  element.hidden = false;
  throw error;
}

start().catch(fail);
