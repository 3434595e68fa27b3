"use strict";
// The theme, sortable tables, and tables that a search field filters.
(() => {
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("acgraph-theme"); } catch { return null; } };
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : dark.matches;
  const button = document.getElementById("theme");
  const show = () => {
    button.textContent = isDark() ? "Light theme" : "Dark theme";
    document.dispatchEvent(new Event("themechange"));
  };
  if (["dark", "light"].includes(stored())) root.dataset.theme = stored();
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("acgraph-theme", root.dataset.theme); } catch { /* a private window */ }
    show();
  });
  dark.addEventListener("change", show);
  show();

  const value = (row, column) => {
    const cell = row.cells[column];
    const sort = cell.dataset.v ?? cell.textContent.trim();
    return sort === "" ? null : Number.isNaN(Number(sort)) ? sort : Number(sort);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  for (const head of document.querySelectorAll("th[data-column]")) {
    const label = document.createElement("button");
    label.type = "button";
    label.append(...head.childNodes);
    head.append(label);
    label.addEventListener("click", () => {
      const table = head.closest("table");
      const body = table.tBodies[0];
      const column = Number(head.dataset.column);
      const down = head.getAttribute("aria-sort") === "descending";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [value(row, column), row]);
      rows.sort(([a], [b]) => a === null || b === null ? compare(a, b) : (down ? 1 : -1) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    });
  }
  for (const field of document.querySelectorAll("input[data-filters]")) {
    const body = document.getElementById(field.dataset.filters).tBodies[0];
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      for (const row of body.rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
  }
})();
