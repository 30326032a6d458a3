// ---- Strips: a whole trajectory as a narrow image, drawn when it scrolls into view ----

const SVG = "http://www.w3.org/2000/svg";
const TALL = 100; // height of a strip in its own units
const HEARD_HEIGHT = 12;
const LEAST_HEIGHT = 22;
const SHADES = 4; // strengths of a tone: few, so that a strip has few paths
const strips = {
  made: new WeakMap(), // strip -> its row, its most columns and the look for which it was drawn
  visible: new Set(),
  paints: new Map(), // row number -> paint of each of its tokens in the mode
  look: "",
  observer: null,
};

/** A strip of a row, with a maximum number of columns. */
function stripOf(row, columns) {
  const strip = document.createElementNS(SVG, "svg");
  strip.setAttribute("class", "strip");
  strip.setAttribute("preserveAspectRatio", "none");
  strip.setAttribute("aria-hidden", "true");
  strips.made.set(strip, { row, columns: Math.min(columns, row.end - row.begin), look: null });
  strips.observer ??= new IntersectionObserver(onStripsSeen, { rootMargin: "300px" });
  strips.observer.observe(strip);
  return strip;
}

function onStripsSeen(entries) {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      strips.visible.add(target);
      drawStrip(target);
    } else {
      strips.visible.delete(target);
      if (!target.isConnected) strips.observer.unobserve(target);
    }
  }
}

/** Redraw the strips in view if the mode, the step or the dimmed regions changed. */
function redrawStrips() {
  strips.paints.clear();
  strips.look = `${state.number} ${state.mode.key} ${state.dim}`;
  for (const strip of strips.visible) drawStrip(strip);
}

function drawStrip(strip) {
  const made = strips.made.get(strip);
  if (made.look === strips.look || !made.columns) return;
  made.look = strips.look;
  strip.setAttribute("viewBox", `0 0 ${made.columns} ${TALL}`);
  strip.replaceChildren(...[...pathsOf(made)].map(([classes, lines]) => pathElement(classes, lines)));
}

function pathElement(classes, lines) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", classes);
  path.setAttribute("d", lines);
  return path;
}

/** The outlines of all columns by their classes; equal neighbours form one rectangle. */
function pathsOf({ row, columns }) {
  const paints = paintsOf(row);
  const paths = new Map();
  let begin = 0;
  let last = columnLook(row, paints, columns, 0);
  for (let column = 1; column <= columns; column++) {
    const look = column < columns ? columnLook(row, paints, columns, column) : null;
    if (look !== null && look.classes === last.classes && look.height === last.height) continue;
    const line = `M${begin} ${TALL}V${TALL - last.height}H${column}V${TALL}z`;
    paths.set(last.classes, (paths.get(last.classes) ?? "") + line);
    begin = column;
    last = look;
  }
  return paths;
}

/** Classes and height of a column. The height shows the level too, for the colour-blind. */
function columnLook(row, paints, columns, column) {
  const first = Math.floor((column * paints.length) / columns);
  const place = strongest(paints, first, Math.floor(((column + 1) * paints.length) / columns));
  const level = (paints[place] & 31) / LEVELS;
  const tone = paints[place] >> 5;
  const heard = tone === TONE.heard;
  const faded = state.dim !== null && (heard || REGIONS[state.step.arrays.region[row.begin + place]] !== state.dim);
  return {
    classes: `c-${TONES[tone]} s${Math.ceil(level * SHADES)}${faded ? " faded" : ""}`,
    height: heard ? HEARD_HEIGHT : LEAST_HEIGHT + (TALL - LEAST_HEIGHT) * level,
  };
}

/** The token with the strongest colour among those in one column. */
function strongest(paints, first, behind) {
  let found = first;
  for (let place = first + 1; place < behind; place++) {
    if ((paints[place] & 31) > (paints[found] & 31)) found = place;
  }
  return found;
}

/** The paint of each token of a row. */
function paintsOf(row) {
  if (!strips.paints.has(row.begin)) {
    const paints = new Uint16Array(row.end - row.begin);
    for (let place = 0; place < paints.length; place++) paints[place] = paintAt(state.step, state.mode, row.begin + place);
    strips.paints.set(row.begin, paints);
  }
  return strips.paints.get(row.begin);
}
