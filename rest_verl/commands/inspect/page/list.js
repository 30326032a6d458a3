// ---- List: groups of trajectories on the left, sorted and filtered ----

/** The groups of a step in file order, each with its numbers and its rows by score. */
function groupsOf(step) {
  const groups = new Map();
  step.rows.forEach((row, index) => {
    if (!groups.has(row.uid)) groups.set(row.uid, { uid: row.uid, ...step.prompts[row.uid], rows: [], file: groups.size });
    groups.get(row.uid).rows.push({ ...row, index });
  });
  return [...groups.values()].map((group) => {
    const first = group.rows[0];
    const scores = scoresOf(first);
    group.rows.sort((one, other) => one.run - other.run || comparedLast(one.score, other.score, -1) || one.index - other.index);
    return {
      ...group,
      scores,
      reward: mean(scores),
      spread: spread(scores),
      difference: isPair() ? differenceOf(group.rows) : 0,
      length: mean(group.rows.map((row) => row.end - row.begin)),
    };
  });
}

/** The scores of all trajectories of a row's prompt in its run. */
function scoresOf(row) {
  return (row?.group_scores ?? []).filter((score) => typeof score === "number");
}

/** Order of two numbers; NaN comes last in both directions. */
function comparedLast(one, other, direction) {
  const known = (value) => typeof value === "number" && !Number.isNaN(value);
  if (known(one) && known(other)) return direction * (one - other);
  return Number(known(other)) - Number(known(one));
}

/** The shown groups: filtered, then sorted. */
function shownGroups() {
  const direction = state.descending ? -1 : 1;
  return state.groups
    .map((group) => ({ ...group, rows: keptRows(group) }))
    .filter((group) => group.rows.length)
    .sort((one, other) => comparedLast(one[state.sort], other[state.sort], direction) || one.file - other.file);
}

/** Rebuild the list of a step. */
function buildList() {
  state.groups = groupsOf(state.step);
  for (const group of state.groups) group.element = groupElement(group);
  buildFilter();
  showList();
}

/** Order the groups. */
function showList() {
  const groups = shownGroups();
  state.order = groups.flatMap((group) => group.rows.map((row) => row.index));
  const listed = new Set(state.order);
  for (const { element } of groups) {
    for (const card of element.querySelectorAll(".card")) card.hidden = !listed.has(Number(card.dataset.row));
  }
  const none = make("p", "empty", "No trajectory is as wanted.");
  document.getElementById("groups").replaceChildren(...(groups.length ? groups.map((group) => group.element) : [none]));
  markCurrent();
}

function groupElement(group) {
  const head = make("header", "", make("h2", "headline", group.headline || "no prompt"), groupNumbers(group));
  const element = make("section", "group", head, ...group.rows.map(cardOf));
  element.dataset.uid = group.uid;
  return element;
}

/** Mean and spread of a group's scores, and each score as a dot. */
function groupNumbers(group) {
  if (isPair()) return pairNumbers(group);
  if (!group.scores.length) return make("p", "numbers", count(group.rows.length, "trajectory", "trajectories"));
  const text = `mean ${short(group.reward)} · spread ${short(group.spread)}`;
  return make("p", "numbers", make("span", "", text), dotsOf(group.scores, null));
}

/** Scores as dots on the range of the step's scores; `own` is filled. */
function dotsOf(scores, own) {
  const [low, high] = state.scoreRange;
  const dots = make("span", "dots");
  dots.title = `scores of the group: ${scores.map(short).join(", ")}`;
  for (const score of own === null ? scores : [...scores, own]) {
    const dot = make("span", score === own ? "dot own" : "dot");
    dot.style.setProperty("--at", high > low ? (score - low) / (high - low) : 0.5);
    dots.append(dot);
  }
  return dots;
}

function cardOf(row) {
  const tokens = row.end - row.begin;
  const card = button(
    "card",
    () => openRow(row.index),
    make("span", `picked ${row.picked}`, { best: "▲", worst: "▼" }[row.picked] ?? "·"),
    make("span", "score", short(row.score)),
    stripOf(row, 160),
    make("span", "length", count(tokens)),
  );
  card.dataset.row = row.index;
  card.dataset.run = row.run;
  card.setAttribute("aria-label", `${isPair() ? `${RUNS[row.run]}, ` : ""}${row.picked ?? ""} score ${short(row.score)}, ${count(tokens, "token")}`);
  return card;
}

/** Mark the open trajectory in the list, and the one beside it, and scroll to it. */
function markCurrent() {
  document.querySelector(".card[aria-current]")?.removeAttribute("aria-current");
  document.querySelector(".card.beside")?.classList.remove("beside");
  if (state.row === null) return;
  const card = document.querySelector(`.card[data-row="${state.row}"]`);
  card?.setAttribute("aria-current", "true");
  document.querySelector(`.card[data-row="${state.beside}"]`)?.classList.add("beside");
  card?.scrollIntoView({ block: "nearest" });
}

/** The lowest and the highest score of a step. */
function rangeOfScores(step) {
  const scores = step.rows.flatMap((row) => [...row.group_scores, row.score]).filter((score) => typeof score === "number");
  return scores.length ? [Math.min(...scores), Math.max(...scores)] : [0, 0];
}
