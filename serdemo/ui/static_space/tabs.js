/* Tabs by ARIA's pattern: the address names the one that is open. */
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
