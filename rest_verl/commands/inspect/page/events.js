// ---- Events: what the score consists of, at the tokens that decided it (rest.credit=turn and span) ----

/** What each token decided of its trajectory's score, by token; empty without events. */
function decidedOf(rows) {
  const decided = new Map();
  for (const row of rows) {
    for (const [place, amount] of row.events ?? []) decided.set(row.begin + place, amount);
  }
  return decided;
}

/** What token i decided, for the panel; that it decided nothing, where the row has events; else nothing. */
function decidedFacts(row, i) {
  if (!row.events) return [];
  const amount = state.step.decided.get(i);
  return [["decided", "decided of the score", amount === undefined ? "nothing" : signed(amount, String)]];
}

/** What a turn decided, for its summary. */
function turnDecided(row, turn) {
  if (!row.events) return [];
  const amounts = row.events.filter(([place]) => turn.begin <= place && place < turn.end).map(([, amount]) => amount);
  if (!amounts.length) return ["decided nothing"];
  return [`decided ${signed(amounts.reduce((sum, amount) => sum + Number(amount), 0), short)}`];
}

/** Mark the span of token i if it decided something: by the sign of what it decided. */
function markDecided(span, i) {
  const amount = state.step.decided.get(i);
  if (amount !== undefined) span.dataset.decided = isZero(amount) ? "zero" : amount < 0 ? "minus" : "plus";
}

/** An amount with its sign, written by `write`; what rounding leaves of zero has none. */
function signed(amount, write) {
  if (isZero(amount)) return "0";
  return `${amount > 0 ? "+" : ""}${write(amount).replace("-", "−")}`;
}

function isZero(amount) {
  return Math.abs(amount) < 1e-6;
}
