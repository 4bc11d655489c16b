/* The lines of one text, which are not taken apart: a million of them would take much memory. */

/* Where each line begins, and where one after the last would. */
const startsOf = (text) => {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  starts.push(text.length + 1);
  return Uint32Array.from(starts);
};

export class Lines {
  constructor(text) {
    this.text = text;
    this.starts = startsOf(text);
  }

  line(number) {
    return this.text.slice(this.starts[number], this.starts[number + 1] - 1);
  }

  /* In lower case, where a line may have another length. */
  get lower() {
    this.lowered ||= new Lines(this.text.toLowerCase());
    return this.lowered;
  }

  /* A mask of the lines that hold a word in lower case, which has no line break. */
  holding(word) {
    const { text, starts } = this.lower;
    const mask = new Uint8Array(starts.length - 1);
    let line = 0;
    for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, starts[line])) {
      while (starts[line + 1] <= at) line += 1;
      mask[line] = 1;
      line += 1;
      if (line === mask.length) break;
    }
    return mask;
  }
}
