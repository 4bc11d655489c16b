/* Other maps than the shipped one: a folder that is heard, a table that is sent; and files of maps. */
const HEARING_MS = 500;
const MOST_TABLE_MB = 20;

const sayOwn = (sentence) => put(part("own-told"), sentence);

const listHere = async () => {
  const here = await ask("here");
  if (here.refused) return;
  part("own-here").hidden = !here.local;
  put(part("root"), here.root || "SERDEMO_DATA");
  part("corpora").innerHTML = here.corpora.map((name) => `<option value="${clean(name)}">`).join("");
};

let hearing = "";

// Has a folder's clips heard, with how far it is; gives the map, or nothing.
const hearFolder = async (folder) => {
  sayOwn("");
  const begun = await ask("folder", { folder });
  if (begun.refused) return sayOwn(begun.refused);
  hearing = begun.hearing;
  part("hearing").hidden = false;
  const since = performance.now();
  let answer = {};
  for (;;) {
    answer = await askOn("hearing", { hearing });
    if (answer.refused || answer.map) break;
    const share = answer.done / Math.max(1, answer.total);
    part("bar").value = share;
    const left = share > 0.02 ? ((performance.now() - since) * (1 - share)) / share / 1000 : 0;
    put(part("bar-told"), `${count(answer.done)} of ${count(answer.total)} clips${
      left > 1 ? `, about ${Math.ceil(left)} s left` : ""}`);
    await later(HEARING_MS);
  }
  part("hearing").hidden = true;
  hearing = "";
  if (answer.refused) return sayOwn(answer.refused);
  return answer;
};

const stopHearing = () => hearing && ask("hearing", { hearing, stop: true });

const openTable = async (file) => {
  sayOwn("");
  if (file.size > MOST_TABLE_MB * 1024 * 1024) {
    return sayOwn(`${file.name} is larger than ${MOST_TABLE_MB} MB: embed fewer clips at once.`);
  }
  sayOwn(`Opening ${file.name}`);
  const answer = await ask("table", await sent(file));
  sayOwn(answer.refused || "");
  return answer.refused ? undefined : answer;
};

// Has the map, or some rows of it, written to a file and fetches that.
const saveMap = async (clips, ending, rows, say) => {
  say("Writing the file");
  const answer = await ask("save", { map: clips.key, ending, rows });
  if (answer.refused) return say(answer.refused);
  const { root, api_prefix } = window.gradio_config;
  const link = document.createElement("a");
  link.href = `${root}${api_prefix || ""}/file=${answer.path}`;
  link.download = answer.name;
  document.body.append(link);
  link.click();
  link.remove();
  return say("");
};
