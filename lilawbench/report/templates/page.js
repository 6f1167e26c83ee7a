"use strict";
// A cell's number, or its text; "-" and empty ones come last whatever the direction.
function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const found = text.replace(/^[<>~]\s*/, "").match(/^[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?/i);
  return { text, empty: text === "" || text === "-", number: found ? parseFloat(found[0].replace(/,/g, "")) : NaN };
}

function sortBy(table, column, up) {
  const body = table.tBodies[0];
  const lines = [...body.rows].map((row, at) => ({ row, at, ...valueOf(row, column) }));
  const numbers = lines.every((line) => line.empty || !Number.isNaN(line.number));
  const words = new Intl.Collator("en", { numeric: true });
  lines.sort((a, b) => {
    if (a.empty || b.empty) return a.empty - b.empty || a.at - b.at;
    const order = numbers ? a.number - b.number : words.compare(a.text, b.text);
    return (up ? order : -order) || a.at - b.at;
  });
  body.append(...lines.map((line) => line.row));
}

for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  if (table.tBodies[0].rows.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent.trim()) button.setAttribute("aria-label", "Sort by name");
    head.append(button);
    button.addEventListener("click", () => {
      // numbers begin with the largest, words with A
      const first = head.classList.contains("word") ? "ascending" : "descending";
      const other = first === "ascending" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort") === first ? other : first;
      heads.forEach((one) => one.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", now);
      sortBy(table, column, now === "ascending");
    });
  });
}

function save(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

for (const button of document.querySelectorAll("[data-picture]")) {
  const picture = button.closest("figure").querySelector("img");
  button.addEventListener("click", () => save(picture.src, button.dataset.picture));
}

for (const button of document.querySelectorAll("[data-packed]")) {
  button.addEventListener("click", async () => {
    const packed = Uint8Array.from(atob(button.dataset.packed), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const whole = new Blob([await new Response(stream).blob()], { type: "image/svg+xml" });
    const address = URL.createObjectURL(whole);
    save(address, button.dataset.name);
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
}
