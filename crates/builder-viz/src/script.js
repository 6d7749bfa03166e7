(function () {
  "use strict";
  var root = document.documentElement;
  function theme() {
    var chosen = null;
    try { chosen = window.localStorage.getItem("theme"); } catch (error) { /* kept from us: the system's it is */ }
    if (chosen === "dark" || chosen === "light") root.setAttribute("data-theme", chosen);
    else root.removeAttribute("data-theme");
  }
  theme();
  window.addEventListener("storage", theme);

  var info = document.getElementById("info");
  var touch = window.matchMedia && window.matchMedia("(hover: none)").matches;
  var hint = info ? info.getAttribute(touch ? "data-touch" : "data-hint") : "";
  if (info) info.textContent = hint;
  var items = Array.prototype.slice.call(document.querySelectorAll("svg a"));
  function titleOf(item) {
    var title = item.querySelector("title");
    return title ? title.textContent : "";
  }
  function tell(text) { if (info) info.textContent = text || hint; }
  function itemAt(event) {
    return event.target && event.target.closest ? event.target.closest("svg a") : null;
  }

  var graph = document.querySelector("svg.graph");
  // Where it is wider than the window, its middle is what is seen first.
  if (graph) graph.parentNode.scrollLeft = (graph.parentNode.scrollWidth - graph.parentNode.clientWidth) / 2;
  var edges = [];
  var pinned = null;
  if (graph) {
    Array.prototype.forEach.call(graph.querySelectorAll("path[data-e]"), function (path) {
      var ends = path.getAttribute("data-e").split(" ");
      edges.push([ends[0], ends[1], path]);
    });
  }
  function light(item) {
    if (!graph) return;
    var id = item ? item.getAttribute("data-n") : null;
    graph.classList.toggle("on", id !== null);
    var roles = {};
    edges.forEach(function (edge) {
      var needs = edge[0] === id, needed = edge[1] === id;
      edge[2].classList.toggle("needs", needs);
      edge[2].classList.toggle("needed", needed);
      if (needs) { roles[edge[1]] = "needs"; edge[2].parentNode.appendChild(edge[2]); }
      if (needed) { roles[edge[0]] = "needed"; edge[2].parentNode.appendChild(edge[2]); }
    });
    items.forEach(function (other) {
      var other_id = other.getAttribute("data-n");
      other.classList.toggle("it", other_id === id);
      other.classList.toggle("needs", roles[other_id] === "needs");
      other.classList.toggle("needed", roles[other_id] === "needed");
    });
  }
  function point(item) {
    tell(item ? titleOf(item) : pinned ? titleOf(pinned) : "");
    light(item || pinned);
  }
  document.addEventListener("pointerover", function (event) {
    var item = itemAt(event);
    if (item) point(item);
  });
  document.addEventListener("pointerout", function (event) {
    if (itemAt(event)) point(null);
  });
  document.addEventListener("focusin", function (event) {
    var item = itemAt(event);
    if (item) point(item);
  });
  document.addEventListener("focusout", function (event) {
    if (itemAt(event)) point(null);
  });
  if (graph) {
    graph.addEventListener("click", function (event) {
      var item = itemAt(event);
      // Once to hold it, once more to go to its line in the table.
      if (item && item === pinned) return;
      event.preventDefault();
      pinned = item;
      point(item);
    });
  }
  // One stop of the tab key for each picture; arrows go from one to the next.
  Array.prototype.forEach.call(document.querySelectorAll(".map, .graph"), function (svg) {
    var own = Array.prototype.slice.call(svg.querySelectorAll("a"));
    own.forEach(function (item, at) { if (at > 0) item.setAttribute("tabindex", "-1"); });
    svg.addEventListener("keydown", function (event) {
      var at = own.indexOf(document.activeElement);
      if (at < 0) return;
      var to = at;
      if (event.key === "ArrowRight" || event.key === "ArrowDown") to = (at + 1) % own.length;
      else if (event.key === "ArrowLeft" || event.key === "ArrowUp") to = (at + own.length - 1) % own.length;
      else if (event.key === "Home") to = 0;
      else if (event.key === "End") to = own.length - 1;
      else if (event.key === "Escape") { pinned = null; document.activeElement.blur(); point(null); return; }
      else return;
      event.preventDefault();
      own[at].setAttribute("tabindex", "-1");
      own[to].setAttribute("tabindex", "0");
      own[to].focus();
    });
  });

  // Lines shown as cards stay lines of a table to those who hear them.
  if (window.matchMedia && window.matchMedia("(max-width:720px)").matches) {
    Array.prototype.forEach.call(document.querySelectorAll("table"), function (table) {
      table.setAttribute("role", "table");
      Array.prototype.forEach.call(table.rows, function (row) {
        row.setAttribute("role", "row");
        Array.prototype.forEach.call(row.cells, function (cell) {
          var scope = cell.getAttribute("scope");
          cell.setAttribute("role", scope === "col" ? "columnheader" : scope ? "rowheader" : "cell");
        });
      });
    });
  }

  var find = document.getElementById("find");
  var field = document.getElementById("q");
  var found = document.getElementById("found");
  if (!find || !field) return;
  find.hidden = false;
  // Of the maps for a wide and a narrow window one is shown.
  function isShown(item) { return item.getClientRects().length > 0; }
  function matching() {
    var wanted = field.value.trim().toLowerCase();
    if (!wanted) return [];
    return items.filter(function (item) {
      return (item.getAttribute("data-q") || "").toLowerCase().indexOf(wanted) >= 0;
    });
  }
  // The lines of the table that have the words: those of a group with that of the group.
  function filterRows() {
    var wanted = field.value.trim().toLowerCase();
    var count = 0, kind = null, group = null, whole = false;
    Array.prototype.forEach.call(document.querySelectorAll("tbody tr"), function (row) {
      var hit = !wanted || row.cells[0].textContent.toLowerCase().indexOf(wanted) >= 0;
      if (row.cells.length === 1) { kind = row; hit = !wanted; }
      else if (row.classList.contains("group")) { group = row; whole = hit; }
      else if (row.classList.contains("part")) hit = hit || whole;
      row.hidden = !hit;
      if (!hit || row.cells.length === 1) return;
      count += 1;
      if (kind) kind.hidden = false;
      if (group && row.classList.contains("part")) group.hidden = false;
    });
    return count;
  }
  function search() {
    var hits = matching();
    var any = field.value.trim() !== "";
    items.forEach(function (item) {
      var hit = hits.indexOf(item) >= 0;
      item.classList.toggle("hit", hit);
      if (!graph) item.classList.toggle("off", any && !hit && item.hasAttribute("data-leaf"));
    });
    hits = hits.filter(isShown);
    if (graph) {
      pinned = hits.length === 1 ? hits[0] : null;
      point(null);
      if (hits.length > 1) graph.classList.add("on");
    } else if (hits.length) tell(titleOf(hits[0]));
    else tell("");
    var rows = filterRows();
    found.textContent = any ? hits.length + " in the picture, " + rows + " in the table" : "";
  }
  field.addEventListener("input", search);
  find.addEventListener("submit", function (event) {
    event.preventDefault();
    var hits = matching().filter(isShown);
    if (hits.length) { hits[0].setAttribute("tabindex", "0"); hits[0].focus(); }
  });
}());
