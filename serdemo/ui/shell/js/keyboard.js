/* The keyboard on both pages: a link past the tabs, arrows among them, and a focus that does not vanish with
   its control. */

const FOCUSABLE =
  "a[href], button:enabled, input:enabled, select:enabled, textarea:enabled, summary, [tabindex='0']";
const SETTLE_MS = 60; // a control is often replaced in two steps
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

const isThere = (node) => node.isConnected && node.checkVisibility() && !node.matches(":disabled");

/* An element and all that it is in, from the inside out. */
const pathOf = (node) => (node ? [node, ...pathOf(node.parentElement)] : []);

const focusOn = (node) => node.focus({ preventScroll: true });

const focusOnPanel = (panel) => {
  panel.tabIndex = -1;
  focusOn(panel);
};

/* To the first control of the nearest part of the page that is left, or to the open tab itself. */
const focusNear = (parts) => {
  for (const part of parts.filter(isThere)) {
    const next = [...part.querySelectorAll(FOCUSABLE)].find(isThere);
    if (next) return focusOn(next);
    if (part.matches("[role=tabpanel]")) return focusOnPanel(part);
  }
  return undefined;
};

/* Moves the focus on when the control that has it is removed, hidden or disabled. */
const keepFocus = () => {
  let path = []; // what had the focus last, and what it is in
  let timer = null;
  const check = () => {
    timer = null;
    const { activeElement, body } = document;
    const [last, ...parts] = path;
    if (last && !isThere(last) && [last, body].includes(activeElement)) focusNear(parts);
  };
  document.addEventListener("focusin", ({ target }) => { path = pathOf(target); });
  document.addEventListener("pointerdown", ({ target }) => {
    if (!target.closest(FOCUSABLE)) path = []; // nothing has it from now on
  });
  const changes = { childList: true, subtree: true, attributeFilter: ["class", "disabled", "hidden"] };
  new MutationObserver(() => { timer ??= setTimeout(check, SETTLE_MS); }).observe(document.body, changes);
};

/* The index that a key leads to from `index` among `n` tabs; undefined for another key. */
export const indexFor = (key, index, n, rightToLeft = false) => {
  if (key === "Home") return 0;
  if (key === "End") return n - 1;
  const step = rightToLeft ? -STEPS[key] : STEPS[key];
  return step && (index + step + n) % n;
};

const onKeydown = (event) => {
  const tab = event.target.closest?.("[role=tab]");
  if (!tab) return;
  const list = tab.closest("[role=tablist]");
  const tabs = [...list.querySelectorAll("[role=tab]")].filter(isThere);
  const rightToLeft = getComputedStyle(list).direction === "rtl";
  const next = tabs[indexFor(event.key, tabs.indexOf(tab), tabs.length, rightToLeft)];
  if (!next) return;
  event.preventDefault();
  next.click();
  next.focus();
};

const onClick = (event) => {
  if (!event.target.closest(".sd-skip")) return;
  event.preventDefault();
  const panel = [...document.querySelectorAll("[role=tabpanel]")].find(isThere);
  if (panel) focusOnPanel(panel);
};

export const listenToKeyboard = () => {
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKeydown);
  keepFocus();
};
