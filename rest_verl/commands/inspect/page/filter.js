// ---- Filter: which trajectories are listed, by text, tool, error, source and score ----

const CHOICES = {
  tool: (row) => row.turns.flatMap((turn) => turn.calls.map((call) => call.name ?? "without a name")),
  error: (row) => row.turns.flatMap((turn) => turn.calls.flatMap((call) => call.error ?? [])),
  source: (row) => row.data_source ?? [],
};

/** Offer what the step's rows have; a choice stays if it is still there. */
function buildFilter() {
  for (const [name, valuesOf] of Object.entries(CHOICES)) {
    const select = document.getElementById(`filter-${name}`);
    const values = [...new Set(state.step.rows.flatMap(valuesOf))].sort();
    const kept = values.includes(select.value) ? select.value : "";
    const options = values.map((value) => Object.assign(make("option", "", value), { value }));
    select.replaceChildren(Object.assign(make("option", "", `any ${name}`), { value: "" }), ...options);
    select.value = kept;
    select.disabled = values.length === 0;
  }
}

/** The rows of a group that are listed. */
function keptRows(group) {
  const text = document.getElementById("filter").value.toLowerCase();
  const inPrompt = text === "" || group.shown.join("").toLowerCase().includes(text);
  return group.rows.filter((row) => (inPrompt || responseOf(row).includes(text)) && isChosen(row));
}

function isChosen(row) {
  for (const [name, valuesOf] of Object.entries(CHOICES)) {
    const wanted = document.getElementById(`filter-${name}`).value;
    if (wanted && ![valuesOf(row)].flat().includes(wanted)) return false;
  }
  const [low, high] = ["low", "high"].map((end) => document.getElementById(`filter-${end}`).value);
  if (low === "" && high === "") return true;
  return typeof row.score === "number" && (low === "" || row.score >= Number(low)) && (high === "" || row.score <= Number(high));
}

/** The whole response in lower case, kept with its step. */
function responseOf(row) {
  state.step.responses ??= new Map();
  if (!state.step.responses.has(row.index)) {
    state.step.responses.set(row.index, textOf(row, 0, row.end - row.begin).toLowerCase());
  }
  return state.step.responses.get(row.index);
}
