/* Other maps than the shipped one, from a folder or a table; and files of maps. */
import { count, download, escapeHtml, put, saveBlob, wait } from "../shell/js/dom.js";
import { apiUrl, persistent } from "../shell/js/rpc.js";
import { sendFile } from "../shell/js/upload.js";
import { packBits } from "./clips.js";

const POLL_MS = 500;
const MAX_TABLE_MB = 20;
const MIN_SHARE = 0.02; // of the clips before the time left is told

export class MapSources {
  constructor(part, ask, upload) {
    Object.assign(this, { part, ask, upload, job: "" });
  }

  say(sentence) {
    put(this.part("own-status"), sentence);
  }

  /* Lists the corpora on the server's machine, for whoever sits at it. */
  async list() {
    const response = await this.ask("here");
    if (response.refused) return;
    this.part("own-here").hidden = !response.local;
    this.part("own-table").hidden = Boolean(response.no_tables);
    this.say(response.no_tables);
    put(this.part("root"), response.root || "SERDEMO_DATA");
    this.part("corpora").innerHTML =
      response.corpora.map((name) => `<option value="${escapeHtml(name)}">`).join("");
  }

  /* Embeds a folder's clips, with progress; resolves to the map, or to nothing. */
  async embedFolder(folder) {
    this.say("");
    const response = await this.ask("folder", { folder });
    if (response.refused) return this.say(response.refused);
    this.job = response.hearing;
    this.part("hearing").hidden = false;
    const answer = await this.follow(this.job);
    this.part("hearing").hidden = true;
    this.job = "";
    return answer.refused ? this.say(answer.refused) : answer;
  }

  /* Polls a job until it has a map or is refused. */
  async follow(job) {
    const since = performance.now();
    for (;;) {
      const answer = await persistent(this.ask)("hearing", { hearing: job });
      if (answer.refused || answer.map) return answer;
      const share = answer.done / Math.max(1, answer.total);
      this.part("bar").value = share;
      const left = share > MIN_SHARE ? ((performance.now() - since) * (1 - share)) / share / 1000 : 0;
      put(this.part("bar-status"), answer.total ? `${count(answer.done)} of ${count(answer.total)} clips${
        left > 1 ? `, about ${Math.ceil(left)} s left` : ""}` : "Reading the table");
      await wait(POLL_MS);
    }
  }

  stop() {
    if (this.job) this.ask("hearing", { hearing: this.job, stop: true });
  }

  /* Sends a Parquet table; resolves to its map, or to nothing. */
  async openTable(file) {
    if (file.size > MAX_TABLE_MB * 1024 * 1024) {
      return this.say(`${file.name} is larger than ${MAX_TABLE_MB} MB: embed fewer clips at once.`);
    }
    this.say(`Opening ${file.name}`);
    const answer = await this.ask("table", await sendFile(this.upload, file));
    this.say(answer.refused || "");
    return answer.refused ? undefined : answer;
  }
}

/* Has the map, or the rows of a mask of it, written to a file, and fetches that from the server, unless it comes
   with the answer as `blob`. `say` shows a sentence. */
export const saveMap = async (ask, clips, ending, mask, say) => {
  say("Writing the file");
  const answer = await ask("save", { map: clips.key, ending, rows: mask && packBits(mask) });
  if (answer.refused) return say(answer.refused);
  if (answer.blob) saveBlob(answer.blob, answer.name);
  else download(apiUrl(`file=${answer.path}`), answer.name);
  return say("");
};
