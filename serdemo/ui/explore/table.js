/* The clips that are shown, or those of them that are selected, as a table. */
import { count, escapeHtml, put, replaceKeepingFocus } from "../shell/js/dom.js";

const PAGE_ROWS = 50;
const COLUMNS = ["speaker", "emotion", "prediction", "cluster"];

export class ClipTable {
  constructor(part) {
    Object.assign(this, { part, page: 0, rows: [] });
  }

  show(clips, rows, chosen) {
    if (rows !== this.rows) this.page = 0;
    Object.assign(this, { clips, rows, chosen });
    this.draw();
  }

  turn(pages) {
    this.page += pages;
    this.draw();
  }

  /* Marks a clip's row, and turns to its page where it is among them. */
  choose(row) {
    const at = this.rows.indexOf(row);
    if (at >= 0) this.page = Math.floor(at / PAGE_ROWS);
    this.chosen = row;
    this.draw();
  }

  draw() {
    if (!this.part("table-box").open || !this.clips) return;
    const from = this.page * PAGE_ROWS;
    const shown = this.rows.slice(from, from + PAGE_ROWS);
    put(this.part("table-caption"), shown.length
      ? `Clips ${count(from + 1)} to ${count(from + shown.length)} of ${count(this.rows.length)}`
      : "No clip is shown");
    replaceKeepingFocus(this.part("rows"), "row", Array.from(shown, (row) => this.line(row)).join(""));
    this.part("earlier").disabled = !this.page;
    this.part("later").disabled = from + PAGE_ROWS >= this.rows.length;
  }

  line(row) {
    const { clips } = this;
    const share = clips.shares ? ` ${clips.shares[row]}%` : "";
    const cells = COLUMNS.map((kind) =>
      `<td>${escapeHtml(clips.name(kind, row))}${kind === "prediction" ? share : ""}</td>`);
    return `<tr><th scope="row"><button type="button" translate="no" data-row="${row}"
      aria-pressed="${row === this.chosen}">${escapeHtml(clips.clip(row))}</button></th>
      ${cells.join("")}</tr>`;
  }
}
