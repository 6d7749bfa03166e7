// Comforts. Every page works without: what needs this script is shown by it.
"use strict";

// The theme, before anything is painted.
const root = document.documentElement;
const remembered = {
  get theme() { try { return localStorage.getItem("theme"); } catch { return null; } },
  set theme(theme) { try { if (theme) localStorage.setItem("theme", theme); else localStorage.removeItem("theme"); } catch { /* not allowed to: until the page is left */ } },
};
if (["light", "dark"].includes(remembered.theme)) root.dataset.theme = remembered.theme;

// To the other theme than the system's, and back to following the system.
function themeButton() {
  const button = document.querySelector(".theme");
  if (!button) return;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    button.setAttribute("aria-pressed", String(dark));
    button.title = root.dataset.theme ? "Chosen here" : "As the system has it";
  };
  button.addEventListener("click", () => {
    const other = system.matches ? "light" : "dark";
    if (root.dataset.theme === other) delete root.dataset.theme;
    else root.dataset.theme = other;
    remembered.theme = root.dataset.theme;
    show();
  });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}

// A button beside each digest and command, which copies it whole.
function copyButton(text, what) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", "Copy " + what);
  button.dataset.copy = text;
  return button;
}

function copyButtonsOf(digests) {
  for (const code of digests) {
    code.after(copyButton(code.textContent.replace(/^SHA256:/, ""), "SHA-256"));
  }
}

function copyButtons() {
  // What is put into it is read aloud.
  const said = document.createElement("span");
  said.className = "visually-hidden";
  said.setAttribute("role", "status");
  document.querySelector("main").append(said);
  copyButtonsOf(document.querySelectorAll("code.sha256"));
  for (const pre of document.querySelectorAll(".command > pre")) {
    pre.after(copyButton(pre.textContent, "the command"));
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS there is no clipboard: select it, and the keys do the rest.
      const text = button.previousElementSibling;
      if (text) getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    said.textContent = button.textContent;
    setTimeout(() => { button.textContent = "Copy"; said.textContent = ""; }, 1500);
  });
}

// Jobs are filtered while one types; without the script the form asks the server to.
function filterJobs() {
  const form = document.querySelector("form[data-filter=jobs]");
  if (!form) return;
  const { name, platform, state } = form.elements;
  let jobs = [];
  const list = () => {
    jobs = [...document.querySelectorAll(".jobs tbody")].map((body) => ({
      body,
      text: body.rows[0].textContent.toLowerCase(),
      rows: [...body.rows].slice(1).map((row) => ({
        row,
        platform: row.cells[0].textContent,
        state: row.querySelector(".state").classList[1],
      })),
    }));
  };
  const none = document.querySelector(".none");
  const apply = () => {
    const words = name.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const job of jobs) {
      const named = words.every((word) => job.text.includes(word));
      let rows = 0;
      for (const { row, ...is } of job.rows) {
        row.hidden = (platform.value && is.platform !== platform.value) || (state.value && is.state !== state.value);
        if (!row.hidden) rows += 1;
      }
      job.body.hidden = !named || rows === 0;
      if (!job.body.hidden) shown += 1;
    }
    for (const section of document.querySelectorAll(".jobs")) {
      section.hidden = !section.querySelector("tbody:not([hidden])");
      const link = document.querySelector('a[href="#' + section.querySelector("h2").id + '"]');
      if (link) link.parentElement.hidden = section.hidden;
    }
    form.querySelector("output").textContent = shown === 1 ? "1 job" : shown + " jobs";
    none.hidden = shown > 0;
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value)).toString();
    history.replaceState(null, "", query ? "?" + query : location.pathname);
  };
  // A page that the server has filtered does not hold the other jobs: they are asked for once.
  let whole = !(location.search && [name, platform, state].some((field) => field.value));
  const complete = async () => {
    const answer = await fetch(location.pathname);
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelectorAll(".jobs, .no-jobs").forEach((part) => part.remove());
    none.before(...page.querySelectorAll(".jobs"));
    if (cards.matches) tableRoles();
    copyButtonsOf(document.querySelectorAll(".jobs code.sha256"));
    whole = true;
    list();
  };
  let asking = null;
  list();
  form.querySelector("button").hidden = true;
  form.addEventListener("input", async () => {
    try {
      if (!whole) await (asking ||= complete());
      apply();
    } catch {
      form.requestSubmit();
    }
  });
  form.addEventListener("submit", (event) => { if (whole) event.preventDefault(); });
}

// Lines of a console, named by #L17 or #L17-L21: shown, also when they are on another page of it,
// and chosen by a click, with Shift up to another one.
function consoleLines() {
  const console = document.querySelector(".console");
  if (!console) return;
  const named = () => {
    const match = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    if (!match) return null;
    const [from, to] = [Number(match[1]), Number(match[2] || match[1])];
    return from <= to ? [from, to] : [to, from];
  };
  const show = (scroll) => {
    for (const line of console.querySelectorAll(".chosen")) line.classList.remove("chosen");
    const lines = named();
    if (!lines) return;
    const first = document.getElementById("L" + lines[0]);
    if (!first) {
      // Past the end the server has no page: ask for each one once.
      const size = Number(console.dataset.lines);
      const url = new URL(location);
      const from = String(Math.floor((lines[0] - 1) / size) * size + 1);
      if (lines[0] < 1 || url.searchParams.get("from") === from) return;
      url.searchParams.set("from", from);
      location.replace(url);
      return;
    }
    for (let number = lines[0]; number <= lines[1]; number++) {
      const line = document.getElementById("L" + number);
      if (!line) break;
      line.classList.add("chosen");
    }
    if (scroll) first.scrollIntoView({ block: "center" });
  };
  console.addEventListener("click", (event) => {
    const link = event.target.closest(".line > a");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const number = Number(link.textContent);
    const chosen = named();
    const hash = event.shiftKey && chosen && chosen[0] !== number
      ? "#L" + Math.min(chosen[0], number) + "-L" + Math.max(chosen[0], number)
      : "#L" + number;
    history.replaceState(null, "", hash);
    show(false);
  });
  addEventListener("hashchange", () => show(true));
  show(true);
}

// Rows shown as cards stay rows of a table to those who hear them.
function tableRoles() {
  for (const table of document.querySelectorAll("table.cards")) {
    table.setAttribute("role", "table");
    for (const row of table.rows) {
      row.setAttribute("role", "row");
      for (const cell of row.cells) {
        const role = cell.tagName === "TD" ? "cell" : cell.scope === "row" ? "rowheader" : "columnheader";
        cell.setAttribute("role", role);
      }
    }
  }
}

// Tables have many cells: they are given roles when they are first shown as cards.
const cards = matchMedia("(max-width: 48rem)");

document.addEventListener("DOMContentLoaded", () => {
  themeButton();
  copyButtons();
  filterJobs();
  consoleLines();
  if (cards.matches) tableRoles();
  cards.addEventListener("change", tableRoles, { once: true });
});
