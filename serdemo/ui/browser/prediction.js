/* What a prediction, in the JSON of `serdemo predict`, says in words. */
import { dimensionsText } from "./timeline.js";

/* Whether any segment holds speech; without speech, the label means nothing. */
export const hasSpeech = ({ segments }) => segments.some(({ speech }) => speech > 0);

/* Whether the probabilities are of labels that are independent of each other. */
export const isMultiLabel = ({ probabilities }) => {
  const shares = Object.values(probabilities);
  return shares.length > 0 && Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) > 1e-3;
};

/* The `count` most probable labels, most probable first. */
export const nearest = ({ probabilities }, count = 2) => Object.keys(probabilities)
  .sort((a, b) => probabilities[b] - probabilities[a]).slice(0, count);

/* Plain words for a confidence in [0, 1]. */
export const certainty = (confidence) => {
  if (confidence >= 0.85) return "very sure";
  return confidence >= 0.6 ? "fairly sure" : "somewhat sure";
};

/* A prediction as a sentence, such as "Sounds angry, fairly sure"; of a regression, its values. */
export const sentence = (prediction) => {
  if (!hasSpeech(prediction)) return "No speech found";
  if (prediction.dimensions) {
    const values = dimensionsText(prediction.dimensions);
    return values.slice(0, 1).toUpperCase() + values.slice(1).toLowerCase();
  }
  if (prediction.unsure) return `Not sure: ${nearest(prediction, 2).join(" or ")}`;
  return `Sounds ${prediction.label}, ${certainty(prediction.confidence)}`;
};
