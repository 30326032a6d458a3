// ---- Legend: the regions with their means, and the scale of the colours ----

const LEGEND_ORDER = ["name", "args", "format", "response", "think", "other"];
const LEGEND_NUMBERS = [
  ["weight", "weight"],
  ["entropy", "entropy"],
  ["advantage", "adv."],
  ["gap", "|gap|"],
];

/** For each region, the number of trained tokens in some rows and the mean of each computed quantity. */
function regionMeans(step, rows) {
  const regions = REGIONS.map(() => ({ tokens: 0, sums: [0, 0, 0, 0], counts: [0, 0, 0, 0] }));
  let generated = 0;
  let trained = 0;
  let tokens = 0;
  for (const row of rows) {
    tokens += row.end - row.begin;
    for (let i = row.begin; i < row.end; i++) {
      if (isGenerated(step, i)) generated++;
      if (!isTrained(step, i)) continue;
      trained++;
      regions[step.arrays.region[i]].tokens++;
    }
    LEGEND_NUMBERS.forEach(([name], place) => addUp(step, row, name, place, regions));
  }
  return { regions, heard: tokens - generated, rejected: generated - trained };
}

/** Add a quantity of a row's trained tokens to the sums of their regions. */
function addUp(step, row, name, place, regions) {
  const { flags, region: regionOf, [name]: values } = step.arrays;
  const bits = step.bits[name];
  for (let i = row.begin; i < row.end; i++) {
    if (!(flags[i] & TRAINED) || bits[i] === NULL_BITS) continue;
    const region = regions[regionOf[i]];
    region.sums[place] += name === "gap" ? Math.abs(values[i]) : values[i];
    region.counts[place]++;
  }
}

/** The means of all listed rows, cached, since summing a whole step is slow. */
function meansOfList() {
  const key = state.order.join();
  if (state.step.means?.key !== key) {
    state.step.means = { key, ...regionMeans(state.step, state.order.map((index) => state.step.rows[index])) };
  }
  return state.step.means;
}

/** Show the legend of all listed rows, or of the open one. */
function showLegend() {
  const one = state.scope === "one" && state.row !== null;
  const { regions, heard, rejected } = one ? regionMeans(state.step, [state.step.rows[state.row]]) : meansOfList();
  const total = regions.reduce((sum, region) => sum + region.tokens, 0);
  const head = ["region", "tokens", "share", ...LEGEND_NUMBERS.map(([, label]) => label)];
  const lines = LEGEND_ORDER.map((name) => legendLine(name, regions[REGIONS.indexOf(name)], total));
  const header = make("thead", "", make("tr", "", ...head.map((text) => make("th", "", text))));
  document.getElementById("legend").replaceChildren(header, make("tbody", "", ...lines));
  const others = [`${count(heard)} not generated`, ...(rejected ? [`${count(rejected)} rejected`] : [])];
  document.getElementById("legend-note").textContent = `Means over ${count(total)} trained tokens; ${others.join(" and ")} left out.`;
  document.getElementById("scope-all").setAttribute("aria-pressed", String(!one));
  document.getElementById("scope-one").setAttribute("aria-pressed", String(one));
  document.getElementById("scope-one").disabled = state.row === null;
  showScale();
}

function legendLine(name, region, total) {
  const swatch = make("span", `swatch t c-${name} q14`, "ab");
  const choose = button("region", () => dimOthers(name), swatch, name);
  choose.setAttribute("aria-pressed", String(state.dim === name));
  choose.title = "Dim the other regions";
  const means = region.sums.map((sum, place) => (region.counts[place] ? sum / region.counts[place] : null));
  const share = total ? `${((100 * region.tokens) / total).toFixed(1)}%` : "–";
  const line = make("tr", region.tokens ? "" : "none", make("th", "", choose), make("td", "", count(region.tokens)), make("td", "", share));
  line.dataset.region = name;
  means.forEach((value, place) => {
    const quantity = LEGEND_NUMBERS[place][0];
    const cell = make("td", "", narrow(value, quantity === "gap"));
    cell.dataset.name = quantity;
    cell.dataset.value = cell.title = String(value);
    line.append(cell);
  });
  return line;
}

/** A mean for a narrow column: a tiny one, such as that of advantages that sum to zero, is 0, unless its size matters. */
function narrow(value, sizeCounts) {
  if (value === null || value === 0 || Math.abs(value) >= 0.0005) return short(value);
  return sizeCounts ? value.toExponential(0).replace("-", "−") : short(0);
}

/** Dim all regions except one; the same one again, or null, undoes it. */
function dimOthers(name) {
  state.dim = state.dim === name ? null : name;
  document.getElementById("main").dataset.only = state.dim ?? "";
  showLegend();
  redrawStrips();
}

/** The colours from one end of the scale to the other, with the numbers at both ends. */
function showScale() {
  const mode = state.mode;
  const top = state.step.scales[mode.scale];
  const cells = make("div", "cells");
  const from = mode.signed ? -LEVELS : 0;
  for (let level = from; level <= LEVELS; level += 2) {
    const tone = mode.key === "region" ? "other" : mode.signed ? (level < 0 ? "minus" : "plus") : mode.key;
    cells.append(make("span", `cell t c-${tone} q${Math.abs(level)}`));
  }
  const low = mode.signed ? `≤ ${short(-top)}` : "0";
  const ends = make("div", "ends", make("span", "", low), make("span", "", mode.title), make("span", "", `≥ ${short(top)}`));
  const note = make("p", "note", `The ends are the 99th percentile of this step's trained tokens.`);
  document.getElementById("scale").replaceChildren(cells, ends, note);
}
