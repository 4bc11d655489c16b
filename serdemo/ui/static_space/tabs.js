/* Tabs by ARIA's pattern: arrows, Home and End move, and the address names the tab that is open. */
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/* The index that a key leads to from `index` among `n` tabs; undefined for another key. */
export const indexFor = (key, index, n) => {
  if (key === "Home") return 0;
  if (key === "End") return n - 1;
  return STEPS[key] && (index + STEPS[key] + n) % n;
};

const keyOf = (tab) => tab.id.replace("tab-", "");

export class Tabs {
  /* `list` has the role "tablist"; `onOpen(key)` is called for each tab that is opened. */
  constructor(list, onOpen) {
    this.tabs = [...list.querySelectorAll("[role=tab]")];
    this.onOpen = onOpen;
    list.addEventListener("click", ({ target }) => {
      const tab = target.closest("[role=tab]");
      if (tab) this.choose(tab);
    });
    list.addEventListener("keydown", (event) => {
      const index = indexFor(event.key, this.tabs.indexOf(event.target), this.tabs.length);
      if (index === undefined) return;
      event.preventDefault();
      this.choose(this.tabs[index]);
      this.tabs[index].focus();
    });
    addEventListener("hashchange", () => this.openNamed());
    this.openNamed();
  }

  /* Opens the tab that the address names, or the first. */
  openNamed() {
    this.open(this.tabs.find((tab) => location.hash === `#${keyOf(tab)}`) || this.tabs[0]);
  }

  choose(tab) {
    history.replaceState(null, "", `#${keyOf(tab)}`);
    this.open(tab);
  }

  open(chosen) {
    for (const tab of this.tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
    this.onOpen(keyOf(chosen));
  }
}
