"use strict";
// The mask of each layer: its matrix of filters by columns, with what was removed.
(() => {
  const layers = JSON.parse(document.getElementById("data-masks").textContent);
  const runs = (text) => text ? text.split(" ").map((run) => {
    const [first, last] = run.split("-").map(Number);
    return [first, (last ?? first) + 1];
  }) : [];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // Draws the part of a mask from (x, y) at a scale in pixels per cell.
  const draw = (canvas, mask, x, y, sx, sy) => {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const [right, bottom] = [mask.columns * sx, mask.filters * sy];
    pen.translate(-x, -y);
    pen.fillStyle = colour("--now");
    pen.fillRect(0, 0, right, bottom);
    pen.fillStyle = colour("--was");
    for (const [a, b] of runs(mask.goneColumns)) pen.fillRect(a * sx, 0, (b - a) * sx, bottom);
    for (const [a, b] of runs(mask.goneFilters)) pen.fillRect(0, a * sy, right, (b - a) * sy);
    pen.fillStyle = colour("--paper");
    const lines = (count, every, size, start, end, vertical) => {
      if (every * size < 6) return;
      for (let k = Math.max(every, Math.floor(start / size / every) * every); k < count && k * size < end; k += every) {
        if (vertical) pen.fillRect(k * size - 0.5, y, 1, Math.min(height, bottom - y));
        else pen.fillRect(x, k * size - 0.5, Math.min(width, right - x), 1);
      }
    };
    const channel = mask.kernel.reduce((a, b) => a * b, 1);
    if (channel > 1) lines(mask.columns, channel, sx, x, x + width, true);
    if (sx >= 6) lines(mask.columns, 1, sx, x, x + width, true);
    lines(mask.filters, 1, sy, y, y + height, false);
  };

  const dialog = document.getElementById("mask");
  const canvas = dialog.querySelector("canvas");
  const view = { mask: null, x: 0, y: 0, sx: 1, sy: 1 };
  const least = () => [canvas.clientWidth / view.mask.columns, canvas.clientHeight / view.mask.filters];
  const redraw = () => {
    if (!view.mask || !dialog.open) return;
    view.x = Math.max(0, Math.min(view.x, view.mask.columns * view.sx - canvas.clientWidth));
    view.y = Math.max(0, Math.min(view.y, view.mask.filters * view.sy - canvas.clientHeight));
    draw(canvas, view.mask, view.x, view.y, view.sx, view.sy);
  };
  const fit = () => { [view.sx, view.sy] = least(); view.x = view.y = 0; redraw(); };
  const zoom = (factor, px = canvas.clientWidth / 2, py = canvas.clientHeight / 2) => {
    const [lx, ly] = least();
    const bound = (scale, low) => Math.max(low, Math.min(scale * factor, Math.max(40, low)));
    const [sx, sy] = [bound(view.sx, lx), bound(view.sy, ly)];
    view.x = (view.x + px) * sx / view.sx - px;
    view.y = (view.y + py) * sy / view.sy - py;
    [view.sx, view.sy] = [sx, sy];
    redraw();
  };
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const says = dialog.querySelector(".says");
  const has = (text, k) => runs(text).some(([a, b]) => a <= k && k < b);
  const point = ([px, py]) => {
    const { mask } = view;
    const [column, filter] = [Math.floor((view.x + px) / view.sx), Math.floor((view.y + py) / view.sy)];
    if (column >= mask.columns || filter >= mask.filters || column < 0 || filter < 0) return "";
    const size = mask.kernel.reduce((a, b) => a * b, 1);
    const inside = size > 1 ? ` (channel ${Math.floor(column / size)}, kernel position ${column % size})` : "";
    const gone = [has(mask.goneFilters, filter) && "filter removed", has(mask.goneColumns, column) && "column removed"];
    return `filter ${filter}, column ${column}${inside}: ${gone.filter(Boolean).join(", ") || "kept"}`;
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 300), ...where(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    says.textContent = point(where(event));
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    view.x -= event.movementX;
    view.y -= event.movementY;
    redraw();
  });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] };
    if (event.key === "+" || event.key === "=") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (event.key === "0") fit();
    else if (moves[event.key]) { view.x += moves[event.key][0]; view.y += moves[event.key][1]; redraw(); }
    else return;
    event.preventDefault();
  });
  const open = (mask) => {
    view.mask = mask;
    dialog.querySelector("h3").textContent = mask.name;
    dialog.querySelector(".sizes").textContent = mask.text;
    dialog.querySelector(".gone-filters").textContent = mask.goneFilters || "none";
    dialog.querySelector(".gone-columns").textContent = mask.goneColumns || "none";
    canvas.setAttribute("aria-label", `Mask of ${mask.name}: ${mask.text}`);
    dialog.showModal();
    fit();
  };
  for (const [name, act] of [["in", () => zoom(1.5)], ["out", () => zoom(1 / 1.5)], ["fit", fit],
    ["close", () => dialog.close()]]) {
    dialog.querySelector(`button.${name}`).addEventListener("click", act);
  }
  const thumbs = [...document.querySelectorAll(".masks button")];
  const small = (button) => {
    const mask = layers[Number(button.dataset.mask)];
    const picture = button.querySelector("canvas");
    if (picture.clientWidth) {
      draw(picture, mask, 0, 0, picture.clientWidth / mask.columns, picture.clientHeight / mask.filters);
    }
  };
  const seen = new IntersectionObserver((found) => {
    for (const each of found) if (each.isIntersecting) { small(each.target); seen.unobserve(each.target); }
  }, { rootMargin: "300px" });
  for (const button of thumbs) {
    seen.observe(button);
    button.addEventListener("click", () => open(layers[Number(button.dataset.mask)]));
  }
  const again = () => { for (const button of thumbs) seen.observe(button); redraw(); };
  document.addEventListener("themechange", again);
  window.addEventListener("resize", again);
})();
