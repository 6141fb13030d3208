// Looks at a page as it is laid out, and names what its reader would stumble over.
(() => {
  const SLACK = 1.5; // px; boxes lie on fractions of pixels
  const INFINITE = { left: -Infinity, top: -Infinity, right: Infinity, bottom: Infinity };

  const name = (element) => {
    const id = element.closest("[id]")?.id ?? "";
    return `${id && `#${id} `}${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}`;
  };
  const told = (it) => `${name(it.element)} “${it.text.slice(0, 40)}”`;
  const px = (value) => Math.round(10 * value) / 10;

  // Text for screen readers alone is cut away on purpose.
  const forEars = (element) => {
    for (let it = element; it && it !== document.body; it = it.parentElement) {
      const box = it.getBoundingClientRect();
      const cut = getComputedStyle(it).overflow !== "visible";
      if (cut && box.width <= 1 && box.height <= 1) return true;
    }
    return false;
  };

  /** Every visible piece of text: its element and the box of each of its lines. */
  function texts() {
    const found = [];
    const range = document.createRange();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const shown = new Map();
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const element = node.parentElement;
      if (!node.data.trim()) continue;
      if (!shown.has(element)) {
        const visible = element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
        shown.set(element, visible && !element.closest("select") && !forEars(element));
      }
      if (!shown.get(element)) continue;
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) {
        if (box.width > 1 && box.height > 1) found.push({ element, node, text: node.data.trim(), box });
      }
    }
    return found;
  }

  /** Ancestors that cut what leaves them, up to the first that can be scrolled. */
  function* cutters(element) {
    for (let it = element; it && it !== document.body; it = it.parentElement) {
      const { overflowX, overflowY } = getComputedStyle(it);
      const scrolls = /auto|scroll/.test(overflowX + overflowY);
      if (scrolls || overflowX !== "visible" || overflowY !== "visible") yield { it, scrolls };
      if (scrolls) return;
    }
  }

  /** The part of a box that is to be seen, or null. */
  function seen({ element, box }) {
    let { left, top, right, bottom } = box;
    for (let it = element; it && it !== document.body; it = it.parentElement) {
      if (getComputedStyle(it).overflow === "visible") continue;
      const frame = it.getBoundingClientRect();
      left = Math.max(left, frame.left);
      top = Math.max(top, frame.top);
      right = Math.min(right, frame.right);
      bottom = Math.min(bottom, frame.bottom);
    }
    return right > left && bottom > top ? { left, top, right, bottom } : null;
  }

  function overflowing() {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    const wide = [...document.body.querySelectorAll("*")].filter((it) => {
      if (!it.checkVisibility() || it.getBoundingClientRect().right <= root.clientWidth + SLACK) return false;
      return ![...cutters(it.parentElement)].length;
    });
    return [`the page is ${root.scrollWidth} px wide in ${root.clientWidth}`, ...wide.slice(0, 8).map(name)];
  }

  function clipped() {
    const found = [];
    for (const it of texts()) {
      for (const { it: frame, scrolls } of cutters(it.element)) {
        if (scrolls) break;
        const { left, top, right, bottom } = frame.getBoundingClientRect();
        const lost = Math.max(left - it.box.left, it.box.right - right, top - it.box.top, it.box.bottom - bottom);
        if (lost > SLACK) found.push(`${told(it)} is cut by ${px(lost)} px at ${name(frame)}`);
      }
      if (it.element.ownerSVGElement) continue;
      let block = it.element;
      while (/^(inline|contents)/.test(getComputedStyle(block).display)) block = block.parentElement;
      const { left, right } = block.getBoundingClientRect();
      const out = Math.max(left - it.box.left, it.box.right - right);
      const style = getComputedStyle(block);
      if (out > SLACK && !/auto|scroll/.test(style.overflowX)) found.push(`${told(it)} leaves its box by ${px(out)} px`);
    }
    return found;
  }

  function overlapping() {
    const found = [];
    const all = texts().map((it) => ({ ...it, part: seen(it) })).filter((it) => it.part);
    all.sort((a, b) => a.part.top - b.part.top);
    let near = [];
    for (const it of all) {
      near = near.filter((other) => other.part.bottom > it.part.top);
      for (const other of near) {
        const across = Math.min(it.part.right, other.part.right) - Math.max(it.part.left, other.part.left);
        const down = Math.min(it.part.bottom, other.part.bottom) - it.part.top;
        const least = Math.min(it.part.bottom - it.part.top, other.part.bottom - other.part.top);
        // Lines that are set tightly touch: a font's box is taller than its letters.
        if (across > 2 && down > 0.35 * least) found.push(`${told(it)} lies on ${told(other)}`);
      }
      near.push(it);
    }
    return found;
  }

  /** Words that a narrow column breaks into lines of two or three letters. */
  function crumbled() {
    const lines = Map.groupBy(texts(), (it) => it.node);
    return [...lines.values()].filter((own) => own.length > 2 && own[0].text.length < 4 * own.length).map(([it]) => told(it));
  }

  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const known = new Map();
  /** Any colour of CSS → [r, g, b, a], each 0 to 1. */
  function color(text) {
    if (!known.has(text)) {
      paint.clearRect(0, 0, 1, 1);
      paint.fillStyle = text;
      paint.fillRect(0, 0, 1, 1);
      known.set(text, [...paint.getImageData(0, 0, 1, 1).data].map((it) => it / 255));
    }
    return known.get(text);
  }
  const over = (top, under) => top.slice(0, 3).map((it, n) => it * top[3] + under[n] * (1 - top[3]));
  const linear = (it) => (it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);

  function background(element) {
    if (!element) return [1, 1, 1];
    const own = color(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, background(element.parentElement));
  }
  function contrast(ink, paper) {
    const [dark, light] = [luminance(over(ink, paper)), luminance(paper)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  }

  /** Text fainter than WCAG AA asks for: 4.5, or 3 where it is large. */
  function faint() {
    const found = new Map();
    for (const it of texts()) {
      if (it.element.closest(":disabled, [aria-disabled=true]")) continue;
      const style = getComputedStyle(it.element);
      const drawn = it.element.ownerSVGElement && style.fill !== "none";
      const ratio = contrast(color(drawn ? style.fill : style.color), background(it.element));
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
      if (ratio < (large ? 3 : 4.5)) found.set(name(it.element), `${told(it)}: contrast ${px(ratio)}`);
    }
    return [...found.values()];
  }

  /** Marks of figures that stand out less than WCAG AA asks for: 3. */
  function pale() {
    const found = new Map();
    for (const it of document.querySelectorAll("svg .mark")) {
      const ink = getComputedStyle(it).getPropertyValue("--c");
      const ratio = contrast(color(ink), background(it));
      if (ratio < 3) found.set(ink, `${name(it)}: contrast ${px(ratio)} of ${ink}`);
    }
    return [...found.values()];
  }

  return { overflowing, clipped, overlapping, crumbled, faint, pale };
})()
