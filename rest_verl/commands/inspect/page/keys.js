// ---- Keys: use the page without a mouse ----

const KEYS = [
  { keys: ["j", "ArrowDown"], shown: "j ↓", does: "next trajectory", run: () => moveRow(1) },
  { keys: ["k", "ArrowUp"], shown: "k ↑", does: "previous trajectory", run: () => moveRow(-1) },
  { keys: ["n"], shown: "n", does: "next prompt", run: () => moveGroup(1) },
  { keys: ["p"], shown: "p", does: "previous prompt", run: () => moveGroup(-1) },
  { keys: ["ArrowRight"], shown: "→", does: "next token", run: () => moveToken(1) },
  { keys: ["ArrowLeft"], shown: "←", does: "previous token", run: () => moveToken(-1) },
  { keys: ["]"], shown: "]", does: "next step", run: () => moveStep(1) },
  { keys: ["["], shown: "[", does: "previous step", run: () => moveStep(-1) },
  ...(isPair() ? [{ keys: ["b"], shown: "b", does: "next trajectory of the other run", run: () => moveBeside() }] : []),
  ...MODES.map((mode, place) => ({
    keys: [String(place + 1)],
    shown: String(place + 1),
    does: `colour by ${mode.label.toLowerCase()}`,
    run: () => setMode(mode),
  })),
  { keys: ["f"], shown: "f", does: "expand or collapse all", run: () => toggleFolds() },
  { keys: ["t"], shown: "t", does: "theme: system, light, dark", run: () => nextTheme() },
  { keys: ["Escape"], shown: "Esc", does: "all trajectories", run: () => openRow(null) },
  { keys: ["?"], shown: "?", does: "these keys", run: () => document.getElementById("help").showModal() },
];
const OWN_KEYS = "input, select, textarea, dialog[open]";

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const inside = event.target.closest(OWN_KEYS) !== null || document.getElementById("help").open;
  if (inside && !(event.key === "Escape" && event.target.id === "filter")) return;
  const found = KEYS.find(({ keys }) => keys.includes(event.key));
  if (!found) return;
  event.preventDefault();
  found.run();
}

function buildHelp() {
  const list = document.getElementById("keys");
  for (const { shown, does } of KEYS) list.append(make("dt", "", make("kbd", "", shown)), make("dd", "", does));
}

/** Open the next trajectory of the list. */
function moveRow(by) {
  const at = state.order.indexOf(state.row);
  const next = at < 0 ? (by > 0 ? 0 : state.order.length - 1) : at + by;
  if (next >= 0 && next < state.order.length) openRow(state.order[next]);
}

/** Open the first trajectory of the next prompt. */
function moveGroup(by) {
  const groups = shownGroups();
  const at = groups.findIndex((group) => group.rows.some((row) => row.index === state.row));
  const next = at < 0 ? (by > 0 ? 0 : groups.length - 1) : at + by;
  if (next >= 0 && next < groups.length) openRow(groups[next].rows[0].index);
}

function moveStep(by) {
  const next = state.number + by;
  if (next >= 0 && next < MANIFEST.length) openStep(next);
}
