// ---- Side by side: the trajectories of the same prompt in two runs, or under two presets ----

/** Whether the page shows two runs. */
function isPair() {
  return RUNS.length === 2;
}

/** The rows of the same prompt in the other run, by score. */
function rowsBeside(index) {
  const row = state.step.rows[index];
  const group = state.groups.find((one) => one.uid === row.uid);
  return group.rows.filter((other) => other.run !== row.run);
}

/** The row to show beside a row: the wanted one, else the one of the same number, else the best; null without any. */
function besideOf(index, wanted) {
  if (!isPair() || index === null) return null;
  const rows = rowsBeside(index);
  const { session, output } = state.step.rows[index];
  const found =
    rows.find((row) => row.index === wanted) ?? rows.find((row) => row.session === session && row.output === output) ?? rows[0];
  return found?.index ?? null;
}

/** The open row and the one beside it, the first run on the left. */
function pairElement(index) {
  const row = state.step.rows[index];
  const sides = [sideElement(row), state.beside === null ? emptySide(1 - row.run) : sideElement(state.step.rows[state.beside])];
  const group = state.groups.find((one) => one.uid === row.uid);
  return make("div", "pair", make("h2", "title", group.headline || "no prompt"), ...(row.run === 0 ? sides : sides.reverse()));
}

function sideElement(row) {
  const element = make("section", "half", sideHead(row), trajectoryElement(row));
  element.dataset.run = row.run;
  return element;
}

function emptySide(run) {
  return make("section", "half", make("p", "label run", RUNS[run]), make("p", "empty", "It has no trajectory of this prompt here."));
}

/** The run's name, and a choice among its trajectories of the prompt. */
function sideHead(row) {
  const group = state.groups.find((one) => one.uid === row.uid);
  const rows = group.rows.filter((one) => one.run === row.run);
  const select = make("select", "", ...rows.map(rowOption));
  select.setAttribute("aria-label", `Trajectory of ${RUNS[row.run]}`);
  select.value = String(state.step.rows.indexOf(row));
  select.addEventListener("change", () => showInstead(row.run, Number(select.value)));
  return make("header", "run", make("strong", "", RUNS[row.run]), select);
}

function rowOption(row) {
  const text = `score ${short(row.score)}, ${count(row.end - row.begin, "token")}, rollout ${row.session}`;
  return Object.assign(make("option", "", text), { value: row.index });
}

/** Show another trajectory of a run; the other side stays. */
function showInstead(run, index) {
  if (state.step.rows[state.row].run === run) openRow(index, state.beside);
  else openRow(state.row, index);
}

/** Show the next trajectory of the other run. */
function moveBeside() {
  if (state.row === null || state.beside === null) return;
  const rows = rowsBeside(state.row);
  openRow(state.row, rows[(rows.findIndex((row) => row.index === state.beside) + 1) % rows.length].index);
}

/** For each run its name and its scores of a group. */
function pairNumbers(group) {
  const lines = RUNS.map((name, run) => {
    const scores = scoresOf(group.rows.find((row) => row.run === run));
    const text = scores.length ? `${name}: mean ${short(mean(scores))}` : `${name}: none`;
    return make("p", "numbers", make("span", "", text), ...(scores.length ? [dotsOf(scores, null)] : []));
  });
  return make("div", "", ...lines);
}

/** Mean score of the second run minus that of the first. */
function differenceOf(rows) {
  const [first, second] = RUNS.map((_, run) => mean(scoresOf(rows.find((row) => row.run === run))));
  return second - first;
}

/** The rows of a group in the overview: a column for each run. */
function pairLines(rows, lineOf) {
  const columns = RUNS.map((_, run) => make("div", "", ...rows.filter((row) => row.run === run).map(lineOf)));
  return make("div", "columns", ...columns);
}

/** A fact that is the same of both runs once, and one that differs of each. */
function factOfRuns(name) {
  const values = state.step.metas.map((meta) => meta[name]);
  return values.every((value) => value === values[0]) ? values[0] : values.map((value) => value || "–").join(" | ");
}

/** Controls that only two runs need. */
function buildPair() {
  if (!isPair()) return;
  document.body.classList.add("two");
  document.getElementById("sort").append(Object.assign(make("option", "", "by difference"), { value: "difference" }));
}
