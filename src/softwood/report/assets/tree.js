// The drawing of one tree: layout, shapes, pan and zoom, hover, keyboard.

const BOX = { inner: 186, leaf: 178, innerHigh: 44, leafHigh: 30, column: 252, row: 42 };

/** An SVG element; text is set as text, so that no name can become markup. */
function shape(parent, name, attributes, text) {
  const element = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}

/** SVG text, cut to what fits into a width. */
function fitted(parent, attributes, text, width) {
  const made = shape(parent, "text", attributes, text);
  let most = [...text].length;
  for (let wide = made.getComputedTextLength(); wide > width && most > 1; wide = made.getComputedTextLength()) {
    most = Math.max(1, Math.min(most - 1, Math.floor((most * width) / wide)));
    made.textContent = clip(text, most);
  }
}

/** An HTML element. */
function element(parent, name, attributes = {}, text) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

/** Where each node of a tree stands, and its parent: leaves one below the other, the yes side on top. */
function layout(model, tree) {
  const places = new Map();
  const order = [];
  const waiting = [[model.roots[tree], 0, -1]];
  let leaves = 0;
  while (waiting.length) {
    const [node, depth, parent] = waiting.pop();
    const place = { x: depth * BOX.column, y: 0, depth, parent };
    places.set(node, place);
    order.push(node);
    if (model.feature[node] < 0) place.y = BOX.row * leaves++;
    else waiting.push([model.right[node], depth + 1, node], [model.left[node], depth + 1, node]);
  }
  for (const node of order.reverse()) {
    if (model.feature[node] < 0) continue;
    places.get(node).y = (places.get(model.left[node]).y + places.get(model.right[node]).y) / 2;
  }
  return places;
}

class Drawing {
  constructor(host, model, notes, onChoose) {
    Object.assign(this, { host, model, notes, onChoose, stats: statistics(model), tree: 0 });
    host.innerHTML = '<svg class="tree-svg" role="tree" aria-label="Decision tree"><g></g></svg>';
    this.svg = host.querySelector("svg");
    this.view = this.svg.querySelector("g");
    this.tip = element(host, "div", { class: "tip", role: "tooltip", hidden: "" });
    this.listen();
    this.show(0);
  }

  /** Draw one of the trees. */
  show(tree) {
    this.tree = tree;
    this.places = layout(this.model, tree);
    this.shapes = new Map();
    this.edges = new Map();
    this.view.replaceChildren();
    const lines = shape(this.view, "g", {});
    for (const [node, place] of this.places) if (place.parent >= 0) this.drawEdge(lines, node, place);
    for (const [node, place] of this.places) this.drawNode(node, place);
    this.focusable(this.model.roots[tree]);
    this.fit();
  }

  drawEdge(lines, node, place) {
    const { model, stats } = this;
    const from = this.places.get(place.parent);
    const yes = model.left[place.parent] === node;
    const start = from.x + BOX.inner, middle = start + 30;
    const share = stats.weight[node] / (stats.weight[model.roots[this.tree]] || 1);
    const d = `M${start},${from.y} C${middle},${from.y} ${middle},${place.y} ${place.x},${place.y}`;
    this.edges.set(node, shape(lines, "path", { d, class: "edge", "stroke-width": 1.2 + 9 * share }));
    const missing = (model.missing_left[place.parent] === 1) === yes ? " ?" : "";
    const at = { x: place.x - 6, y: place.y - 5, class: "branch", "text-anchor": "end" };
    shape(lines, "text", at, (yes ? "yes" : "no") + missing);
  }

