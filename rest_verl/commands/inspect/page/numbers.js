// ---- Numbers and elements: formatting numbers, creating elements ----

/** The shortest decimal that gives the same float32. */
function exact32(value) {
  if (!Number.isFinite(value)) return String(value);
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return String(Number(value.toPrecision(9)));
}

/** A number in about four characters, for tables and tips. */
function short(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number" || !Number.isFinite(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const text = size !== 0 && size < 0.0005 ? value.toExponential(1) : value.toFixed(size < 10 ? 3 : size < 100 ? 2 : 1);
  return text.replaceAll("-", "−");
}

const WITH_SEPARATORS = new Intl.NumberFormat("en");

/** A count with separators. */
function count(number, noun, several = `${noun}s`) {
  const shown = WITH_SEPARATORS.format(number);
  return noun ? `${shown} ${number === 1 ? noun : several}` : shown;
}

/** Mean of some numbers; NaN for none. */
function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Population standard deviation; NaN for no numbers. */
function spread(values) {
  const middle = mean(values);
  return Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
}

/** Make an element. Text is never parsed as markup. */
function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** Make a button with its action. */
function button(className, onClick, ...children) {
  const element = make("button", className, ...children);
  element.type = "button";
  element.addEventListener("click", onClick);
  return element;
}

/** Alternating text and marks (rest_verl/commands/inspect/token_text.py) as nodes. */
function shownNodes(parts) {
  return parts.map((part, place) => (place % 2 ? make("i", "mark", part) : part));
}

/** Text and marks as one line of text. */
function shownLine(parts) {
  return parts.join("").replace(/[\n\t]/g, "");
}
