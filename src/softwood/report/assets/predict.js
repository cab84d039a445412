// The model's own arithmetic: the same comparisons, sums and links as HardEnsemble, on float64.
// A row is an array with a number for each column; NaN is a missing value or an unseen level.

/** Does the row go left at this node? */
function goesLeft(model, node, row) {
  const value = row[model.feature[node]];
  if (Number.isNaN(value)) return model.missing_left[node] === 1;
  const set = model.level_set[node];
  return set >= 0 ? model.levels_left[set][value] === "1" : value <= model.threshold[node];
}

/** The nodes from a tree's root to the leaf that the row reaches. */
function walk(model, tree, row) {
  let node = model.roots[tree];
  const path = [node];
  while (model.feature[node] >= 0) {
    node = goesLeft(model, node, row) ? model.left[node] : model.right[node];
    path.push(node);
  }
  return path;
}

/** The sum before the link, one number for each output. */
function rawScore(model, row) {
  const total = model.base.slice();
  for (let tree = 0; tree < model.roots.length; tree++) {
    const values = model.values[model.leaf[walk(model, tree, row).at(-1)]];
    for (let k = 0; k < total.length; k++) total[k] += values[k];
  }
  return total;
}

/** Probabilities of the classes from the sum before the link. */
function probabilities(model, raw) {
  if (model.link === "softmax") {
    const most = Math.max(...raw);
    const powers = raw.map((score) => Math.exp(score - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }
  let shares = raw;
  if (model.link === "sigmoid") {
    shares = raw.map((score) => {
      const power = Math.exp(-Math.abs(score));
      return (score >= 0 ? 1 : power) / (1 + power);
    });
  }
  return shares.length === 1 ? [1 - shares[0], shares[0]] : shares;
}

/** Position of the label; the first of equal ones. The sums are compared, as the model does. */
function labelOf(model, raw) {
  if (raw.length === 1) return raw[0] > (model.link === "probability" ? 0.5 : 0) ? 1 : 0;
  return raw.indexOf(Math.max(...raw));
}

/** What the model answers: {raw} for a regression, else {raw, chances, label} with the label's position. */
function answerOf(model, row) {
  const raw = rawScore(model, row);
  if (model.classes === null) return { raw };
  return { raw, chances: probabilities(model, raw), label: labelOf(model, raw) };
}

// ------------------------------------------------------------------ what is typed in
const MISSING_TEXTS = new Set(["", "na", "n/a", "#n/a", "<na>", "nan", "null", "?", "none", "-", "--", "."]);
const TRUE_TEXTS = new Set(["true", "t", "yes", "y", "1", "1.0"]);
const FALSE_TEXTS = new Set(["false", "f", "no", "n", "0", "0.0"]);
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/;

/** Read one field as the model reads a cell: {value, note}; a note with value null is a fault. */
function readField(column, text) {
  if (column.kind === "category") {
    const at = column.levels.indexOf(text);
    if (at >= 0) return { value: at, note: "" };
    return { value: NaN, note: text === "" ? "" : "not seen in training: goes where missing values go" };
  }
  const plain = text.trim().toLowerCase();
  if (MISSING_TEXTS.has(plain)) return { value: NaN, note: "" };
  if (column.kind === "boolean") {
    if (TRUE_TEXTS.has(plain)) return { value: 1, note: "" };
    return FALSE_TEXTS.has(plain) ? { value: 0, note: "" } : { value: null, note: "true or false" };
  }
  const value = NUMBER.test(plain) ? Number(plain) : Infinity;
  return Number.isFinite(value) ? { value, note: "" } : { value: null, note: "this is no number, such as 12.5" };
}

/** The text of a field that readField turns back into the value. */
function fieldText(column, value) {
  if (Number.isNaN(value)) return "";
  if (column.kind === "category") return column.levels[value];
  return column.kind === "boolean" ? (value === 1 ? "true" : "false") : String(value);
}
