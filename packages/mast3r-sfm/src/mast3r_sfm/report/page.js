"use strict";
// A click on the head of a table sorts its rows; another click turns them around.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const descending = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const key = row => row.cells[column].textContent.trim();
    const number = row => Number.parseFloat(key(row).replaceAll(",", ""));
    const compare = head.classList.contains("n")
      ? (a, b) => (number(a) || 0) - (number(b) || 0)
      : (a, b) => key(a).localeCompare(key(b), undefined, {numeric: true});
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((a, b) => descending ? compare(b, a) : compare(a, b)));
  }));
}
