
"use strict";
// Everything is written as text, never as markup: what a client sent can be in it.
const report = JSON.parse(document.getElementById("report").textContent);
const element = (tag, text, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
};
const drawn = (tag, attributes) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};
const count = number => number.toLocaleString("en");
const percent = share => share > 0 && share < 0.001 ? "<0.1%" : (share * 100).toFixed(share >= 0.9995 ? 0 : 1) + "%";
const bytes = number => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) { number /= 1024; unit++; }
  return (unit && number < 100 ? number.toFixed(1) : Math.round(number)) + " " + units[unit];
};
const milliseconds = time => time < 1 ? Math.round(time * 1000) + " µs" : time < 10 ? time.toFixed(1) + " ms"
  : time < 1000 ? Math.round(time) + " ms" : (time / 1000).toFixed(1) + " s";
const span = seconds => {
  for (const [unit, name] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= unit) return (seconds / unit).toFixed(seconds % unit ? 1 : 0) + " " + name;
  }
  return seconds + " s";
};
const plain = time => time.replace("T", " ").replace("Z", "");
const amount = it => it.value_ms !== undefined ? milliseconds(it.value_ms) : bytes(it.value_bytes);

const hint = document.getElementById("hint");
const place = (x, y) => {
  const box = hint.getBoundingClientRect();
  hint.style.left = Math.max(4, Math.min(x + 12, innerWidth - box.width - 4)) + "px";
  hint.style.top = Math.max(4, y - box.height - 12) + "px";
};
// Says something of a shape while it is pointed at, touched or focused.
const explain = (shape, text) => {
  const show = event => {
    hint.textContent = text();
    hint.hidden = false;
    const box = shape.getBoundingClientRect();
    place(event.clientX ?? box.left, event.clientY ?? box.top + 20);
  };
  shape.addEventListener("pointermove", show);
  shape.addEventListener("focus", show);
  for (const end of ["pointerleave", "blur"]) shape.addEventListener(end, () => { hint.hidden = true; });
};

function card(panel, note, isWide) {
  const made = element("section");
  if (isWide) made.classList.add("wide");
  made.append(element("h2", panel.title));
  if (note) made.append(element("p", note, "note"));
  return made;
}

// Bars of several parts on each other; `cells[part][cell]`.
function bars(cells, names, text, isSmall) {
  const many = cells[0].length, width = 1000, height = 200;
  const made = drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img" });
  if (isSmall) made.classList.add("small");
  const most = Math.max(1, ...cells[0].map((_, cell) => cells.reduce((sum, part) => sum + part[cell], 0)));
  const each = width / many, gap = Math.min(each * 0.15, 2);
  for (let cell = 0; cell < many; cell++) {
    const back = drawn("rect", { class: "cell", x: cell * each, y: 0, width: each, height, tabindex: many <= 48 ? 0 : -1 });
    explain(back, () => text(cell));
    made.append(back);
    let top = height;
    cells.forEach((part, number) => {
      if (!part[cell]) return;
      const size = Math.max(part[cell] / most * height, 1);
      top -= size;
      made.append(drawn("rect", { class: names[number], x: cell * each + gap / 2, y: Math.max(0, top), width: each - gap, height: size, "pointer-events": "none" }));
    });
  }
  return made;
}

const titles = { answered: "answered (2xx)", redirected: "redirected (3xx)", client_error: "client errors (4xx)",
  server_error: "server errors (5xx)", unanswered: "no answer" };
// The outcomes that charts and tables are about; all when there are none.
const chosen = new Set();
// What is drawn anew when others are chosen, or another text is looked for.
const drawings = [];
let wanted = "";
const redraw = () => drawings.forEach(drawing => drawing());