  drawNode(node, place) {
    const { model } = this;
    const leaf = model.feature[node] < 0;
    const wide = leaf ? BOX.leaf : BOX.inner, high = leaf ? BOX.leafHigh : BOX.innerHigh;
    const group = shape(this.view, "g", {
      class: `node ${leaf ? "leaf" : "inner"}`, transform: `translate(${place.x},${place.y - high / 2})`,
      tabindex: "-1", role: "treeitem", "aria-level": place.depth + 1, "aria-label": this.describe(node).join(". "),
      "data-node": node,
    });
    shape(group, "rect", { class: "box", width: wide, height: high, rx: 6 });
    if (leaf) {
      const answer = nodeAnswer(model, this.stats, node);
      const filled = Math.max(0, Math.min(1, answer.fill)) * wide;
      shape(group, "rect", { class: `fill side${answer.side % 8}`, width: filled.toFixed(1), height: high, rx: 6 });
      shape(group, "rect", { class: `strip side${answer.side % 8}`, width: 5, height: high, rx: 2 });
      const counted = this.stats.weight[model.roots[this.tree]] > 0;
      const weight = counted ? short(this.stats.weight[node]) : "";
      fitted(group, { x: 13, y: 20, class: "strong" }, answer.text, wide - 30 - 7 * weight.length);
      shape(group, "text", { x: wide - 8, y: 20, class: "count", "text-anchor": "end" }, weight);
    } else {
      fitted(group, { x: 11, y: 18, class: "strong" }, model.columns[model.feature[node]].name, wide - 20);
      fitted(group, { x: 11, y: 35 }, testText(model, node), wide - 20);
    }
    this.shapes.set(node, group);
  }

  /** What is known about a node, in lines. */
  describe(node) {
    const { model, stats } = this;
    const inner = model.feature[node] >= 0;
    const lines = inner ? [fullTest(model, node)] : [`Leaf ${model.roots.length > 1 ? "adds" : "answers"} ${nodeAnswer(model, stats, node).text}`];
    const whole = stats.weight[model.roots[this.tree]];
    if (whole > 0) {
      lines.push(`n = ${short(stats.weight[node])}, ${percent(stats.weight[node] / whole)} of the training weight`);
    }
    if (inner) {
      lines.push(`on average ${nodeAnswer(model, stats, node).text}`);
      lines.push(`missing values go ${model.missing_left[node] === 1 ? "up (yes)" : "down (no)"}`);
    } else if (model.outputs.length > 1) {
      const names = model.class_names || model.outputs;
      stats.mean[node].slice(0, 8).forEach((value, k) => lines.push(`${names[k]}: ${short(value)}`));
    }
    lines.push(...(this.notes[node] || []));
    return lines;
  }

  /** The nodes from the root to a node of this tree. */
  pathTo(node) {
    const path = [node];
    while (this.places.get(path[0]).parent >= 0) path.unshift(this.places.get(path[0]).parent);
    return path;
  }

  /** Mark a path; an empty one marks nothing. */
  mark(path) {
    const on = new Set(path);
    this.marked = path;
    for (const [node, group] of this.shapes) group.classList.toggle("on", on.has(node));
    for (const [node, edge] of this.edges) edge.classList.toggle("on", on.has(node));
    this.svg.classList.toggle("marked", on.size > 0);
  }

  /** One node can be reached with the Tab key; arrow keys move on from there. */
  focusable(node) {
    for (const group of this.shapes.values()) group.setAttribute("tabindex", "-1");
    this.shapes.get(node).setAttribute("tabindex", "0");
    this.current = node;
  }

  neighbour(key) {
    const { model, current } = this;
    const place = this.places.get(current);
    if (key === "ArrowLeft") return place.parent;
    if (key === "ArrowRight") return model.feature[current] >= 0 ? model.left[current] : -1;
    const level = [...this.places].filter(([, other]) => other.depth === place.depth).sort((a, b) => a[1].y - b[1].y);
    const at = level.findIndex(([node]) => node === current) + (key === "ArrowDown" ? 1 : -1);
    return level[at] ? level[at][0] : -1;
  }

  // ---------------------------------------------------------------- pan and zoom
  fit() {
    const all = [...this.places.values()];
    const wide = Math.max(...all.map((place) => place.x)) + BOX.inner + 32;
    const high = Math.max(...all.map((place) => place.y)) + BOX.innerHigh + 32;
    const width = this.svg.clientWidth || 1000;
    const scale = Math.max(0.55, Math.min(1.1, width / wide));
    this.host.style.setProperty("--high", `${Math.max(180, Math.min(680, scale * high))}px`);
    this.at = { x: 16 * scale, y: (16 + BOX.innerHigh / 2) * scale, scale };
    const below = scale * high - 680;
    if (below > 0) this.at.y = 340 - this.places.get(this.model.roots[this.tree]).y * scale;
    this.place();
  }

