/* Texts of the page in another language, by the table in ui/languages. */

/* What a placeholder of the table stands for; digits tell those of one kind apart. */
const KINDS = {
  n: { pattern: "[-−+]?\\d[\\d.,:]*", shown: (value, phrases) => phrases.number(value) },
  emotion: { pattern: "no speech|[\\p{L}_-]+", shown: (value, phrases) => phrases.translate(value) },
  name: { pattern: ".+?", shown: (value) => value }, // of a file, a model, a speaker
  text: { pattern: ".+?", shown: (value, phrases) => phrases.translate(value) },
};
const PLACEHOLDER = /\{((n|emotion|name|text)\d*)\}/gu;
const MAX_CACHED = 5000; // texts
const GROUPED = /^[-−]?\d{1,3}(,\d{3})*(\.\d+)?$/;
const DECIMAL = /^[-−]?\d+\.\d+$/;
/* Where a text is taken apart that the table has not as a whole, and what joins it again. */
const BREAKS = [
  { at: /(?<=[.!?…]) (?=[\p{Lu}\d“"])/u, joint: " " }, { at: " · ", joint: " · " }, { at: "; ", joint: "; " },
  { at: ": ", joint: ": " }, { at: ", ", joint: ", " }, { at: " / ", joint: " / " },
];
const JOINTS = {
  zh: { " ": "", "; ": "；", ": ": "：", ", ": "，" },
  ar: { "; ": "؛ ", ", ": "، " },
};

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/* A text of the table with placeholders: `match(text)` gives their values, by their names, or null. */
const patternOf = (source) => {
  const parts = source.split(PLACEHOLDER); // literal, name, kind, literal, ...
  const literals = parts.filter((_, i) => i % 3 === 0);
  const names = parts.filter((_, i) => i % 3 === 1);
  const kinds = parts.filter((_, i) => i % 3 === 2);
  const body = literals.map((literal, i) =>
    escaped(literal) + (i < kinds.length ? `(${KINDS[kinds[i]].pattern})` : "")).join("");
  const expression = new RegExp(`^${body}$`, "su");
  const longest = literals.reduce((most, literal) => (literal.length > most.length ? literal : most), "");
  const match = (text) => {
    if (!text.includes(longest)) return null; // nearly all end here
    const found = expression.exec(text);
    return found && Object.fromEntries(names.map((name, i) => [name, found[i + 1]]));
  };
  return { match, weight: literals.join("").length };
};

export class Phrases {
  /* `table` has the texts of `language`, such as "de", by the English ones. */
  constructor(table, language) {
    this.table = table;
    this.joints = JOINTS[language] || {};
    this.isRightToLeft = language === "ar";
    this.cached = new Map();
    this.patterns = Object.entries(table).filter(([source]) => source.includes("{"))
      .map(([source, target]) => ({ ...patternOf(source), target }))
      .sort((a, b) => b.weight - a.weight); // the most special one first
    // In all languages alike: digits as the page's own clocks and charts have them.
    this.locale = `${language}-u-nu-latn`;
    this.formats = {};
  }

  /* A number as English writes it, with the language's own signs. Its sign stays before it. */
  number(text) {
    const shown = this.formatted(text);
    return this.isRightToLeft ? shown.replace(/^[-−+]/, "\u200e$&") : shown;
  }

  formatted(text) {
    if (!GROUPED.test(text) && !DECIMAL.test(text)) return text;
    const digits = text.split(".")[1]?.length || 0;
    const grouped = text.includes(",");
    const format = (this.formats[`${digits}${grouped}`] ||= new Intl.NumberFormat(this.locale, {
      minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: grouped,
    }));
    const sign = text.match(/^[-−]?/)[0];
    return sign + format.format(Number(text.slice(sign.length).replaceAll(",", "")));
  }

  /* A text in the language; one that is not in the table, whole or in parts, as it is. */
  translate(text) {
    const source = text.trim().replace(/\s+/g, " ");
    if (!source) return text;
    let target = this.cached.get(source);
    if (target === undefined) {
      target = this.find(source);
      if (this.cached.size > MAX_CACHED) this.cached.clear();
      this.cached.set(source, target);
      this.cached.set(target, target); // what is translated stays
    }
    return target === source ? text : text.match(/^\s*/)[0] + target + text.match(/\s*$/)[0];
  }

  find(source) {
    if (!/\p{L}/u.test(source)) return /^[-−+]\d|,/.test(source) ? this.number(source) : source;
    if (Object.hasOwn(this.table, source)) return this.table[source];
    for (const { match, target } of this.patterns) {
      const values = match(source);
      if (values) {
        return target.replaceAll(PLACEHOLDER, (_, name, kind) =>
          KINDS[kind].shown(values[name] ?? "", this));
      }
    }
    return this.inParts(source);
  }

  inParts(source) {
    for (const { at, joint } of BREAKS) {
      const parts = this.joined(source.split(at), joint);
      if (parts.length === 1) continue;
      const targets = parts.map((part) => this.translate(part));
      if (targets.some((target, i) => target !== parts[i])) return targets.join(this.joints[joint] ?? joint);
    }
    return source;
  }

  /* Parts, of which those are one again that the table has together. */
  joined(parts, joint) {
    for (let count = parts.length; count > 1; count -= 1) {
      for (let from = 0; from + count <= parts.length; from += 1) {
        const whole = parts.slice(from, from + count).join(joint);
        if (Object.hasOwn(this.table, whole)) {
          const [before, after] = [parts.slice(0, from), parts.slice(from + count)];
          return [...this.joined(before, joint), whole, ...this.joined(after, joint)];
        }
      }
    }
    return parts;
  }
}
