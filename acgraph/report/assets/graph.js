"use strict";
// One graph, or two beside one another: a layout of the union of both, drawn once for each model,
// so that paired nodes have the same place. Blocks are folded; a folded block is one vertex.
(() => {
  const root = document.getElementById("graph");
  const data = JSON.parse(document.getElementById("data-graph").textContent);
  const { nodes, edges, families, sides } = data;
  const SIDES = ["a", "b"].slice(0, sides.length);
  const ROW = 34, SHOWN = 70, RESULTS = 40;
  const STATES = ["same", "changed", "resized", "lowered", "removed", "added"];

  // Blocks: every prefix of a scope. The children of a block are blocks and nodes.
  const blocks = new Map([["", { key: "", name: "", nodes: [], inner: new Set(), parent: null }]]);
  nodes.forEach((node, id) => {
    node.id = id;
    let key = "";
    blocks.get("").nodes.push(id);
    for (const part of node.scope) {
      const parent = key;
      key += `/${part}`;
      if (!blocks.has(key)) blocks.set(key, { key, name: part, nodes: [], inner: new Set(), parent });
      blocks.get(parent).inner.add(key);
      blocks.get(key).nodes.push(id);
    }
    node.block = key;
  });
  const chain = (key) => {
    const found = [];
    for (let at = blocks.get(key); at && at.key; at = blocks.get(at.parent)) found.unshift(at.key);
    return found;
  };
  const opened = new Set([""]);
  // Nodes that compute constants are hidden until one of them is asked for.
  let withConstants = false;
  const isTrivial = (block) => block.nodes.length === 1;
  const home = (node) => chain(node.block).find((key) => !opened.has(key) && !isTrivial(blocks.get(key)));
  const visible = () => {
    const found = new Map();
    for (const node of nodes) {
      if (node.constant && !withConstants) continue;
      const key = home(node) ?? `#${node.id}`;
      if (!found.has(key)) found.set(key, []);
      found.get(key).push(node.id);
    }
    return found;
  };
  // Open the outermost blocks first, as long as the picture stays readable: an open block has one
  // vertex for each block and node in it.
  const inside = new Map([...blocks.keys()].map((key) => [key, new Set()]));
  for (const node of nodes.filter((each) => !each.constant)) {
    const keys = ["", ...chain(node.block)];
    keys.forEach((key, k) => inside.get(key).add(keys[k + 1] ?? node.id));
  }
  let count = inside.get("").size;
  for (let queue = [...blocks.get("").inner]; queue.length;) {
    const next = [];
    for (const key of queue) {
      const block = blocks.get(key);
      if (block.nodes.every((id) => nodes[id].state === "lowered")) continue;
      const more = inside.get(key).size - 1;
      if (count + more > SHOWN) continue;
      count += more;
      opened.add(key);
      next.push(...block.inner);
    }
    queue = next;
  }

  let shown = new Map(), lines = [], selected = null, lit = new Set(), trail = new Set();
  const camera = { x: 0, y: 0, scale: 1 };
  const worst = (ids) => {
    const states = new Set(ids.map((id) => nodes[id].state));
    const changed = STATES.slice(1).filter((state) => states.has(state));
    return changed.length > 1 ? "changed" : changed[0] ?? "same";
  };
  const label = (vertex) => vertex.ids.length > 1 || vertex.key[0] !== "#"
    ? `${blocks.get(vertex.key)?.name ?? ""} (${vertex.ids.length})`
    : (nodes[vertex.ids[0]].a ?? nodes[vertex.ids[0]].b).op;
  const size = (text) => Math.min(240, Math.max(70, text.length * 7 + 22));
  const sub = (vertex, side) => {
    const own = vertex.ids.map((id) => nodes[id][side]).filter(Boolean);
    if (vertex.key[0] !== "#") {
      const params = own.reduce((sum, each) => sum + (each.params ?? 0), 0);
      return params ? `${params.toLocaleString("en")} params` : `${own.length} nodes`;
    }
    const each = own[0];
    if (!each) return "";
    if (each.filters) return `${each.filters} × ${each.columns}`;
    return each.out[0] ? each.out[0].join("×") : "";
  };

  const layout = () => {
    const found = visible();
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: "TB", nodesep: 18, ranksep: 26, ranker: "tight-tree" });
    graph.setDefaultEdgeLabel(() => ({}));
    shown = new Map();
    const of = new Array(nodes.length);
    for (const [key, ids] of found) {
      const vertex = { key, ids, sides: {} };
      vertex.text = label(vertex);
      for (const side of SIDES) vertex.sides[side] = ids.some((id) => nodes[id][side]);
      vertex.state = worst(ids);
      vertex.width = Math.max(size(vertex.text), ...SIDES.map((side) => size(sub(vertex, side)) * 0.9));
      shown.set(key, vertex);
      graph.setNode(key, { width: vertex.width, height: ROW });
      for (const id of ids) of[id] = key;
    }
    const merged = new Map();
    for (const [a, b, models] of edges) {
      if (of[a] === of[b] || of[a] === undefined || of[b] === undefined) continue;
      const key = `${of[a]}\n${of[b]}`;
      const line = merged.get(key) ?? { from: of[a], to: of[b], models: 0 };
      line.models |= models;
      merged.set(key, line);
    }
    for (const line of merged.values()) graph.setEdge(line.from, line.to, {});
    dagre.layout(graph, { disableOptimalOrderHeuristic: found.size > 250 });
    for (const vertex of shown.values()) {
      const { x, y } = graph.node(vertex.key);
      Object.assign(vertex, { x, y });
    }
    lines = [...merged.values()].map((line) => ({ ...line, points: graph.edge(line.from, line.to).points }));
    root.dataset.vertices = shown.size;
    draw();
  };

  const panes = SIDES.map((side, k) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    const caption = document.createElement("figcaption");
    caption.textContent = sides[k];
    caption.hidden = !sides[k];
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label", `Graph ${sides[k]}: ${nodes.filter((n) => n[side]).length} vertices. `
      + "Arrow keys go along edges, Enter opens or closes a block, plus and minus zoom, 0 shows all.");
    figure.append(canvas, caption);
    root.querySelector(".panes").append(figure);
    return { side, canvas };
  });
  const colour = (style, name) => style.getPropertyValue(name).trim();
  let pending = false;
  const draw = () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => { pending = false; panes.forEach(paint); });
  };
  const paint = ({ side, canvas }) => {
    const style = getComputedStyle(document.documentElement);
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.setTransform(ratio * camera.scale, 0, 0, ratio * camera.scale,
      ratio * (width / 2 - camera.x * camera.scale), ratio * (height / 2 - camera.y * camera.scale));
    const [left, right] = [camera.x - width / 2 / camera.scale, camera.x + width / 2 / camera.scale];
    const [top, bottom] = [camera.y - height / 2 / camera.scale, camera.y + height / 2 / camera.scale];
    const bit = side === "a" ? 1 : 2;
    for (const line of lines) {
      if (!(line.models & bit)) continue;
      const { points } = line;
      const [first, last] = [points[0], points.at(-1)];
      if (Math.max(first.y, last.y) < top || Math.min(first.y, last.y) > bottom) continue;
      const isLit = trail.has(`${line.from}\n${line.to}`) || trail.has(`${line.to}\n${line.from}`);
      pen.strokeStyle = colour(style, isLit ? "--mark" : "--g-edge");
      pen.lineWidth = isLit ? 3 : 1;
      pen.beginPath();
      pen.moveTo(first.x, first.y);
      for (const point of points.slice(1)) pen.lineTo(point.x, point.y);
      pen.stroke();
      pen.fillStyle = pen.strokeStyle;
      const before = points.at(-2) ?? first;
      const angle = Math.atan2(last.y - before.y, last.x - before.x);
      pen.beginPath();
      pen.moveTo(last.x, last.y);
      pen.lineTo(last.x - 7 * Math.cos(angle - 0.45), last.y - 7 * Math.sin(angle - 0.45));
      pen.lineTo(last.x - 7 * Math.cos(angle + 0.45), last.y - 7 * Math.sin(angle + 0.45));
      pen.fill();
    }
    const isReadable = camera.scale > 0.45;
    pen.textAlign = "center";
    for (const vertex of shown.values()) {
      const [x, y] = [vertex.x - vertex.width / 2, vertex.y - ROW / 2];
      if (x > right || x + vertex.width < left || y > bottom || y + ROW < top) continue;
      const isHere = vertex.sides[side];
      pen.globalAlpha = isHere ? 1 : 0.35;
      pen.setLineDash(isHere ? [] : [4, 4]);
      pen.beginPath();
      pen.roundRect(x, y, vertex.width, ROW, vertex.key[0] === "#" ? 5 : 11);
      if (isHere) {
        pen.fillStyle = colour(style, `--g-${vertex.state}`);
        pen.fill();
      }
      const isLit = vertex.ids.some((id) => lit.has(id));
      pen.strokeStyle = colour(style, vertex.key === selected || isLit ? "--mark" : "--g-edge");
      pen.lineWidth = vertex.key === selected ? 3.5 : isLit ? 2.5 : 1;
      pen.stroke();
      pen.setLineDash([]);
      if (isHere && isReadable) {
        const below = sub(vertex, side);
        pen.fillStyle = colour(style, "--g-ink");
        pen.font = "600 11.5px system-ui, sans-serif";
        pen.fillText(clip(pen, vertex.text, vertex.width - 12), vertex.x, vertex.y + (below ? -2 : 4));
        pen.font = "10.5px system-ui, sans-serif";
        if (below) pen.fillText(clip(pen, below, vertex.width - 10), vertex.x, vertex.y + 11);
      }
      pen.globalAlpha = 1;
    }
  };
  const clip = (pen, text, width) => {
    if (pen.measureText(text).width <= width) return text;
    let short = text;
    while (short.length > 1 && pen.measureText(`${short}…`).width > width) short = short.slice(0, -1);
    return `${short}…`;
  };

  const fit = () => {
    const all = [...shown.values()];
    const [x0, x1] = [Math.min(...all.map((v) => v.x - v.width / 2)), Math.max(...all.map((v) => v.x + v.width / 2))];
    const [y0, y1] = [Math.min(...all.map((v) => v.y)), Math.max(...all.map((v) => v.y))];
    const { clientWidth, clientHeight } = panes[0].canvas;
    const whole = Math.min(clientWidth / (x1 - x0 + 40), clientHeight / (y1 - y0 + 90));
    // A long graph starts at its top in a readable size; zooming out shows all of it.
    camera.scale = Math.max(0.02, Math.min(1, whole));
    camera.x = (x0 + x1) / 2;
    camera.y = (y0 + y1) / 2;
    draw();
  };
  const start = () => {
    fit();
    if (camera.scale >= 0.6) return;
    const top = Math.min(...[...shown.values()].map((v) => v.y));
    camera.scale = Math.max(0.6, Math.min(0.85, camera.scale));
    const first = [...shown.values()].reduce((a, b) => (b.y < a.y ? b : a));
    camera.x = first.x;
    camera.y = top - 70 + panes[0].canvas.clientHeight / 2 / camera.scale;
    draw();
  };
  const zoom = (factor, x = camera.x, y = camera.y) => {
    const scale = Math.max(0.02, Math.min(4, camera.scale * factor));
    camera.x = x + (camera.x - x) * camera.scale / scale;
    camera.y = y + (camera.y - y) * camera.scale / scale;
    camera.scale = scale;
    draw();
  };
  const place = (event, canvas) => {
    const box = canvas.getBoundingClientRect();
    return [camera.x + (event.clientX - box.left - box.width / 2) / camera.scale,
      camera.y + (event.clientY - box.top - box.height / 2) / camera.scale];
  };
  const hit = ([x, y], side) => [...shown.values()].find((v) => v.sides[side]
    && Math.abs(v.x - x) <= v.width / 2 && Math.abs(v.y - y) <= ROW / 2);

  // Details of the selected vertex.
  const details = root.querySelector(".node");
  const make = (tag, text = "", ...inside) => {
    const element = document.createElement(tag);
    element.textContent = text;
    element.append(...inside);
    return element;
  };
  const action = (text, act) => {
    const button = make("button", text);
    button.type = "button";
    button.addEventListener("click", act);
    return button;
  };
  const number = (value) => (value === undefined ? "" : value.toLocaleString("en"));
  const table = (rows) => {
    const found = make("table");
    for (const cells of rows) {
      const row = make("tr");
      cells.forEach((cell, k) => row.append(make(k && cells !== rows[0] ? "td" : "th", cell)));
      found.append(row);
    }
    return found;
  };
  const fold = (key) => {
    if (opened.has(key)) opened.delete(key); else opened.add(key);
    const at = shown.get(key) ?? shown.get(selected);
    const before = at && [at.x, at.y];
    layout();
    const vertex = shown.get(key) ?? [...shown.values()].find((v) => v.ids.some((id) => blocks.get(key).nodes.includes(id)));
    if (before) { camera.x += vertex.x - before[0]; camera.y += vertex.y - before[1]; }
    select(vertex.key);
  };
  // The shortest chain of couplings: a path over edges among the nodes that a family crosses.
  const path = (ids, from, ends) => {
    const inside = new Set(ids);
    const near = new Map();
    for (const [a, b] of edges) {
      if (!inside.has(a) || !inside.has(b)) continue;
      for (const [x, y] of [[a, b], [b, a]]) near.set(x, [...(near.get(x) ?? []), y]);
    }
    const before = new Map(from.map((id) => [id, null]));
    const queue = [...from];
    for (let k = 0; k < queue.length; k += 1) {
      if (ends.includes(queue[k])) {
        const found = [];
        for (let at = queue[k]; at !== null; at = before.get(at)) found.unshift(at);
        return found;
      }
      for (const next of near.get(queue[k]) ?? []) if (!before.has(next)) { before.set(next, queue[k]); queue.push(next); }
    }
    return [];
  };
  const called = (id) => (nodes[id].a ?? nodes[id].b).name;
  const show = (family, ids, reason) => {
    lit = new Set(family.nodes);
    trail = new Set();
    const found = reason ? path(family.nodes, ids, reason[1]) : [];
    const at = (id) => home(nodes[id]) ?? `#${id}`;
    for (let k = 1; k < found.length; k += 1) trail.add(`${at(found[k - 1])}\n${at(found[k])}`);
    if (reason) for (const id of found.length ? found : reason[1]) lit.add(id);
    draw();
    return found;
  };
  const couplings = (ids) => {
    const list = make("ul");
    for (const family of families.filter((each) => each.nodes.some((id) => ids.includes(id))).slice(0, 12)) {
      const state = { free: "can be cut", fenced: "fenced", inexact: "can be cut inexactly", single: "one set only" };
      const item = make("li", `${family.name}: ${family.size} coupled sets, ${state[family.state]}; cuts ${family.cuts.slice(0, 6).join(", ")}${family.cuts.length + family.more > 6 ? " and more" : ""} `);
      item.append(action("Show coupled nodes", () => show(family, ids)));
      const [most, count] = [5, family.reasons.length];
      for (const reason of family.reasons.slice(0, most)) {
        const line = make("div", `${reason[1].length ? `${called(reason[1][0])}: ` : ""}${reason[0]} `);
        const says = make("span");
        line.append(action("Show the chain", () => {
          const found = show(family, ids, reason);
          says.textContent = found.length ? ` ${found.map(called).join(" → ")}` : "";
        }), says);
        item.append(line);
      }
      if (count > most) item.append(make("div", `and ${count - most} more reasons`));
      list.append(item);
    }
    return list.children.length ? [make("h3", "Coupled sets"), list] : [];
  };
  const select = (key) => {
    selected = key;
    lit = new Set();
    trail = new Set();
    details.replaceChildren();
    const vertex = key === null ? null : shown.get(key);
    if (!vertex) { details.append(make("p", "Click a node for its shapes and cost; double-click a block to open it.")); draw(); return; }
    const single = key[0] === "#" ? nodes[vertex.ids[0]] : null;
    const own = single ? (single.a ?? single.b) : null;
    details.append(make("h3", single ? own.name : blocks.get(key).key.slice(1)));
    const tools = make("div");
    if (!single) tools.append(action("Open this block", () => fold(key)));
    for (const outer of chain(nodes[vertex.ids[0]].block).filter((each) => opened.has(each) && !isTrivial(blocks.get(each)))) {
      tools.append(action(`Close ${blocks.get(outer).name}`, () => fold(outer)));
    }
    details.append(tools);
    const sum = (side, name) => vertex.ids.reduce((total, id) => total + (nodes[id][side]?.[name] ?? 0), 0);
    const heads = ["", ...(SIDES.length > 1 ? sides : [""])];
    const each = (text, read) => [text, ...SIDES.map(read)];
    details.append(single ? table([heads,
      each("operator", (side) => single[side]?.op ?? "absent"),
      each("output", (side) => (single[side]?.out ?? []).map((shape) => shape.join("×")).join(", ")),
      each("filters × columns", (side) => (single[side]?.filters ? `${number(single[side].filters)} × ${number(single[side].columns)}` : "")),
      each("params", (side) => number(single[side]?.params)),
      each("MACs", (side) => number(single[side]?.macs)),
    ]) : table([heads,
      each("nodes", (side) => number(vertex.ids.filter((id) => nodes[id][side]).length)),
      each("params", (side) => number(sum(side, "params"))),
      each("MACs", (side) => number(sum(side, "macs"))),
    ]));
    if (single?.b && single?.a && single.b.name !== single.a.name) details.append(make("p", `now named ${single.b.name}`));
    const changes = single ? single.changes ?? [] : [];
    if (changes.length) details.append(make("ul", "", ...changes.map((text) => make("li", text))));
    details.append(...couplings(vertex.ids));
    draw();
  };
  const reveal = (id) => {
    for (const key of chain(nodes[id].block)) opened.add(key);
    if (nodes[id].constant && !withConstants) toggle.click(); else layout();
    const vertex = shown.get(`#${id}`);
    Object.assign(camera, { x: vertex.x, y: vertex.y, scale: Math.max(camera.scale, 0.8) });
    select(vertex.key);
  };
  const step = (key, down) => {
    const line = lines.find((each) => (down ? each.from : each.to) === key);
    return line && (down ? line.to : line.from);
  };
  const beside = (vertex, sign) => {
    const same = [...shown.values()].filter((v) => Math.abs(v.y - vertex.y) < ROW && sign * (v.x - vertex.x) > 1);
    return same.sort((a, b) => sign * (a.x - b.x))[0]?.key;
  };
  for (const { side, canvas } of panes) {
    let moved = 0;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 400), ...place(event, canvas));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => { moved = 0; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) {
        canvas.style.cursor = hit(place(event, canvas), side) ? "pointer" : "grab";
        return;
      }
      moved += Math.abs(event.movementX) + Math.abs(event.movementY);
      camera.x -= event.movementX / camera.scale;
      camera.y -= event.movementY / camera.scale;
      draw();
    });
    canvas.addEventListener("click", (event) => { if (moved < 5) select(hit(place(event, canvas), side)?.key ?? null); });
    canvas.addEventListener("dblclick", (event) => {
      const vertex = hit(place(event, canvas), side);
      if (vertex && vertex.key[0] !== "#") fold(vertex.key);
    });
    canvas.addEventListener("keydown", (event) => {
      const vertex = shown.get(selected) ?? [...shown.values()].find((v) => v.sides[side]);
      const moves = { ArrowDown: () => step(vertex.key, true), ArrowUp: () => step(vertex.key, false),
        ArrowRight: () => beside(vertex, 1), ArrowLeft: () => beside(vertex, -1) };
      if (event.key === "+" || event.key === "=") zoom(1.3);
      else if (event.key === "-") zoom(1 / 1.3);
      else if (event.key === "0") fit();
      else if (event.key === "Escape") select(null);
      else if (event.key === "Enter" && vertex.key[0] !== "#") fold(vertex.key);
      else if (moves[event.key]) {
        const next = selected === null ? vertex.key : moves[event.key]();
        if (next) {
          select(next);
          Object.assign(camera, { x: shown.get(next).x, y: shown.get(next).y });
        }
      } else return;
      event.preventDefault();
    });
  }

  const field = root.querySelector("input[type=search]");
  const list = root.querySelector(".found");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    const matches = wanted ? nodes.filter((node) => SIDES.some((side) => node[side]
      && `${node[side].name} ${node[side].op}`.toLowerCase().includes(wanted))) : [];
    list.replaceChildren(...matches.slice(0, RESULTS).map((node) => make("li", "", action(
      `${called(node.id)} (${(node.a ?? node.b).op})`, () => { list.replaceChildren(); reveal(node.id); },
    ))));
    if (wanted && !matches.length) list.append(make("li", "no node has this name"));
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") list.replaceChildren();
    if (event.key === "Enter") { event.preventDefault(); list.querySelector("button")?.click(); }
  });
  const all = (isOpen) => () => {
    for (const key of blocks.keys()) if (key) { if (isOpen) opened.add(key); else opened.delete(key); }
    layout();
    select(null);
    start();
  };
  const toggle = root.querySelector("button.constants");
  toggle.hidden = !nodes.some((node) => node.constant);
  toggle.addEventListener("click", () => {
    withConstants = !withConstants;
    toggle.setAttribute("aria-pressed", withConstants);
    toggle.textContent = withConstants ? "Hide constants" : "Show constants";
    layout();
    select(shown.has(selected) ? selected : null);
  });
  const tools = { fit, open: all(true), close: all(false), in: () => zoom(1.3), out: () => zoom(1 / 1.3) };
  for (const [name, act] of Object.entries(tools)) root.querySelector(`button.${name}`).addEventListener("click", act);
  document.addEventListener("themechange", draw);
  window.addEventListener("resize", draw);
  layout();
  start();
  select(null);
  if (location.hash.startsWith("#node=")) {
    const wanted = decodeURIComponent(location.hash.slice(6));
    const node = nodes.find((each) => SIDES.some((side) => each[side]?.name === wanted));
    if (node) reveal(node.id);
  }
})();
