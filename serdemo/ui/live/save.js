/* What can be saved of the last minute: its answers and its sound, all made in this page. */
const save = (name, content) => {
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(content);
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
};

const lastMinute = () => link.sound.read(link.sound.first, link.sound.written);

const downloads = {
  csv: () => {
    const segments = timeline.list();
    const labels = segments.length ? Object.keys(segments[0].probabilities) : [];
    const rows = segments.map((s) => [
      s.start_s, s.end_s, s.label, s.confidence, s.speech, ...labels.map((l) => s.probabilities[l]),
    ]);
    const head = ["start_s", "end_s", "label", "confidence", "speech", ...labels];
    const lines = [head, ...rows].map((cells) => `${cells.join(",")}\r\n`);
    save("serdemo-live.csv", new Blob(lines, { type: "text/csv" }));
  },
  json: () => {
    const { first, written } = link.sound;
    const told = {
      started: started.toISOString(),
      sound_start_s: first / link.rate,
      sound_end_s: written / link.rate,
      stretches: stretches(timeline.list(), timeline.voiced),
      segments: timeline.list(),
    };
    const text = JSON.stringify(told, null, 2);
    save("serdemo-live.json", new Blob([text], { type: "application/json" }));
  },
  wav: () => save("serdemo-live.wav", wav(lastMinute(), link.rate)),
};
