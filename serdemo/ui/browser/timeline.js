/* Stretches of a recording with one label each, made from its overlapping windows. */
import { fixed } from "./rounding.js";

export const NO_SPEECH = "no speech"; // the label of a segment that was not scored
const MIN_GAP_S = 0.01; // between neighbours that do not touch

/* Dimensions with their values: "arousal 0.61, valence 0.40". */
export const dimensionsText = (dimensions) => Object.entries(dimensions)
  .map(([name, value]) => `${name} ${fixed(value, 2)}`).join(", ");

/* Label and confidence of a stretch, "angry (82%)", or its dimensions. */
export const caption = ({ label, confidence, dimensions }) => {
  if (dimensions) return dimensionsText(dimensions);
  return confidence ? `${label} (${fixed(100 * confidence)}%)` : label;
};

/* Stretches { start_s, end_s, label, confidence } that do not overlap, from the windows that hold
   speech; those of a regression have `dimensions` too.

   Overlapping neighbours share their overlap half and half; touching ones of the same label become one
   stretch with their mean confidence, weighted by length. Those with dimensions stay apart. */
export const spans = (segments) => {
  const voiced = segments.filter(({ speech }) => speech > 0);
  const middle = (i) => (voiced[i].end_s + voiced[i + 1].start_s) / 2;
  const joined = [];
  voiced.forEach(({ start_s, end_s, label, confidence, dimensions }, i) => {
    const start = i ? Math.max(start_s, middle(i - 1)) : start_s;
    const end = i + 1 < voiced.length ? Math.min(end_s, middle(i)) : end_s;
    const last = dimensions ? undefined : joined.at(-1);
    if (last && last.label === label && start - last.end_s < MIN_GAP_S) {
      const lengths = [last.end_s - last.start_s, end - start];
      const sum = last.confidence * lengths[0] + confidence * lengths[1];
      last.confidence = sum / (lengths[0] + lengths[1]);
      last.end_s = end;
    } else {
      joined.push({
        start_s: start, end_s: end, label, confidence, ...(dimensions && { dimensions }),
      });
    }
  });
  return joined;
};
