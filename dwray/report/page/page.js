"use strict";

/* Makes the page's charts, tables and colours respond to its reader. Without it the page is whole, but still. */

(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const dataOf = (element) => JSON.parse(element.querySelector("script[type='application/json']").textContent);

  /** An element with text and attributes. */
  function element(tag, text = "", attributes = {}) {
    const made = document.createElement(tag);
    made.textContent = text;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  }

  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

  // ---- Figures ------------------------------------------------------------------------------------------------

  const ZOOM_STEP = 0.5;
  const PAN_STEP = 0.1;
  const PANEL = 310; // pixels of one panel of a grid, with its axis
  const mounted = new Set();

  // The figures' colours on a dark page, as light there as they are dark on white; the last is the page's own.
  const ON_DARK = {
    "#0072b2": "#57a1d2",
    "#d55e00": "#e8873e",
    "#009e73": "#45dcb0",
    "#a8447f": "#e83e8c",
    "#5c3a00": "#f2cf4a",
    "#8a6cfd": "#9557f8",
    "#000000": "#ffffff",
    "#7f7f7f": "#9aa0a8",
    "#555555": "#a3abb5",
    "#ffffff": "#14171c",
  };
  const shade = (colour) => (isDark() ? ON_DARK[colour] : undefined) ?? colour;

  /** A chart's specification in the page's present colours and width. */
  function dressed(figure, chart, scale, hidden) {
    const ink = getComputedStyle(figure).color;
    const dim = getComputedStyle(figure.querySelector(".caption")).color;
    const line = getComputedStyle(figure).borderTopColor;
    const page = getComputedStyle(document.body).backgroundColor;
    const spec = JSON.parse(JSON.stringify(chart.specs[scale]), (_, value) => shade(value));
    spec.datasets = chart.datasets;
    spec.params.find((param) => param.name === "hidden").value = [...hidden];
    const labels = { labelColor: dim, titleColor: ink };
    Object.assign(spec.config, {
      background: page,
      axis: { ...labels, domainColor: dim, tickColor: dim, gridColor: line, titleFontWeight: "normal" },
      legend: { ...labels, symbolFillColor: dim, symbolStrokeColor: dim },
      title: { color: ink, fontWeight: "normal" },
      text: { color: ink },
      view: { ...spec.config.view, stroke: null },
    });
    if (spec.concat) spec.columns = Math.max(1, Math.min(spec.columns, Math.floor(figure.clientWidth / PANEL)));
    return spec;
  }

  /** The interactive chart of one figure, in place of its picture. */
  function enhance(figure) {
    const chart = dataOf(figure);
    const scales = Object.keys(chart.specs);
    const [frame, box] = [figure.querySelector(".frame"), figure.querySelector(".chart")];
    const hidden = new Set();
    let scale = scales[0];
    let drawn = null;
    let drawing = Promise.resolve();

    async function draw() {
      for (const line of all(".swatch line", figure)) {
        line.setAttribute("stroke", shade((line.dataset.colour ??= line.getAttribute("stroke"))));
      }
      box.style.minHeight = `${(drawn ? box : figure.querySelector(".picture")).offsetHeight}px`; // no jump meanwhile
      frame.hidden = false;
      figure.classList.add("live");
      // Into an element of its own: vega takes away the name of the one that it draws in.
      const made = await vegaEmbed(box.firstElementChild, dressed(figure, chart, scale, hidden), {
        actions: false,
        ast: true, // expressions are interpreted: the page's policy forbids making code of text
        defaultStyle: false,
        renderer: "svg",
        tooltip: (_handler, event, _item, row) => hint(event, row, chart.titles),
      });
      box.style.minHeight = "";
      drawn?.finalize();
      drawn = made;
    }
    const redraw = () => (drawing = drawing.then(draw));

    for (const button of all("[data-series]", figure)) {
      button.addEventListener("click", async () => {
        const name = button.dataset.series;
        if (!hidden.delete(name)) hidden.add(name);
        button.setAttribute("aria-pressed", String(!hidden.has(name)));
        await drawing;
        await drawn.view.signal("hidden", [...hidden]).runAsync();
      });
    }
    figure.querySelector(".log")?.addEventListener("click", (event) => {
      scale = scales.find((each) => each !== scale);
      event.currentTarget.setAttribute("aria-pressed", String(scale === "log"));
      redraw();
    });
    /** Show `factor` of what each set of axes shows, its middle moved by shares of what it shows. */
    const move = (factor, shares = {}) => {
      drawing = drawing.then(async () => {
        for (const { signal, scale: name } of chart.zooms) {
          drawn.view.signal(signal, moved(drawn.view.scale(name), factor, shares[name.at(-1)] ?? 0));
        }
        await drawn.view.runAsync();
      });
    };
    const keys = {
      ArrowLeft: () => move(1, { x: -PAN_STEP }),
      ArrowRight: () => move(1, { x: PAN_STEP }),
      ArrowDown: () => move(1, { y: -PAN_STEP }),
      ArrowUp: () => move(1, { y: PAN_STEP }),
      "+": () => move(ZOOM_STEP),
      "=": () => move(ZOOM_STEP), // the same key, without shift
      "-": () => move(1 / ZOOM_STEP),
      "0": redraw,
    };
    figure.querySelector(".zoom-in")?.addEventListener("click", keys["+"]);
    figure.querySelector(".zoom-out")?.addEventListener("click", keys["-"]);
    figure.querySelector(".reset")?.addEventListener("click", redraw);
    if (chart.zooms.length) {
      frame.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
        event.preventDefault(); // of the page, which arrow keys would scroll
        keys[event.key]();
      });
    }
    mounted.add(redraw);
    return redraw();
  }

  /** A scale's ends when it shows `factor` of what it shows, and that moved by a share of it towards its end. */
  function moved(scale, factor, share) {
    const [start, end] = scale.range();
    const middle = (start + end) / 2 + (end - start) * share;
    return [-0.5, 0.5].map((at) => scale.invert(middle + (end - start) * factor * at));
  }

  // What is under the pointer, in an element that scripts alone write text into.
  const hintBox = document.body.appendChild(element("div", "", { id: "hint", role: "tooltip" }));
  hintBox.hidden = true;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hintBox.hidden = true;
  });

  const rounded = (value) => (typeof value === "number" ? String(Number(value.toPrecision(5))) : value);

  function hint(event, row, titles) {
    const said = Object.entries(titles).filter(([field]) => (row?.[field] ?? "") !== "");
    hintBox.hidden = !said.length;
    if (!said.length) return;
    const table = element("table");
    for (const [field, title] of said) {
      const cells = [element("th", title, { scope: "row" }), element("td", rounded(row[field]))];
      table.appendChild(element("tr")).append(...cells);
    }
    hintBox.replaceChildren(table);
    const { width, height } = hintBox.getBoundingClientRect();
    const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
    const top = event.clientY + 14 + height > innerHeight ? event.clientY - 14 - height : event.clientY + 14;
    hintBox.style.left = `${Math.max(4, left)}px`;
    hintBox.style.top = `${Math.max(4, top)}px`;
  }

  const near = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        enhance(target);
      }
    },
    { rootMargin: "300px" },
  );
  for (const figure of all("figure")) {
    figure.querySelector(".controls").hidden = false;
    near.observe(figure);
  }

  // ---- Tables -------------------------------------------------------------------------------------------------

  const collator = new Intl.Collator("en", { numeric: true });

  /** Sorting, filtering and paging of one table. */
  function explore(part) {
    const { rows, ranks, header, page, long: [longCell, longWord] } = dataOf(part);
    const [head, body] = [part.querySelector("thead"), part.querySelector("tbody")];
    const [search, shown] = [part.querySelector(".search"), part.querySelector(".shown")];
    const choices = all("select", part);
    const texts = rows.map((row) => row.join("\n").toLowerCase());
    const headings = all("th", head);
    let column = null;
    let descending = false;
    let first = 0;

    /** Rows by what they have in the column; those that have nothing come last either way. */
    function compare(left, right) {
      const [a, b] = ranks[column] ? [ranks[column][left], ranks[column][right]] : [rows[left][column], rows[right][column]];
      const missing = (value) => value === null || value === "-";
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return (ranks[column] ? a - b : collator.compare(a, b)) * (descending ? -1 : 1);
    }

    function matching() {
      const words = search.value.toLowerCase().split(/\s+/);
      const chosen = choices.filter((choice) => choice.value);
      return [...rows.keys()]
        .filter((row) => words.every((word) => texts[row].includes(word)))
        .filter((row) => chosen.every((choice) => rows[row][choice.dataset.column] === choice.value));
    }

    function cell(text, number) {
      const made = number === header ? element("th", text, { scope: "row" }) : element("td", text);
      const isBroken = text.split(/\s+/).some((word) => word.length > longWord);
      const look = text.length > longCell ? "long" : text.trim().includes(" ") ? "words" : "";
      made.className = ranks[number] ? "number" : isBroken ? "broken" : look;
      return made;
    }

    function show() {
      const found = matching();
      if (column !== null) found.sort(compare);
      first = Math.min(first, Math.max(0, Math.ceil(found.length / page) - 1) * page);
      const last = Math.min(first + page, found.length);
      body.replaceChildren(
        ...found.slice(first, last).map((row) => {
          const line = element("tr");
          line.append(...rows[row].map(cell));
          return line;
        }),
      );
      const count = found.length.toLocaleString("en");
      const of = found.length === rows.length ? "" : ` (of ${rows.length.toLocaleString("en")})`;
      shown.textContent = found.length ? `${first + 1} to ${last} of ${count} rows${of}` : `No row matches${of}`;
      part.querySelector(".previous").disabled = first === 0;
      part.querySelector(".next").disabled = last >= found.length;
    }

    headings.forEach((heading, number) => {
      const button = heading.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        descending = column === number && !descending;
        column = number;
        headings.forEach((each) => each.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
        first = 0;
        show();
      });
    });
    for (const input of [search, ...choices]) {
      input.addEventListener("input", () => {
        first = 0;
        show();
      });
    }
    part.querySelector(".previous").addEventListener("click", () => ((first -= page), show()));
    part.querySelector(".next").addEventListener("click", () => ((first += page), show()));
    part.querySelector(".pages").hidden = rows.length <= page;
    part.querySelector(".controls").hidden = rows.length <= 10;
    if (rows.length > page) show();
  }

  all(".sortable").forEach(explore);

  // ---- Listings -----------------------------------------------------------------------------------------------

  /** Copying and saving of one listing; nothing leaves the page. */
  function offer(listing) {
    const [code, done] = [listing.querySelector("code"), listing.querySelector(".done")];
    listing.querySelector(".copy").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        done.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code); // the browser forbids the clipboard
        done.textContent = "Selected: copy it with the keyboard";
      }
    });
    listing.querySelector(".download")?.addEventListener("click", (event) => {
      const name = event.currentTarget.dataset.file;
      const href = URL.createObjectURL(new Blob([code.textContent], { type: "application/octet-stream" }));
      element("a", "", { href, download: name }).click();
      done.textContent = `${name} downloaded`;
    });
    listing.querySelector(".controls").hidden = false;
  }

  all(".listing").forEach(offer);

  // ---- Colours and navigation ---------------------------------------------------------------------------------

  const theme = document.getElementById("theme");
  function recolour() {
    theme.setAttribute("aria-pressed", String(isDark()));
    mounted.forEach((redraw) => redraw());
  }
  theme.hidden = false;
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    recolour();
  });
  prefersDark.addEventListener("change", recolour);
  recolour();

  // The link to what is being read: to the last section that begins above a line. The line is a quarter down the
  // window, and at the end of the page its lower edge: what stands there cannot be scrolled further up.
  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const sections = all("main > section");
  let chosen = null; // by its link, until the reader goes on

  function current() {
    if (chosen) return chosen;
    const most = document.documentElement.scrollHeight - innerHeight;
    const tail = Math.min(most, 0.75 * innerHeight);
    const near = tail > 0 ? Math.max(0, 1 - (most - scrollY) / tail) : 0;
    const line = innerHeight * (0.25 + 0.75 * near);
    const found = sections.findLast((section) => section.getBoundingClientRect().top <= line) ?? sections[0];
    return found.dataset.partOf ?? found.id;
  }

  function mark() {
    const link = links.get(current());
    if (link.hasAttribute("aria-current")) return;
    links.forEach((each) => each.removeAttribute("aria-current"));
    link.setAttribute("aria-current", "true");
    const list = link.closest("ul");
    list.scrollLeft = link.offsetLeft - list.clientWidth / 2;
  }

  for (const kind of ["wheel", "pointerdown", "keydown"]) {
    addEventListener(kind, () => (chosen = null), { passive: true });
  }
  links.forEach((link, name) => {
    link.addEventListener("click", () => {
      chosen = name;
      mark();
    });
  });
  addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(document.querySelector("main"));
})();
