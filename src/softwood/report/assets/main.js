// The page put together: one drawing, one form, and what connects them.

(function () {
  const data = JSON.parse(document.getElementById("model-data").textContent);
  const model = data.model;
  const at = (name) => document.getElementById(name);
  const state = { typed: false };

  const drawing = new Drawing(at("drawing"), model, data.notes, (node) => {
    const path = drawing.pathTo(node);
    drawing.mark(path);
    const kind = model.feature[node] < 0 ? "Rows come to this leaf if" : "Rows come to this node if";
    showRule(at("rule"), model, drawing.stats, path, kind);
  });

  const fields = buildForm(at("form"), model, () => { state.typed = true; follow(); });

  /** Show the answer for the row in the form, and its path in the tree that is drawn. */
  function follow() {
    const row = rowOf(model, fields);
    showAnswer(at("answer"), model, row, drawing.tree);
    const path = row === null || !state.typed ? [] : walk(model, drawing.tree, row);
    drawing.mark(path);
    if (path.length) drawing.reveal(path);
    showRule(at("rule"), model, drawing.stats, path, "The row that is typed in goes this way:");
  }

  function button(text, label, act) {
    const made = element(at("toolbar"), "button", { type: "button", "aria-label": label, title: label }, text);
    made.addEventListener("click", act);
  }

  function chooser(host, label, names, act) {
    const holder = element(host, "label", { class: "chooser" }, `${label} `);
    const made = element(holder, "select");
    names.forEach((name, value) => element(made, "option", { value }, name));
    made.addEventListener("change", () => act(Number(made.value)));
    return made;
  }

  if (model.roots.length > 1) {
    chooser(at("toolbar"), "Tree", model.roots.map((_, tree) => `${tree + 1} of ${model.roots.length}`), (tree) => {
      drawing.show(tree);
      follow();
    }).id = "tree-choice";
  }
  button("−", "Zoom out", () => drawing.zoom(1 / 1.25));
  button("+", "Zoom in", () => drawing.zoom(1.25));
  button("Fit", "Fit the tree into the frame", () => drawing.fit());
  button("Clear", "Clear the row and the marked path", () => {
    for (const field of fields) field.value = "";
    state.typed = false;
    follow();
  });
  if (data.rows.length) {
    const names = ["choose", ...data.rows.map((_, row) => `row ${row + 1}`)];
    chooser(at("toolbar"), "Rows that were passed", names, (choice) => {
      if (!choice) return;
      model.columns.forEach((column, c) => {
        const value = data.rows[choice - 1][c];
        fields[c].value = fieldText(column, value === null ? NaN : value);
      });
      state.typed = true;
      follow();
    }).id = "row-choice";
  }
  follow();

  window.addEventListener("resize", () => {
    drawing.fit();
    if (drawing.marked.length) drawing.reveal(drawing.marked);
  });
  window.addEventListener("beforeprint", () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
  });
  window.softwoodReport = { data, model, drawing, fields, answerOf, walk, ruleOf, rowOf, fieldText, follow };
})();
