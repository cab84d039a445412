// Nodes in words: tests, rules of a leaf, answers; and numbers as people read them.

function short(value, digits = 4) {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return value.toLocaleString("en-US").replace("-", "−");
  const size = Math.abs(value);
  if (size >= 10 ** digits && size < 1e15) return Math.round(value).toLocaleString("en-US").replace("-", "−");
  return String(Number(value.toPrecision(digits))).replace("-", "−");
}

function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  if (share < 1 && share >= 0.9995) return "> 99.9 %";
  return `${(100 * share).toFixed(share === 0 || share === 1 ? 0 : 1)} %`;
}

function clip(text, most) {
  const letters = [...text];
  return letters.length <= most ? text : letters.slice(0, most - 1).join("") + "…";
}

function levelsAt(model, node, left) {
  const bits = model.levels_left[model.level_set[node]];
  return model.columns[model.feature[node]].levels.filter((_, at) => (bits[at] === "1") === left);
}

/** The test of a node without its column, short enough for its box. */
function testText(model, node) {
  if (model.level_set[node] >= 0) return `in {${levelsAt(model, node, true).join(", ")}}`;
  if (model.columns[model.feature[node]].kind === "boolean") return "is false";
  const value = model.threshold[node];
  const digits = Number(value.toPrecision(6));
  return `≤ ${digits === value ? value : `${digits}…`}`;
}

/** The whole test of a node. */
function fullTest(model, node) {
  const column = model.columns[model.feature[node]];
  if (model.level_set[node] >= 0 || column.kind === "boolean") return `${column.name} ${testText(model, node)}`;
  return `${column.name} ≤ ${model.threshold[node]}`;
}

/** The conditions on a path, one line for each column: what all its tests together leave. */
function ruleOf(model, path) {
  const found = new Map();
  path.slice(0, -1).forEach((node, step) => {
    const at = model.feature[node];
    const left = path[step + 1] === model.left[node];
    const known = found.get(at) || { low: -Infinity, high: Infinity, levels: null, missing: true };
    if (model.level_set[node] >= 0) {
      const here = new Set(levelsAt(model, node, left));
      known.levels = (known.levels || model.columns[at].levels).filter((level) => here.has(level));
    } else if (left) known.high = Math.min(known.high, model.threshold[node]);
    else known.low = Math.max(known.low, model.threshold[node]);
    known.missing = known.missing && (model.missing_left[node] === 1) === left;
    found.set(at, known);
  });
  return [...found].map(([at, known]) => condition(model.columns[at], known));
}

function condition(column, known) {
  const tail = known.missing ? ", or missing" : "";
  if (known.levels) {
    const more = known.missing ? ", or missing, or a level not seen in training" : "";
    return known.levels.length ? `${column.name} is ${known.levels.join(" or ")}${more}`
      : `${column.name} is missing, or a level not seen in training`;
  }
  if (known.low >= known.high) return `${column.name} is missing`;
  if (column.kind === "boolean") return `${column.name} is ${known.low === -Infinity ? "false" : "true"}${tail}`;
  if (known.low === -Infinity) return `${column.name} ≤ ${known.high}${tail}`;
  if (known.high === Infinity) return `${column.name} > ${known.low}${tail}`;
  return `${known.low} < ${column.name} ≤ ${known.high}${tail}`;
}

/** What a node answers on average: {text, fill (0 to 1), side (class of the colour)}. */
function nodeAnswer(model, stats, node) {
  const mean = stats.mean[node];
  if (model.link === "probability") {
    const chances = probabilities(model, mean);
    const label = chances.indexOf(Math.max(...chances));
    return { text: `${model.class_names[label]} ${percent(chances[label])}`, fill: chances[label], side: label };
  }
  let most = 0;
  mean.forEach((value, k) => { if (Math.abs(value) > Math.abs(mean[most])) most = k; });
  const value = mean[most];
  if (model.classes === null && model.roots.length === 1) {
    const name = mean.length > 1 ? `${model.outputs[most]} = ` : "";
    return { text: name + short(value), fill: (value - stats.low) / (stats.high - stats.low || 1), side: 0 };
  }
  const name = mean.length > 1 ? `${model.classes === null ? model.outputs[most] : model.class_names[most]} ` : "";
  const sign = value > 0 ? "+" : "";
  const largest = Math.max(Math.abs(stats.low), Math.abs(stats.high)) || 1;
  const side = mean.length > 1 ? most : value > 0 ? 1 : 0;
  return { text: `${name}${sign}${short(value)}`, fill: Math.abs(value) / largest, side };
}

/** Training weight and mean leaf values of every node; children stand behind their parents. */
function statistics(model) {
  const nodes = model.feature.length;
  const weight = new Array(nodes).fill(0);
  const mean = new Array(nodes);
  for (let node = nodes - 1; node >= 0; node--) {
    if (model.feature[node] < 0) {
      weight[node] = model.counts[model.leaf[node]];
      const alone = model.roots.length === 1 ? model.base : model.base.map(() => 0);
      mean[node] = model.values[model.leaf[node]].map((value, k) => value + alone[k]);
      continue;
    }
    const a = model.left[node], b = model.right[node];
    weight[node] = weight[a] + weight[b];
    const share = weight[node] > 0 ? weight[a] / weight[node] : 0.5;
    mean[node] = mean[a].map((value, k) => share * value + (1 - share) * mean[b][k]);
  }
  const all = mean.flat();
  const low = all.reduce((a, b) => Math.min(a, b), Infinity);
  const high = all.reduce((a, b) => Math.max(a, b), -Infinity);
  return { weight, mean, low, high };
}
