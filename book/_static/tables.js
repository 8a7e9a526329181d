// Long tables show eight rows and a button for the rest; columns sort by their names.
// Without this script the whole table stands.

const BookTables = (() => {
  "use strict";

  const SHOWN = 8;
  const LONG = 12;

  // How two cells compare: numbers by value, words by letters, what is missing last whatever the way.
  function order(a, b, way) {
    const [missingA, missingB] = [a, b].map((text) => text === "" || text === "–");
    if (missingA || missingB) return missingA - missingB;
    const [x, y] = [a, b].map((text) => parseFloat(text.replace("−", "-").replace(/^±\s*/, "")));
    const byValue = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
    return way === "descending" ? -byValue : byValue;
  }

  // A name that stands for several rows stands in each of them, so that rows can move.
  function repeatNames(rows) {
    rows.forEach((row, i) => {
      for (const cell of [...row.cells]) {
        const span = cell.rowSpan;
        const at = cell.cellIndex;
        cell.rowSpan = 1;
        for (const below of rows.slice(i + 1, i + span)) {
          const again = cell.cloneNode(true);
          again.classList.add("again");
          below.insertBefore(again, below.cells[at]);
        }
      }
    });
  }

  function sortable(table, rows, shown) {
    const heads = [...table.tHead.rows[0].cells];
    for (const head of heads) {
      if (!head.textContent.trim()) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      head.scope = "col";
      button.addEventListener("click", () => {
        const way = head.ariaSort === "descending" ? "ascending" : "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.ariaSort = way;
        const text = (row) => row.cells[head.cellIndex].textContent.trim();
        rows.sort((a, b) => order(text(a), text(b), way));
        table.tBodies[0].append(...rows);
        table.classList.add("sorted");
        shown();
      });
    }
  }

  function prepare(table) {
    const rows = [...(table.tBodies[0]?.rows ?? [])];
    if (!table.tHead || rows.length < 3 || table.closest("details")) return;
    repeatNames(rows);
    let folded = rows.length >= LONG;
    const shown = () => rows.forEach((row, i) => row.classList.toggle("folded", folded && i >= SHOWN));
    if (table.tHead.rows.length === 1 && rows.length > 3) sortable(table, rows, shown);
    if (!folded) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "more-rows";
    const say = () => {
      shown();
      button.textContent = folded ? `Show all ${rows.length} rows` : `Show ${SHOWN} rows`;
      button.setAttribute("aria-expanded", String(!folded));
    };
    button.addEventListener("click", () => {
      folded = !folded;
      say();
    });
    say();
    table.after(button);
  }

  return { order, prepare };
})();

if (typeof module !== "undefined") module.exports = BookTables;
else
  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".cell_output table.dataframe").forEach(BookTables.prepare);
  });
