// ---- Overview: the whole step at a glance, all strips on one scale ----

/** Show the overview in the main pane. */
function showOverview() {
  const meta = state.step.meta;
  const longest = Math.max(...state.step.rows.map((row) => row.end - row.begin), 1);
  const facts = [
    ["shown", `${count(state.step.rows.length)} of ${count(meta.trajectories)} trajectories`],
    ["tokens", count(state.step.arrays.token.length)],
    ["format", meta.format],
    ["scheme", meta.scheme],
    ["weights in", meta.apply_in],
    ["estimator", meta.base_estimator],
  ];
  const blocks = shownGroups().map((group) => overviewGroup(group, longest));
  const heading = make("h2", "title", stepText());
  const hint = make("p", "note", `One line is one trajectory; the longest has ${count(longest, "token")}. Click one to read it.`);
  document.getElementById("main").replaceChildren(make("div", "overview", heading, factList(facts), hint, ...blocks));
}

function overviewGroup(group, longest) {
  const head = make("header", "", make("h3", "headline", group.headline || "no prompt"), groupNumbers(group));
  return make("section", "wide-group", head, ...group.rows.map((row) => wideLine(row, longest)));
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
  return total >= step ? `Step ${count(step)} of ${count(total)}` : `Step ${count(step)}`;
}
