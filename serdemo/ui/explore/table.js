/* The points that are shown, or those of them that are selected, as a table that needs no eye. */
const PAGE = 50;

class ClipTable {
  constructor() {
    this.page = 0;
    this.rows = [];
  }

  show(clips, rows, chosen) {
    if (rows !== this.rows) this.page = 0;
    Object.assign(this, { clips, rows, chosen });
    this.draw();
  }

  turn(by) {
    this.page += by;
    this.draw();
  }

  // Brings a clip's row into the table, where it is among them.
  reach(row) {
    const at = this.rows.indexOf(row);
    if (at >= 0) this.page = Math.floor(at / PAGE);
    this.chosen = row;
    this.draw();
  }

  draw() {
    if (!part("table-box").open || !this.clips) return;
    const from = this.page * PAGE;
    const shown = this.rows.slice(from, from + PAGE);
    const { clips } = this;
    put(part("table-caption"), shown.length
      ? `Clips ${count(from + 1)} to ${count(from + shown.length)} of ${count(this.rows.length)}`
      : "No clip is shown");
    renew(part("rows"), "row", shown.map((row) => {
      const share = clips.shares ? ` ${clips.shares[row]}%` : "";
      return `<tr><th scope="row"><button type="button" data-row="${row}"
        aria-pressed="${row === this.chosen}">${clean(clips.names[row])}</button></th>
        <td>${clean(clips.name("speaker", row))}</td><td>${clean(clips.name("emotion", row))}</td>
        <td>${clean(clips.name("prediction", row))}${share}</td>
        <td>${clean(clips.name("cluster", row))}</td></tr>`;
    }).join(""));
    part("earlier").disabled = !this.page;
    part("later").disabled = from + PAGE >= this.rows.length;
  }
}
