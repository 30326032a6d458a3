// ---- Colours: a token's tone and its strength, by mode ----

// in the order of Region
const REGIONS = ["other", "think", "response", "format", "args", "name"];
const TONES = [...REGIONS, "weight", "entropy", "minus", "plus", "heard", "missing"];
const TONE = Object.fromEntries(TONES.map((name, number) => [name, number]));
const LEVELS = 20;
const MODES = [
  { key: "region", label: "Region", scale: "weight", title: "hue by region, strength by weight" },
  { key: "weight", label: "Weight", scale: "weight", title: "weight after normalisation" },
  { key: "entropy", label: "Entropy", scale: "entropy", title: "entropy of the policy, in nats" },
  { key: "advantage", label: "Advantage", scale: "advantage", signed: true, title: "without the weight" },
  { key: "gap", label: "Log-prob gap", scale: "gap", signed: true, title: "rollout − old log-prob, in nats" },
];

/** Tone and level of token i as one number: tone * 32 + level. */
function paintAt(step, mode, i) {
  if (!isGenerated(step, i)) return TONE.heard * 32;
  const value = valueAt(step, mode.scale, i);
  if (mode.key === "region") return step.arrays.region[i] * 32 + levelOf(value ?? 0, step.scales.weight);
  if (value === null || Number.isNaN(value)) return TONE.missing * 32;
  const level = levelOf(value, step.scales[mode.scale]);
  if (mode.signed && level === 0) return TONE.other * 32; // neither sign
  const tone = mode.signed ? (value < 0 ? TONE.minus : TONE.plus) : TONE[mode.key];
  return tone * 32 + level;
}

/** 0 for zero and what rounding has left of it, LEVELS at the end of the scale and beyond, at least 1 in between. */
function levelOf(value, top) {
  const size = Math.abs(value);
  return size <= 1e-6 * top ? 0 : Math.max(1, Math.round(LEVELS * Math.min(1, size / top)));
}

/** The classes that paint a token. */
function paintClasses(step, mode, i) {
  const paint = paintAt(step, mode, i);
  const region = isGenerated(step, i) ? REGIONS[step.arrays.region[i]] : "heard";
  const rejected = isGenerated(step, i) && !isTrained(step, i) ? " rejected" : "";
  return `t in-${region} c-${TONES[paint >> 5]} q${paint & 31}${rejected}`;
}
