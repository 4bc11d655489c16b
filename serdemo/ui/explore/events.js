/* What is pressed, chosen, typed and dropped in the tab Explore. */
// A newcomer has no place where one speaker lies alone.
const amongAll = () => layout.chosen === "own" && chooseSpeaker(-1);

const dropped = (file) => {
  if (!file || !newcomer) return;
  amongAll();
  newcomer.place("place", sent(file), file.name);
};

const acts = {
  move: () => draws(false),
  lasso: () => draws(true),
  nearer: () => hand.zoom(1.4),
  farther: () => hand.zoom(1 / 1.4),
  home: () => scatter.bound(clips.speaker < 0 ? null : clips.rows()),
  all: () => {
    clips.unfilter();
    part("search").value = "";
    chooseSpeaker(-1);
    field.focus({ preventScroll: true }); // the button pressed is gone
  },
  speak: () => {
    if (newcomer.live) return newcomer.stop();
    amongAll();
    return newcomer.speak();
  },
  example: () => {
    amongAll();
    newcomer.place("example", {}, "an example voice");
  },
  again: () => (player.paused ? hear() : hush()),
  "speaker-of": () => chooseSpeaker(clips.kinds.speaker.codes[chosen]),
  unselect: () => {
    select([]);
    element.querySelector("[data-act=lasso]").focus({ preventScroll: true });
  },
  "select-shown": () => select(clips.rows()),
  earlier: () => table.turn(-1),
  later: () => table.turn(1),
  hear: async () => {
    const answer = await hearFolder(part("folder").value);
    if (answer) open(answer);
  },
  stop: stopHearing,
  shipped: openShipped,
};

element.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  const { act, row, save } = pressed.dataset;
  if (!clips && act !== "shipped") return;
  if (acts[act]) acts[act]();
  if (row !== undefined) choose(Number(row));
  if (save) {
    const rows = pressed.dataset.chosen !== undefined ? clips.rows(selected) : null;
    saveMap(clips, save, rows, (sentence) => {
      fault = sentence;
      note();
    });
  }
});

element.addEventListener("change", async (event) => {
  const { target } = event;
  const file = target.files && target.files[0];
  if (target === part("colour")) {
    colour = target.value;
    recolour();
  } else if (target === part("speaker")) chooseSpeaker(Number(target.value));
  else if (target === part("layout")) arrange(target.value, true);
  else if (target.dataset.code !== undefined) {
    const off = (clips.off[colour] = clips.off[colour] || new Set());
    const code = Number(target.dataset.code);
    if (target.checked) off.delete(code);
    else off.add(code);
    refilter();
  } else if (file && target === part("clip-file")) dropped(file);
  else if (file && target === part("table-file")) {
    const answer = await openTable(file);
    if (answer) open(answer);
  }
  if (target.files) target.value = "";
});

let typed = 0;
part("search").addEventListener("input", () => {
  clearTimeout(typed);
  typed = setTimeout(() => {
    clips.query = part("search").value;
    refilter();
  }, 150);
});

const field = part("field");
for (const kind of ["dragenter", "dragover"]) {
  field.addEventListener(kind, (event) => {
    event.preventDefault();
    field.classList.add("sd-over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  field.addEventListener(kind, () => field.classList.remove("sd-over"));
}
field.addEventListener("drop", (event) => {
  event.preventDefault();
  dropped(event.dataTransfer.files[0]);
});

// A voice that is live already is followed as soon as the map is looked at, and once: whoever stops
// that, or is refused, is left in peace until Live starts anew.
addEventListener("sd-sound", ({ detail }) => {
  if (!detail) followed = false;
  if (!detail || followed || !newcomer || newcomer.live || !root.offsetParent) return;
  followed = true;
  amongAll();
  newcomer.speak(LiveSound, detail.rate);
});

part("table-box").addEventListener("toggle", () => table.draw());
part("own-box").addEventListener("toggle", () => part("own-box").open && listHere());
addEventListener("pagehide", () => newcomer && newcomer.leave());
element.addEventListener("keydown", (event) => event.key === "Escape" && hush());

// The map is fetched when the tab is first looked at.
const eye = new IntersectionObserver((seen) => {
  if (!seen.some((one) => one.isIntersecting)) return;
  eye.disconnect();
  openShipped();
});
eye.observe(root);
