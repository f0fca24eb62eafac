"use strict";
// A click on a head sorts the rows by that column, another click turns them around; empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  for (const [column, head] of heads.entries()) {
    head.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = [...body.rows].map(row => {
        const words = row.cells[column].textContent.trim();
        return {row, words, number: Number.parseFloat(words.replaceAll(",", ""))};
      });
      const numeric = head.classList.contains("n");
      const known = entry => numeric ? !Number.isNaN(entry.number) : entry.words !== "";
      const order = (a, b) => numeric ? a.number - b.number
        : a.words.localeCompare(b.words, undefined, {numeric: true});
      keyed.sort((a, b) => (known(b) - known(a)) || (known(a) ? (down ? order(b, a) : order(a, b)) : 0));
      body.append(...keyed.map(entry => entry.row));
    });
  }
}
// Only rows that contain all words are shown.
for (const field of document.querySelectorAll("input[type=search]")) {
  const body = document.querySelector("table.sortable").tBodies[0];
  field.hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of body.rows) {
      const content = row.textContent.toLowerCase();
      row.hidden = !words.every(word => content.includes(word));
    }
  });
}
// A link to a picture opens what it is folded into.
const unfold = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const folded = target && target.closest("details");
  if (folded) { folded.open = true; target.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
