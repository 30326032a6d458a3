// ---- Overview: the whole step at a glance, all strips on one scale ----

/** Show the overview in the main pane. */
function showOverview() {
  const { metas } = state.step;
  const trajectories = metas.reduce((sum, meta) => sum + meta.trajectories, 0);
  const longest = Math.max(...state.step.rows.map((row) => row.end - row.begin), 1);
  const facts = [
    ["shown", `${count(state.step.rows.length)} of ${count(trajectories)} trajectories`],
    ["tokens", count(state.step.arrays.token.length)],
    ["format", factOfRuns("format")],
    ["scheme", factOfRuns("scheme")],
    ["weights in", factOfRuns("apply_in")],
    ["estimator", factOfRuns("base_estimator")],
  ];
  const blocks = shownGroups().map((group) => overviewGroup(group, longest));
  const heading = make("h2", "title", stepText());
  const hint = make("p", "note", `One line is one trajectory; the longest has ${count(longest, "token")}. Click one to read it.`);
  document.getElementById("main").replaceChildren(make("div", "overview", heading, factList(facts), hint, ...blocks));
}

function overviewGroup(group, longest) {
  const head = make("header", "", make("h3", "headline", group.headline || "no prompt"), groupNumbers(group));
  const lineOf = (row) => wideLine(row, longest);
  return make("section", "wide-group", head, ...(isPair() ? [pairLines(group.rows, lineOf)] : group.rows.map(lineOf)));
}

function wideLine(row, longest) {
  const strip = stripOf(row, 600);
  strip.style.setProperty("--share", (row.end - row.begin) / longest);
  const line = button(
    "wide",
    () => openRow(row.index),
    make("span", "score", short(row.score)),
    make("span", "track", strip),
    make("span", "length", count(row.end - row.begin)),
  );
  line.setAttribute("aria-label", `score ${short(row.score)}, ${count(row.end - row.begin, "token")}`);
  return line;
}

/** Names and values side by side, without those that have no value. */
function factList(facts) {
  const list = make("dl", "facts");
  for (const [name, value] of facts) {
    if (value === null || value === undefined || value === "") continue;
    list.append(make("div", "", make("dt", "", name), make("dd", "", value)));
  }
  return list;
}

/** The label of the shown step. */
function stepText() {
  const { step, total_steps: total } = state.step.meta;
  if (total === 0) return `Weights at step ${count(step)}`; // of texts, which no run has trained on
  return total >= step && factOfRuns("total_steps") === total ? `Step ${count(step)} of ${count(total)}` : `Step ${count(step)}`;
}
