// Tables: sorted by the column whose heading is pressed, a third press restores the paper's order.

// Numbers before words, both in order; entries that say nothing come last whichever way it goes.
function compareCells(a, b, direction) {
  const [x, y] = [a, b].map((cell) => ({
    number: cell.dataset.value === undefined ? null : Number(cell.dataset.value),
    text: cell.textContent,
  }));
  if (x.number !== null && y.number !== null) return direction * (x.number - y.number);
  if (x.number !== null || y.number !== null) return x.number !== null ? -1 : 1;
  if (!x.text !== !y.text) return x.text ? -1 : 1;
  return direction * x.text.localeCompare(y.text, "en", { numeric: true });
}

function makeSortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = { none: first, [first]: second, [second]: "none" }[head.ariaSort];
      heads.forEach((other) => (other.ariaSort = "none"));
      head.ariaSort = order;
      const direction = order === "descending" ? -1 : 1;
      const sorted = order === "none" ? rows : [...rows].sort(
        (a, b) => compareCells(a.cells[column], b.cells[column], direction),
      );
      body.append(...sorted);
    });
  });
}

document.querySelectorAll(".sheet table").forEach(makeSortable);
document.querySelectorAll("select[data-parts]").forEach((select) => {
  const parts = select.closest(".sheet").querySelectorAll(".scroll");
  const show = () => parts.forEach((part, at) => (part.hidden = at !== select.selectedIndex));
  select.addEventListener("change", show);
  show();
});
