// ---- Tokens: one span per token, in blocks that are laid out only when visible ----

const CHUNK = 400; // fewest tokens in a block; it ends after the next line break

/** The tokens [begin, end) of a row. */
function tokenBlock(row, begin, end) {
  const block = make("div", "tokens");
  let chunk = make("div", "chunk");
  for (let place = begin; place < end; place++) {
    const span = tokenSpan(row.begin + place);
    state.spans.set(row.begin + place, span);
    chunk.append(span);
    if (chunk.childElementCount >= CHUNK && span.textContent.endsWith("\n")) {
      block.append(ended(chunk));
      chunk = make("div", "chunk");
    }
  }
  block.append(ended(chunk));
  return block;
}

/** A chunk without its final line break: the next block begins on a new line anyway. */
function ended(chunk) {
  const last = chunk.lastChild?.lastChild;
  if (last?.textContent.endsWith("\n")) last.textContent = last.textContent.slice(0, -1);
  return chunk;
}

function tokenSpan(i) {
  const span = make("span", paintClasses(state.step, state.mode, i), ...shownNodes(tokenAt(i).shown));
  span.dataset.i = i;
  markDecided(span, i);
  return span;
}

/** Token i: its id, how it is shown, and its bytes in hexadecimal. */
function tokenAt(i) {
  const [id, shown, hex] = state.step.tokens[state.step.arrays.token[i]];
  return { id, shown, hex };
}

/** Some tokens as one line of text. */
function textOf(row, begin, end) {
  let text = "";
  for (let place = begin; place < end; place++) text += shownLine(tokenAt(row.begin + place).shown);
  return text;
}

/** Paint the spans of what is open for the mode. */
function repaintTokens() {
  for (const span of state.spans.values()) {
    const pinned = span.classList.contains("pinned") ? " pinned" : "";
    span.className = paintClasses(state.step, state.mode, Number(span.dataset.i)) + pinned;
  }
}

/** Select a token, or none: it is outlined, and the panel stays on it. */
function pinToken(i) {
  document.querySelector(".t.pinned")?.classList.remove("pinned");
  state.token = i;
  if (i !== null) {
    const span = state.spans.get(i);
    span.classList.add("pinned");
    span.scrollIntoView({ block: "nearest" });
  }
  showPanel(i);
  writeHash();
}

/** Select the next or the previous visible token of its trajectory. */
function moveToken(by) {
  if (state.row === null) return;
  const { begin, end } = state.token === null ? state.step.rows[state.row] : rowOf(state.step, state.token);
  let i = state.token ?? (by > 0 ? begin - 1 : end);
  do i += by;
  while (i >= begin && i < end && !isOpen(state.spans.get(i)));
  if (i >= begin && i < end) pinToken(i);
}

/** Whether a span exists and is not in a collapsed element. */
function isOpen(span) {
  return span !== undefined && span.closest("details:not([open])") === null;
}
