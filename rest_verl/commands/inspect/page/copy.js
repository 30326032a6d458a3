// ---- Copy: a trajectory as JSON, with the names of the record's columns ----

const COPIED_NUMBERS = ["entropy", "weight", "advantage", "old_log_prob", "rollout_log_prob"];
const WRITTEN = { "↵\n": "\n", "⇥\t": "\t", "␍": "\r" }; // what a mark stands for; any other stays a mark

function jsonOf(row) {
  const { uid, session, output, picked, data_source, score, group_scores } = row;
  const places = Array.from({ length: row.end - row.begin }, (_, place) => row.begin + place);
  const numbers = COPIED_NUMBERS.map((name) => [name, places.map((i) => jsonNumber(valueAt(state.step, name, i)))]);
  return {
    step: state.step.meta.step,
    ...{ uid, session, output, picked, data_source, score, group_scores },
    reward: Object.fromEntries(row.reward),
    prompt: writtenText(state.step.prompts[uid].shown),
    turns: turnsOf(row).map((turn) => ({ ...turn, text: responseText(row, turn), calls: turn.calls.map(jsonCall) })),
    events: row.events && row.events.map(([token, amount]) => ({ token, amount })),
    ids: places.map((i) => tokenAt(i).id),
    bytes: places.map((i) => tokenAt(i).hex),
    generated: places.map((i) => isGenerated(state.step, i)),
    trained: places.map((i) => isTrained(state.step, i)),
    region: places.map((i) => REGIONS[state.step.arrays.region[i]]),
    ...Object.fromEntries(numbers),
  };
}

function jsonCall(call) {
  return { ...call, arguments: writtenText(call.arguments), result: writtenText(call.result) };
}

/** The shortest number that gives the same float32; text for one that JSON cannot express. */
function jsonNumber(value) {
  if (value === null) return null;
  return Number.isFinite(value) ? Number(exact32(value)) : String(value);
}

/** Text and marks as the text that they show. */
function writtenText(parts) {
  return parts && parts.map((part, place) => (place % 2 ? (WRITTEN[part] ?? part) : part)).join("");
}

/** The bytes of a turn as text. */
function responseText(row, turn) {
  let hex = "";
  for (let place = turn.begin; place < turn.end; place++) hex += tokenAt(row.begin + place).hex;
  return new TextDecoder().decode(Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16)));
}

function copyButton(row) {
  const element = button("copy", async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(jsonOf(row)));
      element.textContent = "Copied";
    } catch {
      element.textContent = "The browser does not allow it";
    }
  }, "Copy as JSON");
  return element;
}
