/* Buttons, fields and keys of the tab Explore. */
import { acceptDrops } from "../shell/js/dom.js";
import { saveMap } from "./sources.js";

const TYPING_MS = 150;
const ZOOM = 1.4;

/* What each button does, by its data-act. */
const acts = (tab) => ({
  move: () => tab.setLasso(false),
  lasso: () => tab.setLasso(true),
  nearer: () => tab.gestures.zoom(ZOOM),
  farther: () => tab.gestures.zoom(1 / ZOOM),
  home: () => tab.scatter.bound(tab.clips.speaker < 0 ? null : tab.clips.rows()),
  all: () => {
    tab.clips.clearFilters();
    tab.part("search").value = "";
    tab.chooseSpeaker(-1);
    tab.part("field").focus({ preventScroll: true }); // the button pressed is gone
  },
  speak: () => {
    if (tab.newcomer.isLive) return tab.newcomer.stop();
    tab.leaveOwnLayout();
    return tab.newcomer.speak();
  },
  example: () => tab.placeExample(),
  again: () => tab.player.toggle(),
  "speaker-of": () => tab.chooseSpeaker(tab.clips.kinds.speaker.codes[tab.chosen]),
  unselect: () => {
    tab.select(null);
    tab.button("lasso").focus({ preventScroll: true });
  },
  "select-shown": () => tab.select(tab.clips.shown.slice()),
  earlier: () => tab.table.turn(-1),
  later: () => tab.table.turn(1),
  hear: async () => {
    const payload = await tab.sources.embedFolder(tab.part("folder").value);
    if (payload) tab.open(payload);
  },
  stop: () => tab.sources.stop(),
  compute: () => tab.fetchMissing(tab.clips, true),
  shipped: () => tab.openShipped(),
});

const onClick = (tab, actions, event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { act, row, save } = button.dataset;
  if (actions[act]) actions[act]();
  if (row !== undefined) tab.choose(Number(row));
  if (save) {
    const mask = button.dataset.chosen !== undefined ? tab.selected : null;
    saveMap(tab.ask, tab.clips, save, mask, (sentence) => tab.showFault(sentence));
  }
};

/* Shows or hides the clips of a name in the legend. */
const onLegend = (tab, box) => {
  const codes = (tab.clips.hidden[tab.colour] ||= new Set());
  const code = Number(box.dataset.code);
  if (box.checked) codes.delete(code);
  else codes.add(code);
  tab.refilter();
};

const onChange = async (tab, { target }) => {
  const { part } = tab;
  const file = target.files && target.files[0];
  if (target === part("colour")) {
    tab.colour = target.value;
    tab.recolour();
  } else if (target === part("speaker")) tab.chooseSpeaker(Number(target.value));
  else if (target === part("layout")) tab.arrange(target.value, true);
  else if (target.dataset.code !== undefined) onLegend(tab, target);
  else if (file && target === part("clip-file")) tab.placeFile(file);
  else if (file && target === part("table-file")) {
    const payload = await tab.sources.openTable(file);
    if (payload) tab.open(payload);
  }
  if (target.files) target.value = "";
};

export const listen = (tab) => {
  const { element, part } = tab;
  const actions = acts(tab);
  let typing = 0;
  element.addEventListener("click", (event) => onClick(tab, actions, event));
  element.addEventListener("change", (event) => onChange(tab, event));
  element.addEventListener("keydown", (event) => event.key === "Escape" && tab.player.stop());
  part("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      tab.clips.query = part("search").value;
      tab.refilter();
    }, TYPING_MS);
  });
  acceptDrops(part("field"), ([file]) => tab.placeFile(file));
  part("table-box").addEventListener("toggle", () => tab.table.draw());
  part("own-box").addEventListener("toggle", () => part("own-box").open && tab.sources.list());
};
