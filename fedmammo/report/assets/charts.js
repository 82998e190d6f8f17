"use strict";
// Each chart reads the rows of the table that stands below it: numbers are in the page once.
function rowsOf(table) {
  const heads = [...table.tHead.rows[0].cells].map(cell => [cell.dataset.key, cell.classList.contains("number")]);
  return [...table.tBodies[0].rows].map(row => Object.fromEntries(heads.map(([key, number], at) => {
    const text = row.cells[at].textContent;
    return [key, !number ? text : text === "" ? null : Number(text.replace("−", "-"))];
  })));
}

async function draw(figure) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  spec.data = { values: rowsOf(document.getElementById(figure.dataset.table)) };
  const theme = matchMedia("(prefers-color-scheme: dark)").matches && !matchMedia("print").matches ? "dark" : "light";
  await vegaEmbed(figure.querySelector(".plot"), spec, { renderer: "svg", actions: false, tooltip: { theme } });
  for (const select of figure.querySelectorAll("select")) select.setAttribute("aria-label", select.name);
  figure.dataset.drawn = "yes";
}

document.querySelectorAll("figure.chart").forEach(draw);
