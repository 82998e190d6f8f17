"use strict";
// Each chart reads the rows of the table that stands below it: numbers are in the page once.
function numberOf(text) {
  const number = Number(text.replace("−", "-"));
  return Number.isNaN(number) ? text : number; // such as a p below .001
}

function rowsOf(table) {
  const heads = [...table.tHead.rows[0].cells].map(cell => [cell.dataset.key, cell.classList.contains("number")]);
  return [...table.tBodies[0].rows].map(row => Object.fromEntries(heads.map(([key, number], at) => {
    const text = row.cells[at].textContent;
    return [key, !number ? text : text === "" ? null : numberOf(text)];
  })));
}

async function draw(figure) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const rows = name => rowsOf(document.getElementById(name));
  const beside = figure.dataset.beside.split(" ").filter(Boolean).map(pair => pair.split(":"));
  beside.push(["rows", figure.dataset.table]);
  spec.datasets = Object.fromEntries(beside.map(([name, table]) => [name, rows(table)]));
  const theme = matchMedia("(prefers-color-scheme: dark)").matches && !matchMedia("print").matches ? "dark" : "light";
  await vegaEmbed(figure.querySelector(".plot"), spec, { renderer: "svg", actions: false, tooltip: { theme }, logLevel: 1 /* errors alone */ });
  // The page says what a chart shows, and the table below says the rest.
  figure.querySelector("svg").setAttribute("aria-hidden", "true");
  for (const select of figure.querySelectorAll("select")) select.setAttribute("aria-label", select.name);
  figure.dataset.drawn = "yes";
}

document.querySelectorAll("figure.chart").forEach(draw);

// While a study runs, its section is fetched anew; what a reader opened or chose stays.
async function renew(name, before) {
  const answer = await fetch(name).catch(() => null);
  if (!answer) { // the command has ended, and left no report
    document.querySelector("header .notice").textContent = "The command has ended; the terminal says how.";
    return;
  }
  const content = await answer.text();
  if (content === "finished") return location.reload();
  const old = document.getElementById(name);
  if (content !== before) {
    const open = [...old.querySelectorAll("details[open] caption")].map(caption => caption.textContent);
    // Who chose nothing follows the newest, which stands first.
    const chosen = [...old.querySelectorAll("select")].map(select => select.selectedIndex > 0 ? select.value : null);
    const added = document.createRange().createContextualFragment(content).firstElementChild;
    for (const details of added.querySelectorAll("details"))
      details.open = open.includes(details.querySelector("caption").textContent);
    old.replaceWith(added);
    for (const figure of added.querySelectorAll("figure.chart")) await draw(figure);
    added.querySelectorAll("select").forEach((select, at) => {
      if ([...select.options].some(option => option.value === chosen[at])) {
        select.value = chosen[at];
        select.dispatchEvent(new Event("input", { bubbles: true }));
      }
    });
  }
  setTimeout(renew, 1000, name, content);
}
if (document.body.dataset.live) renew(document.body.dataset.live, "");
