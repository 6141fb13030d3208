"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, set = {}, ...children) => {
    const it = Object.assign(document.createElement(tag), set);
    it.append(...children);
    return it;
  };
  const plain = (it) => it.textContent.replace(/\s+/g, " ").trim();

  /* Tables: sorted by a column, filtered, copied. */

  const numberOf = (row, column) => {
    const value = row.cells[column].dataset.value;
    return value === undefined ? null : Number(value);
  };

  const sort = (table, column, direction) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const numeric = rows.some((row) => numberOf(row, column) !== null);
    const key = new Map(
      rows.map((row) => [row, numeric ? numberOf(row, column) : plain(row.cells[column])]),
    );
    const sign = direction === "descending" ? -1 : 1;
    const missing = (it) => it === null || it === "–";
    rows.sort((one, other) => {
      const a = key.get(one), b = key.get(other);
      if (direction && missing(a) !== missing(b)) return missing(a) ? 1 : -1;
      const order = numeric ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return (direction && !missing(a) && sign * order) || one.dataset.place - other.dataset.place;
    });
    body.append(...rows);
    all("thead th", table).forEach((th, n) => {
      if (direction && n === column) th.setAttribute("aria-sort", direction);
      else th.removeAttribute("aria-sort");
    });
  };

  const sortable = (table) => {
    [...table.tBodies[0].rows].forEach((row, n) => { row.dataset.place = n; });
    all("thead th", table).forEach((th, column) => {
      const button = make("button", { type: "button" }, ...th.childNodes);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" };
        sort(table, column, next[th.getAttribute("aria-sort")] ?? "ascending");
      });
      th.append(button);
    });
  };

  const sortAgain = (table) => {
    const heads = all("thead th", table);
    const column = heads.findIndex((th) => th.hasAttribute("aria-sort"));
    if (column >= 0) sort(table, column, heads[column].getAttribute("aria-sort"));
  };

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = make("textarea", { value: text });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
  };

  const copier = (label, text) => {
    const button = make("button", { type: "button", className: "copy", textContent: label });
    const status = make("span", { className: "copied" });
    status.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      const [content, what] = text();
      await copy(content);
      status.textContent = `copied ${what}`;
      setTimeout(() => { status.textContent = ""; }, 4000);
    });
    return [status, button];
  };

  const LONG = 8;

  const tooled = (wrap) => {
    const table = wrap.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    const tools = make("div", { className: "tools" });
    const long = rows.length > LONG && table.dataset.sortable !== undefined;
    if (long) {
      const field = make("input", { type: "search", autocomplete: "off", spellcheck: false });
      field.addEventListener("input", () => {
        const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
        rows.forEach((row) => {
          const text = plain(row).toLowerCase();
          row.toggleAttribute("data-unsought", !wanted.every((it) => text.includes(it)));
        });
      });
      tools.append(make("label", {}, "Filter rows", field));
    }
    tools.append(...copier("Copy as TSV", () => {
      const shown = [...table.rows].filter((row) => row.checkVisibility());
      const lines = shown.map((row) => [...row.cells].map(plain).join("\t"));
      return [lines.join("\n") + "\n", `${lines.length - 1} rows`];
    }));
    if (long) wrap.prepend(tools);
    else wrap.append(tools);
  };

  all("table[data-sortable]").forEach(sortable);
  all(".table").forEach(tooled);
  all("pre[data-copy]").forEach((pre) => {
    const tools = make("div", { className: "tools" });
    tools.append(...copier("Copy", () => [plain(pre), "the command"]));
    pre.after(tools);
  });

  /* Filter of the page by task, device and lane. */

  const FILTERS = ["task", "device", "lane"];
  const chosen = { task: "", device: "", lane: "" };
  const scoped = all("[data-task], [data-device], [data-lane]");
  const inside = (it) => all("[data-task], [data-device], [data-lane]", it);
  const holders = all("main figure, main section").map((it) => [it, inside(it)]);
  const shown = make("span", { id: "shown" });
  shown.setAttribute("role", "status");
  const reset = make("button", { type: "button", id: "reset", textContent: "Show all", hidden: true });

  const filter = () => {
    scoped.forEach((it) => {
      const out = FILTERS.some((f) => chosen[f] && it.dataset[f] && it.dataset[f] !== chosen[f]);
      it.toggleAttribute("data-filtered", out);
    });
    holders.forEach(([it, parts]) => {
      const empty = parts.length > 0 && parts.every((part) => part.hasAttribute("data-filtered"));
      if (it.parentElement.tagName !== "MAIN") {
        it.toggleAttribute("data-filtered", empty);
        return;
      }
      it.querySelector(":scope > .nothing")?.remove();
      if (empty) {
        const text = "Nothing here for this choice.";
        it.querySelector("h2").after(make("p", { className: "nothing", textContent: text }));
      }
    });
    const active = FILTERS.filter((it) => chosen[it]).map((it) => `${it} ${chosen[it]}`);
    shown.textContent = active.length ? `Only ${active.join(", ")}` : "";
    reset.hidden = !active.length;
  };

  /* Another baseline: Python has computed every table, the script exchanges its parts. */

  const articles = all("article[data-baselines]");

  const follows = (row) => [...row.cells].filter((it) => it.dataset.role || it.tagName === "TH");
  const template = (article, baseline) =>
    all("template", article).find((it) => it.dataset.baseline === baseline);

  articles.forEach((article) => {
    const first = make("template");
    first.dataset.baseline = article.dataset.first = article.dataset.shownBaseline;
    const parts = [".lead", ".notes", "table"].map((it) => article.querySelector(it));
    first.content.append(...parts.map((it) => it.cloneNode(true)));
    article.append(first);
  });

  const against = (article, baseline) => {
    const first = template(article, article.dataset.first);
    const other = template(article, baseline) ?? first;
    [".lead", ".notes"].forEach((it) => {
      const part = other.content.querySelector(it) ?? first.content.querySelector(it);
      article.querySelector(it).replaceWith(part.cloneNode(true));
    });
    const rows = all("tbody tr", other.content);
    all("tbody tr", article).forEach((row) => {
      const cells = follows(rows[row.dataset.place]);
      follows(row).forEach((at, n) => at.replaceWith(cells[n].cloneNode(true)));
    });
    const head = other.content.querySelector("th[data-role=ratio]");
    article.querySelector("th[data-role=ratio] span").textContent = plain(head);
    article.dataset.shownBaseline = other.dataset.baseline;
    const anchor = article.querySelector("h3[id], h4[id]").id;
    all(`[data-of="${anchor}"] .verdict`).forEach((it) => {
      it.textContent = article.querySelector(".lead").textContent;
    });
    sortAgain(article.querySelector("table"));
  };

  /* The controls themselves. */

  const controls = document.getElementById("controls");

  const select = (id, label, options, change) => {
    const field = make("select", { id });
    options.forEach(([value, text]) => field.append(make("option", { value, textContent: text })));
    field.addEventListener("change", () => change(field.value));
    controls.append(make("label", {}, label, field));
    return field;
  };

  const selects = FILTERS.flatMap((name) => {
    const values = [...new Set(scoped.map((it) => it.dataset[name]).filter(Boolean))];
    if (values.length < 2) return [];
    const options = [["", `all ${name}s`], ...values.map((it) => [it, it])];
    const title = name[0].toUpperCase() + name.slice(1);
    return [select(`show-${name}`, title, options, (it) => { chosen[name] = it; filter(); })];
  });

  const baselines = new Set(all("article > template").map((it) => it.dataset.baseline));
  if (baselines.size > 1) {
    const first = [...new Set(articles.map((it) => it.dataset.first))];
    const usual = first.length === 1 ? ` (${first[0]})` : "";
    const options = [["", `as measured${usual}`], ...[...baselines].sort().map((it) => [it, it])];
    select("baseline", "Baseline", options, (it) => articles.forEach((at) => against(at, it)));
  }

  const KEPT = "samestep-theme";
  const theme = (name) => {
    root.dataset.theme = name;
    try { localStorage.setItem(KEPT, name); } catch { /* not kept, then */ }
  };
  const themes = select("theme", "Theme", ["auto", "light", "dark"].map((it) => [it, it]), theme);
  try { themes.value = localStorage.getItem(KEPT) || "auto"; } catch { /* none kept */ }
  if (!themes.value) themes.value = "auto";
  root.dataset.theme = themes.value;

  reset.addEventListener("click", () => {
    selects.forEach((it) => { it.value = ""; });
    FILTERS.forEach((it) => { chosen[it] = ""; });
    filter();
  });
  controls.append(reset, shown);
  controls.addEventListener("submit", (event) => event.preventDefault());
  controls.hidden = false;

  /* Tooltips: of what the pointer or the keyboard is on. */

  const tip = document.getElementById("tip");
  let described = null;

  all(".plot").forEach((plot) => all(".mark", plot).forEach((mark, n) => {
    mark.setAttribute("role", "img");
    if (n === 0) mark.setAttribute("tabindex", "0"); // a plot is one stop of the keyboard
  }));

  const showTip = (mark) => {
    const title = mark.querySelector("title");
    if (title) {
      mark.dataset.tip = title.textContent;
      mark.setAttribute("aria-label", title.textContent.replaceAll("\n", ", "));
      title.remove(); // its own tooltip would come beside ours
    }
    const [name, value, interval = ""] = mark.dataset.tip.split("\n");
    tip.replaceChildren(...Object.entries({ name, value, interval }).map(([kind, textContent]) =>
      make("div", { className: `tip-${kind}`, textContent })));
    tip.hidden = false;
    described = mark;
    const at = mark.getBoundingClientRect(), box = tip.getBoundingClientRect();
    const left = at.left + (at.width - box.width) / 2, middle = at.top + at.height / 2;
    const above = middle - box.height - 20;
    tip.style.left = `${Math.min(Math.max(4, left), innerWidth - box.width - 4)}px`;
    tip.style.top = `${above > 4 ? above : middle + 12}px`;
  };

  const hideTip = () => { tip.hidden = true; described = null; };

  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest?.(".mark");
    if (mark) showTip(mark);
    else if (described && described !== document.activeElement) hideTip();
  });
  document.addEventListener("focusin", (event) => {
    const mark = event.target.closest(".mark");
    if (mark) showTip(mark);
    else hideTip();
  });
  document.addEventListener("focusout", hideTip);
  document.addEventListener("scroll", () => { if (described !== document.activeElement) hideTip(); }, true);

  const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTip();
    const mark = event.target.closest?.(".mark");
    if (!mark) return;
    const marks = all(".mark", mark.closest(".plot"));
    const at = marks.indexOf(mark);
    const to = { Home: 0, End: marks.length - 1 }[event.key] ?? at + (STEPS[event.key] || 0);
    if (to === at || !marks[to]) return;
    event.preventDefault();
    mark.setAttribute("tabindex", "-1");
    marks[to].setAttribute("tabindex", "0");
    marks[to].focus();
  });

  /* Samples open where a link leads to them. */

  const open = () => {
    const at = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (at && at.tagName === "DETAILS") {
      at.open = true;
      at.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#raw-"]');
    if (link && link.hash === location.hash) open();
  });
  open();

  filter();
  root.dataset.ready = "";
})();
