// ---- Trajectory: one row in the main pane, turn by turn ----

/** Show a row, with two runs beside one of the other run. */
function showTrajectory(index) {
  state.spans = new Map();
  const main = document.getElementById("main");
  main.replaceChildren(isPair() ? pairElement(index) : trajectoryElement(state.step.rows[index]));
  main.scrollTop = 0;
}

function trajectoryElement(row) {
  const parts = [trajectoryHead(row), promptOf(row)];
  let at = 0;
  turnsOf(row).forEach((turn, number) => {
    if (turn.begin > at) parts.push(heardBetween(row, at, turn.begin));
    parts.push(turnElement(row, turn, number));
    at = Math.max(at, turn.end);
  });
  if (at < row.end - row.begin) parts.push(heardBetween(row, at, row.end - row.begin));
  return make("article", "trajectory", ...parts);
}

/** The turns of a row; if the file has none, each stretch of generated tokens is one. */
function turnsOf(row) {
  if (row.turns.length) return row.turns;
  const turns = [];
  for (let i = row.begin; i < row.end; i++) {
    if (!isGenerated(state.step, i)) continue;
    const last = turns.at(-1);
    if (last && last.end === i - row.begin) last.end++;
    else turns.push({ begin: i - row.begin, end: i - row.begin + 1, user_turn: null, seconds: null, calls: [] });
  }
  return turns;
}

function trajectoryHead(row) {
  const group = state.groups.find((one) => one.uid === row.uid);
  const facts = [
    ["tokens", count(row.end - row.begin)],
    ["turns", count(turnsOf(row).length)],
    ["picked", row.picked],
    ["rollout", `${row.session}${row.output ? `, output ${row.output}` : ""}`],
    ["data source", row.data_source],
    ...rewardFacts(row),
  ];
  const score = make("p", "big", make("span", "label", "score"), make("strong", "", short(row.score)));
  if (typeof row.score === "number") score.append(dotsOf(scoresOf(row), row.score));
  const title = make("h2", "title", group.headline || "no prompt");
  return make("header", "head", title, make("div", "summary", score, factList(facts), copyButton(row)), stripOf(row, 900));
}

/** Components of the reward; of the agent loop's counts, the reason for the end and those that are not 0. */
function rewardFacts(row) {
  const facts = [];
  for (const [name, value] of row.reward) {
    if (name === "score") continue; // shown separately, as summed by the trainer
    const counted = name.replace(/^rollout\//, "");
    if (counted === name) facts.push([name, short(value)]);
    else if (value !== 0 && counted.startsWith("ended_by/")) facts.push(["ended by", counted.slice("ended_by/".length)]);
    else if (value !== 0) facts.push([counted, short(value)]);
  }
  return facts;
}

function promptOf(row) {
  const prompt = state.step.prompts[row.uid];
  if (!prompt.shown.join("")) return "";
  const label = make("span", "label", prompt.tokens ? `Prompt, ${count(prompt.tokens, "token")}` : "Prompt");
  return folded("prompt", [label], () => [make("div", "text", ...shownNodes(prompt.shown))]);
}

/** A collapsed element whose content is made when it is first opened. */
function folded(className, summary, content) {
  const element = make("details", `fold ${className}`, make("summary", "", ...summary));
  element.addEventListener("toggle", () => {
    if (element.open && element.childElementCount === 1) element.append(...content());
  });
  return element;
}

function turnElement(row, turn, number) {
  const facts = [count(turn.end - turn.begin, "token")];
  if (turn.user_turn) facts.push(`user turn ${turn.user_turn}`);
  if (turn.seconds !== null) facts.push(`${short(turn.seconds)} s`);
  facts.push(...turnDecided(row, turn));
  const advantage = advantageOf(row, turn);
  if (advantage !== null) facts.push(`advantage ${narrow(advantage, false)}`);
  if (turn.calls.length) facts.push(count(turn.calls.length, "call"));
  const errors = turn.calls.filter((call) => call.error).length;
  const summary = make("summary", "", make("span", "label", `Turn ${number + 1}`), make("span", "aside", facts.join(" · ")));
  if (errors) summary.append(make("span", "error", count(errors, "error")));
  const tokens = tokenBlock(row, turn.begin, turn.end);
  const element = make("details", "fold turn", summary, tokens, ...turn.calls.map(callElement));
  element.open = true;
  return element;
}

/** The mean advantage of a turn's trained tokens, which credit by turn makes differ from turn to turn. */
function advantageOf(row, turn) {
  const values = [];
  for (let place = turn.begin; place < turn.end; place++) {
    const value = isTrained(state.step, row.begin + place) ? valueAt(state.step, "advantage", row.begin + place) : null;
    if (value !== null) values.push(value);
  }
  return values.length ? mean(values) : null;
}

function callElement(call) {
  const summary = [make("span", "label call-name", call.name ?? "call without a name")];
  if (call.seconds !== null) summary.push(make("span", "aside", `${short(call.seconds)} s`));
  if (call.error) summary.push(make("span", "error", call.error));
  if (call.arguments) summary.push(make("span", "aside code", shownLine(call.arguments).slice(0, 160)));
  return folded("call", summary, () =>
    [["arguments", call.arguments], ["result", call.result]].map(([name, parts]) =>
      make("div", "", make("p", "label", name), make("div", "text", ...(parts ? shownNodes(parts) : ["none"]))),
    ),
  );
}

/** Tokens between turns, from tools and users. */
function heardBetween(row, begin, end) {
  const label = make("span", "label", "Not generated");
  const facts = make("span", "aside", count(end - begin, "token"));
  const peek = make("span", "aside code", textOf(row, begin, Math.min(end, begin + 60)));
  return folded("heard", [label, facts, peek], () => [tokenBlock(row, begin, end)]);
}

/** Expand everything, or collapse everything if all is expanded. */
function toggleFolds() {
  const folds = [...document.querySelectorAll("#main details")];
  const open = !folds.every((fold) => fold.open);
  for (const fold of folds) fold.open = open;
}
