// Comforts. Every page works without: what needs this script is shown by it.
"use strict";

// The theme, before anything is painted.
const root = document.documentElement;
const remembered = {
  get theme() { try { return localStorage.getItem("theme"); } catch { return null; } },
  set theme(theme) { try { localStorage.setItem("theme", theme); } catch { /* not allowed to: until the page is left */ } },
};
if (["light", "dark"].includes(remembered.theme)) root.dataset.theme = remembered.theme;

function themeButton() {
  const button = document.querySelector(".theme");
  if (!button) return;
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  const show = () => button.setAttribute("aria-pressed", String(dark()));
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remembered.theme = root.dataset.theme;
    show();
  });
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

function copyButtons() {
  for (const code of document.querySelectorAll("code.sha256")) {
    code.after(copyButton(code.textContent.replace(/^SHA256:/, ""), "SHA-256"));
  }
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
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
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

// Where there are many of them, tables are given roles when they are shown as cards.
const cards = matchMedia("(max-width: 48rem)");

document.addEventListener("DOMContentLoaded", () => {
  themeButton();
  copyButtons();
  if (cards.matches) tableRoles();
  cards.addEventListener("change", tableRoles, { once: true });
});