function traffic(panel) {
  const all = panel.outcomes.filter(outcome => outcome.hits > 0);
  const made = card(panel, panel.from ? `each bar is ${span(panel.cell_seconds)}` : "", true);
  if (!all.length) return made;
  const begin = Date.parse(panel.from) / 1000;
  const moment = cell => plain(new Date((begin + cell * panel.cell_seconds) * 1000).toISOString().slice(0, 19));
  const chart = element("div"), legend = element("div", undefined, "legend"), told = document.getElementById("chosen");
  const everything = element("button", "show all");
  everything.type = "button";
  everything.addEventListener("click", () => { chosen.clear(); redraw(); });
  const buttons = all.map(outcome => {
    const button = element("button");
    button.type = "button";
    button.append(element("i", undefined, outcome.outcome),
      `${titles[outcome.outcome]} ${count(outcome.hits)} · ${percent(outcome.hits_share)}`);
    button.addEventListener("click", () => {
      if (!chosen.delete(outcome.outcome)) chosen.add(outcome.outcome);
      redraw();
    });
    legend.append(button);
    return button;
  });
  drawings.push(() => {
    const shown = all.filter(outcome => !chosen.size || chosen.has(outcome.outcome));
    chart.replaceChildren(bars(shown.map(outcome => outcome.cells), shown.map(outcome => outcome.outcome), cell => [moment(cell) + " UTC",
      ...shown.map(outcome => `${titles[outcome.outcome]}: ${count(outcome.cells[cell])}`)].join("\n")));
    all.forEach((outcome, number) => buttons[number].setAttribute("aria-pressed", String(chosen.has(outcome.outcome))));
    legend.classList.toggle("some", chosen.size > 0);
    told.hidden = !chosen.size;
    const sum = shown.reduce((sum, outcome) => sum + outcome.hits, 0);
    told.replaceChildren(`Only ${shown.map(outcome => titles[outcome.outcome]).join(", ")}: ${count(sum)} of ${count(report.totals.requests)} requests. `
      + "Of each table, the rows with the most requests of any outcome; bytes and times are not known by outcome. ", everything);
  });
  const axis = element("div", undefined, "axis");
  axis.append(element("span", moment(0)), element("span", moment(all[0].cells.length - 1) + " UTC"));
  made.append(chart, axis, legend);
  return made;
}

function distribution(panel) {
  const unknown = panel.name === "response_times" ? report.totals.unknown_number : null;
  if (!panel.requests) return card(panel, unknown ?? "not recorded in these logs");
  const missing = panel.requests_not_recorded ? `; ${count(panel.requests_not_recorded)} do not say` : "";
  const mean = panel.mean_ms !== undefined ? milliseconds(panel.mean_ms) : bytes(panel.mean_bytes);
  const made = card(panel, `${count(panel.requests)} requests, mean ${mean}${missing}`);
  const cells = panel.buckets.map(bucket => bucket.requests);
  made.append(bars([cells], ["answered"], cell =>
    `${cell ? `above ${amount(panel.buckets[cell - 1])}, ` : ""}up to ${amount(panel.buckets[cell])}\n${count(cells[cell])} requests`, true));
  const axis = element("div", undefined, "axis");
  axis.append(element("span", "up to " + amount(panel.buckets[0])), element("span", amount(panel.buckets[panel.buckets.length - 1])));
  const table = element("table"), body = element("tbody");
  for (const it of panel.quantiles) {
    const row = element("tr"), name = element("td");
    name.append(element("span", it.quantile >= 1 ? "largest" : `${+(it.quantile * 100).toFixed(1)}% of requests at most`));
    row.append(name, element("td", amount(it)));
    body.append(row);
  }
  table.append(body);
  made.append(axis, table);
  return made;
}

function surges(panel) {
  const made = card(panel, panel.surges.length + panel.found.length ? "" : "none: there is no time with much more than is usual at its hour", true);
  for (const surge of panel.surges) {
    const one = element("article");
    one.append(element("p", `${plain(surge.from)} to ${plain(surge.until)} UTC (${span(surge.seconds)})`));
    one.append(element("p", surge.explanation));
    for (const rule of surge.rules) {
      const line = element("p");
      line.append(element("code", rule.text), ` explains ${percent(rule.coverage)}, ${count(rule.requests)} requests, ${bytes(rule.bytes)}`);
      one.append(line);
    }
    one.append(element("p", surge.advice, "note"));
    made.append(one);
  }
  const found = surge => element("p", `${plain(surge.from)} to ${plain(surge.until)} UTC (${span(surge.seconds)}): ${surge.times_usual} times what is usual`);
  made.append(...panel.found.map(found));
  if (panel.left_out.length) {
    made.append(element("p", `${panel.left_out.length} more, weaker:`, "note"), ...panel.left_out.map(found));
  }
  return made;
}

