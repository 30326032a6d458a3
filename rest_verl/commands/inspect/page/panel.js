// ---- Panel and tip: every number of one token ----

const PANEL_NUMBERS = [
  ["weight", "weight"],
  ["advantage", "advantage"],
  ["weighted", "weight × advantage"],
  ["entropy", "entropy, nats"],
  ["old_log_prob", "old log-prob"],
  ["rollout_log_prob", "rollout log-prob"],
  ["gap", "log-prob gap"],
];

/** Show all data of token i; without a token, how to select one. */
function showPanel(i) {
  const panel = document.getElementById("panel");
  if (i === null || state.row === null) {
    panel.replaceChildren(make("p", "note", "Point at a token, or move with ← and →, to see its numbers."));
    return;
  }
  const row = rowOf(state.step, i);
  const list = make("dl", "panel");
  for (const [name, label, value] of [...identity(row, i), ...PANEL_NUMBERS.map(([key, label]) => [key, label, numberText(key, i)]), ...decidedFacts(row, i)]) {
    const shown = make("dd", value === "not computed" ? "none" : "", value);
    shown.dataset.name = name;
    list.append(make("dt", "", label), shown);
  }
  const text = make("div", "text sample", ...shownNodes(tokenAt(i).shown));
  panel.replaceChildren(make("h2", "label", `Token ${count(i - row.begin)} of ${count(row.end - row.begin)}`), text, list);
}

function identity(row, i) {
  const token = tokenAt(i);
  const turn = turnOf(row, i);
  const kind = isTrained(state.step, i) ? "generated, trained" : isGenerated(state.step, i) ? "generated, rejected" : "not generated";
  return [
    ["id", "id", String(token.id)],
    ["bytes", "bytes", token.hex.replace(/..(?=.)/g, "$& ") || "none"],
    ["region", "region", REGIONS[state.step.arrays.region[i]]],
    ["kind", "kind", kind],
    ["turn", "turn", turn < 0 ? "–" : String(turn + 1)],
  ];
}

/** A number from which the table's float32 can be recovered. */
function numberText(name, i) {
  const value = name === "weighted" ? weightedAt(state.step, i) : valueAt(state.step, name, i);
  return value === null ? "not computed" : exact32(value);
}

/** Show the tip of a span. */
function showTip(span) {
  const i = Number(span.dataset.i);
  const token = tokenAt(i);
  const value = valueAt(state.step, state.mode.scale, i);
  const region = isGenerated(state.step, i) ? REGIONS[state.step.arrays.region[i]] : "not generated";
  const tip = document.getElementById("tip");
  tip.replaceChildren(
    make("span", "code", shownLine(token.shown)),
    make("span", "", `id ${token.id}`),
    make("span", "", region),
    make("span", "", `${state.mode.scale} ${short(value)}`),
    ...(span.dataset.decided ? [make("span", "", `decided ${signed(state.step.decided.get(i), short)}`)] : []),
  );
  tip.hidden = false;
  const box = span.getClientRects()[0];
  const left = Math.max(4, Math.min(box.left, window.innerWidth - tip.offsetWidth - 8));
  const below = box.bottom + 6;
  const top = below + tip.offsetHeight > window.innerHeight ? box.top - tip.offsetHeight - 6 : below;
  tip.style.setProperty("transform", `translate(${Math.round(left)}px, ${Math.round(top)}px)`);
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}
