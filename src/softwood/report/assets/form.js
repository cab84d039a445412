// The form in which a row is typed, and the answer that is shown for it.

const MOST_CHOICES = 200; // levels beyond which a field is typed instead of chosen from a list

/** Build one field for each column, those that a split tests first; onChange gets nothing and reads with rowOf. */
function buildForm(host, model, onChange) {
  const tested = new Set(model.feature.filter((at) => at >= 0));
  const order = model.columns.map((_, at) => at);
  const main = element(host, "div", { class: "fields" });
  const fields = new Array(model.columns.length);
  const rest = order.filter((at) => !tested.has(at));
  for (const at of order.filter((at) => tested.has(at))) fields[at] = buildField(main, model.columns[at], at, onChange);
  if (rest.length) {
    const folded = element(host, "details");
    element(folded, "summary", {}, `${rest.length} columns that no split tests`);
    const more = element(folded, "div", { class: "fields" });
    for (const at of rest) fields[at] = buildField(more, model.columns[at], at, onChange);
  }
  return fields;
}

function buildField(host, column, at, onChange) {
  const label = element(host, "label", { class: "field", for: `field-${at}` });
  element(label, "span", { class: "field-name" }, column.name);
  const input = element(label, column.kind === "number" || column.levels.length > MOST_CHOICES ? "input" : "select", {
    id: `field-${at}`, "aria-describedby": `note-${at}`, autocomplete: "off",
  });
  if (input.tagName === "SELECT") {
    element(input, "option", { value: "" }, "missing");
    const choices = column.kind === "boolean" ? ["true", "false"] : column.levels.filter((level) => level !== "");
    for (const level of choices) element(input, "option", { value: level }, level);
    if (column.kind === "category") element(input, "option", { value: unseen(column) }, "a level not seen in training");
  } else {
    input.placeholder = "missing";
    if (column.kind === "number") input.inputMode = "decimal";
  }
  element(label, "span", { class: "field-note", id: `note-${at}` });
  input.addEventListener("input", onChange);
  return input;
}

/** A text that is none of the levels. */
function unseen(column) {
  let text = "?";
  while (column.levels.includes(text)) text += "?";
  return text;
}

/** Read the form: the row, or null where a field cannot be read. Notes are written beside the fields. */
function rowOf(model, fields) {
  let whole = true;
  const row = model.columns.map((column, at) => {
    const { value, note } = readField(column, fields[at].value);
    document.getElementById(`note-${at}`).textContent = note;
    fields[at].toggleAttribute("aria-invalid", value === null);
    whole = whole && value !== null;
    return value;
  });
  return whole ? row : null;
}

/** Show what the model answers for a row. */
function showAnswer(host, model, row, tree) {
  host.replaceChildren();
  if (row === null) {
    const faults = [...document.querySelectorAll("[aria-invalid] ~ .field-note")];
    const names = faults.map((note) => note.parentElement.querySelector(".field-name").textContent);
    element(host, "p", { class: "quiet" }, `This cannot be read: ${names.join(", ")}.`);
    return;
  }
  const answer = answerOf(model, row);
  if (model.classes === null) {
    model.outputs.forEach((name, k) => {
      const line = element(host, "p", { class: "result" });
      if (model.outputs.length > 1) element(line, "span", { class: "quiet" }, `${name} `);
      element(line, "strong", { "data-answer": k, title: answer.raw[k] }, short(answer.raw[k], 6));
    });
  } else {
    const line = element(host, "p", { class: "result" });
    element(line, "strong", { "data-answer": "label" }, model.class_names[answer.label]);
    const ranked = answer.chances.map((share, k) => [share, k]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    const chart = element(host, "div", { class: "chances" });
    for (const [share, k] of model.classes.length === 2 ? ranked.sort((a, b) => a[1] - b[1]) : ranked.slice(0, 8)) {
      element(chart, "span", { class: "chance-name" }, model.class_names[k]);
      const track = element(chart, "span", { class: "track" });
      element(track, "span", { class: `part side${k % 8}` }).style.width = `${100 * share}%`;
      element(chart, "span", { class: "chance-value", title: String(share) }, percent(share));
    }
  }
  if (model.roots.length > 1) {
    const adds = model.values[model.leaf[walk(model, tree, row).at(-1)]];
    const parts = adds.map((value, k) => `${adds.length > 1 ? `${model.outputs[k]} ` : ""}${value > 0 ? "+" : ""}${short(value)}`);
    element(host, "p", { class: "quiet" }, `Tree ${tree + 1} of ${model.roots.length} adds ${parts.slice(0, 6).join(", ")}.`);
  }
}

/** Show the rule of a path. */
function showRule(host, model, stats, path, whose) {
  host.replaceChildren();
  if (!path.length) {
    element(host, "p", { class: "quiet" }, "Click a leaf, or type a row.");
    return;
  }
  const rule = ruleOf(model, path), node = path.at(-1), leaf = model.feature[node] < 0;
  element(host, "p", { class: "quiet" }, whose);
  if (!rule.length) element(host, "p", {}, "Every row.");
  const list = element(host, "ul", { class: "rule" });
  for (const line of rule) element(list, "li", {}, line);
  const whole = stats.weight[path[0]];
  const count = whole > 0 ? ` (n = ${short(stats.weight[node])}, ${percent(stats.weight[node] / whole)})` : "";
  const words = !leaf ? "on average" : model.roots.length > 1 ? "adds" : "answers";
  const line = element(host, "p");
  element(line, "strong", { "data-rule-answer": node }, `${words} ${nodeAnswer(model, stats, node).text}`);
  element(line, "span", { class: "quiet" }, count);
}