// The head of a table whose columns can be clicked for their order, and the rows under it. A column has a title, a key by which a row is
// ordered, whether that is a number, and a class.
function sortable(columns, lines, shown) {
  const grid = element("table"), head = element("tr"), body = element("tbody"), header = element("thead"), scroll = element("div", undefined, "scroll");
  let order = null;
  columns.forEach(({ title, key, isNumber, name }) => {
    const cell = element("th", undefined, name), button = element("button", title || "value");
    button.type = "button";
    button.addEventListener("click", () => {
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", isNumber ? "descending" : "ascending");
      order = isNumber ? (a, b) => key(b) - key(a) : (a, b) => String(key(a)).localeCompare(String(key(b)));
      arrange();
    });
    cell.append(button);
    head.append(cell);
  });
  const arrange = usual => {
    const by = order ?? usual;
    body.replaceChildren(...(by ? [...lines].sort(by) : lines).map(each => each.line));
  };
  header.append(head);
  grid.append(header, body);
  scroll.append(grid);
  drawings.push(() => {
    let found = 0;
    for (const each of lines) {
      each.line.hidden = !(each.text.includes(wanted) && shown(each));
      found += each.line.hidden ? 0 : 1;
    }
    scroll.parentElement.hidden = (wanted !== "" || chosen.size > 0) && !found;
  });
  return { scroll, grid, arrange };
}

function table(panel) {
  const about = panel.exact ? "" : `; counts at most ${count(panel.hits_error_max)} hits too high`;
  const note = !panel.recorded ? "not recorded in these logs" : !panel.distinct ? "none"
    : panel.distinct === panel.rows.length && panel.exact ? "" : `${panel.rows.length} of ${panel.exact ? "" : "about "}${count(panel.distinct)}${about}`;
  const made = card(panel, note), isOfTime = panel.name === "hours";
  const rows = panel.rows.map(row => ({ ...row, label: isOfTime ? plain(row.value).slice(0, 16) : row.value || "(empty)" }));
  for (const [label, row] of [[panel.without_value_label, panel.without_value], ["(not recorded)", panel.not_recorded]]) {
    if (row.hits) rows.push({ ...row, label, isNone: true });
  }
  if (!rows.length || !panel.recorded) return made;
  const isTimed = rows.some(row => row.mean_ms !== undefined);
  // A bar is as long as what the rows are in the order of.
  const weight = { paths_by_bytes: row => row.bytes, slowest_paths: row => row.mean_ms ?? 0 }[panel.name] ?? (row => row.hits);
  const lines = rows.map(row => {
    const line = element("tr", undefined, row.isNone ? "none" : ""), name = element("td"), bar = element("i");
    const cells = { hits: element("td"), share: element("td", undefined, "wideonly"), bytes: element("td"), mean: element("td") };
    name.append(bar, element("span", row.label));
    if (row.detail) name.append(" ", element("small", row.detail));
    line.append(name, cells.hits, cells.share, cells.bytes);
    if (isTimed) line.append(cells.mean);
    explain(line, () => `${count(row.hits)} hits, ${percent(row.hits_share)}\n${bytes(row.bytes)}, ${percent(row.bytes_share)} of all bytes`
      + Object.entries(row.hits_by_outcome ?? {}).map(([outcome, hits]) => `\n${titles[outcome]}: ${count(hits)}`).join(""));
    return { row, line, bar, cells, hits: row.hits, text: `${row.label} ${row.detail ?? ""}`.toLowerCase() };
  });
  const columns = [{ title: "", key: each => each.row.label }, { title: "hits", key: each => each.hits, isNumber: true },
    { title: "share", key: each => each.hits, isNumber: true, name: "wideonly" }, { title: "bytes", key: each => each.row.bytes, isNumber: true }];
  if (isTimed) columns.push({ title: "mean", key: each => each.row.mean_ms ?? -1, isNumber: true });
  const { scroll, arrange } = sortable(columns, lines, each => each.hits > 0);
  const fill = () => {
    const isPart = chosen.size > 0;
    for (const each of lines) {
      each.hits = !isPart ? each.row.hits : [...chosen].reduce((sum, outcome) => sum + (each.row.hits_by_outcome?.[outcome] ?? 0), 0);
    }
    const most = Math.max(...lines.map(each => isPart ? each.hits : weight(each.row))) || 1;
    for (const { row, bar, cells, hits } of lines) {
      bar.style.width = (isPart ? hits : weight(row)) / most * 100 + "%";
      cells.hits.textContent = count(hits);
      cells.share.textContent = percent(hits / report.totals.requests);
      cells.bytes.textContent = isPart ? "" : bytes(row.bytes);
      cells.mean.textContent = isPart || row.mean_ms === undefined ? "" : milliseconds(row.mean_ms);
    }
    arrange(isPart && !isOfTime ? (a, b) => b.hits - a.hits : null);
  };
  // Before the rows without hits are hidden.
  drawings.splice(drawings.length - 1, 0, fill);
  made.append(scroll);
  return made;
}