  /** Bring nodes into view, with as little zooming out as that takes. */
  reveal(nodes) {
    const places = nodes.map((node) => this.places.get(node));
    const left = Math.min(...places.map((place) => place.x)), right = Math.max(...places.map((place) => place.x));
    const top = Math.min(...places.map((place) => place.y)), bottom = Math.max(...places.map((place) => place.y));
    const { x, y, scale } = this.at;
    const wide = this.svg.clientWidth, high = this.svg.clientHeight, edge = 30;
    const inside = left * scale + x >= 0 && (right + BOX.inner) * scale + x <= wide
      && (top - edge) * scale + y >= 0 && (bottom + edge) * scale + y <= high;
    if (inside || !wide) return;
    const fits = Math.min(wide / (right - left + BOX.inner + 2 * edge), high / (bottom - top + 2 * edge));
    const now = Math.max(0.08, Math.min(scale, fits));
    this.at = { x: wide / 2 - ((left + right + BOX.inner) / 2) * now, y: high / 2 - ((top + bottom) / 2) * now, scale: now };
    this.place();
  }

  place() {
    this.view.setAttribute("transform", `translate(${this.at.x},${this.at.y}) scale(${this.at.scale})`);
  }

  zoom(times, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
    const scale = Math.max(0.08, Math.min(4, this.at.scale * times));
    const grown = scale / this.at.scale;
    this.at = { x: x - (x - this.at.x) * grown, y: y - (y - this.at.y) * grown, scale };
    this.place();
  }

  listen() {
    const nodeOf = (event) => {
      const group = event.target.closest?.(".node");
      return group ? Number(group.dataset.node) : -1;
    };
    let held = null;
    this.svg.addEventListener("pointerdown", (event) => { held = { x: event.clientX, y: event.clientY, moved: false }; });
    window.addEventListener("pointerup", () => { setTimeout(() => { held = null; }, 0); });
    window.addEventListener("pointermove", (event) => {
      if (!held) return;
      const dx = event.clientX - held.x, dy = event.clientY - held.y;
      if (!held.moved && Math.hypot(dx, dy) < 4) return;
      this.at = { ...this.at, x: this.at.x + dx, y: this.at.y + dy };
      held = { x: event.clientX, y: event.clientY, moved: true };
      this.place();
    });
    this.svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const frame = this.svg.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
    }, { passive: false });
    this.svg.addEventListener("click", (event) => {
      const node = nodeOf(event);
      if (held?.moved || node < 0) return;
      this.focusable(node);
      this.onChoose(node);
    });
    this.svg.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") this.onChoose(this.current);
      else if (event.key.startsWith("Arrow")) this.step(this.neighbour(event.key));
      else return;
      event.preventDefault();
    });
    this.svg.addEventListener("pointerover", (event) => this.hover(nodeOf(event), event));
    this.svg.addEventListener("focusin", (event) => this.hover(nodeOf(event), null));
    for (const name of ["pointerleave", "focusout"]) this.svg.addEventListener(name, () => { this.tip.hidden = true; });
  }

  step(node) {
    if (node < 0) return;
    this.focusable(node);
    this.reveal([node]);
    this.shapes.get(node).focus({ preventScroll: true });
  }

  hover(node) {
    this.tip.hidden = node < 0;
    if (node < 0) return;
    this.tip.replaceChildren();
    for (const line of this.describe(node)) element(this.tip, "div", {}, line);
    const box = this.shapes.get(node).getBoundingClientRect(), frame = this.host.getBoundingClientRect();
    const left = Math.min(box.left - frame.left, this.host.clientWidth - this.tip.offsetWidth - 8);
    const below = box.bottom - frame.top + 8;
    const above = box.top - frame.top - this.tip.offsetHeight - 8;
    this.tip.style.left = `${Math.max(8, left)}px`;
    this.tip.style.top = `${below + this.tip.offsetHeight > this.host.clientHeight && above > 0 ? above : below}px`;
  }
}