// A table of any columns.
function view(panel) {
  const made = card(panel, panel.notes.join(" "), true);
  if (!panel.rows.length) return made;
  const style = column => column.is_number ? "" : column.gives_way ? "text" : "name";
  const lines = panel.rows.map(cells => {
    const line = element("tr");
    cells.forEach((cell, number) => line.append(element("td", cell.label, style(panel.columns[number]))));
    return { line, cells, text: cells.map(cell => cell.label).join(" ").toLowerCase() };
  });
  const columns = panel.columns.map((column, number) => ({ title: column.title, isNumber: column.is_number, name: style(column),
    key: column.is_number ? each => each.cells[number].value ?? -1 : each => each.cells[number].label }));
  const { scroll, grid, arrange } = sortable(columns, lines, () => true);
  grid.className = "view";
  arrange();
  made.append(scroll);
  return made;
}

const draw = { table, traffic, distribution, surges, view };
const { totals } = report;
document.getElementById("span").textContent = [totals.from ? `${plain(totals.from)} to ${plain(totals.to)} UTC` : "no requests",
  report.filter ? `only ${report.filter}` : ""].filter(Boolean).join(" · ");
const facts = [["requests", count(totals.requests)], ["bytes sent", bytes(totals.bytes)],
  ["clients", (totals.clients_exact ? "" : "about ") + count(totals.clients)], ["lines not read", count(totals.lines_unread)]];
if (totals.requests_left_out) facts.push(["left out by the filter", count(totals.requests_left_out)]);
document.getElementById("totals").append(...facts.map(([name, value]) => {
  const made = element("div");
  made.append(element("dt", name), element("dd", value));
  return made;
}));
const panels = report.panels ?? [{ kind: "view", ...report }];
document.getElementById("panels").replaceChildren(...panels.map(panel => draw[panel.kind](panel)));
redraw();
document.querySelector("#find input").addEventListener("input", event => {
  wanted = event.target.value.trim().toLowerCase();
  redraw();
});
const inputs = document.getElementById("inputs");
inputs.append(element("h2", "Files"));
for (const input of report.inputs) {
  inputs.append(element("p", `${input.name}: ${input.error ?? `${input.format ?? "no format recognised"}, ${count(input.lines)} lines`}`, input.error ? "warn" : ""));
}
for (const reason of report.unread.filter(reason => reason.is_failure)) {
  inputs.append(element("p", `${count(reason.lines)} not read: ${reason.text}`, "warn"));
  for (const example of reason.examples) {
    const line = element("p");
    line.append(element("small", `${example.input}:${example.line} `), element("code", example.text));
    inputs.append(line);
  }
}
