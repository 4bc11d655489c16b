/* Colours and markers of the names on the map: the page's palette, and more for names beyond it. */
import { styleOf as styleOfEmotion } from "../shell/js/emotions.js";
import { SYMBOL_ORDER } from "./sprites.js";

export const GREY = "#8a94a6";
const BINARY = { correct: GREY, wrong: "#D55E00", "known to the model": GREY,
  "new to the model": "#0072B2" };

/* A function styleOf(kind, name, code) to { colour, symbol }. `symbols` are those of the emotions, `colours`
   the list for other names. */
export const makeStyleOf = ({ symbols, colours }) => (kind, name, code) => {
  if (kind === "emotion" || kind === "prediction") {
    const symbol = Object.hasOwn(symbols, name) ? symbols[name] : symbols.other;
    return { colour: styleOfEmotion(name).colour, symbol };
  }
  if (Object.hasOwn(BINARY, name)) {
    return { colour: BINARY[name], symbol: BINARY[name] === GREY ? "circle" : "x" };
  }
  const number = kind === "cluster" ? Math.abs(Number(name.split(" ")[1]) - 1) : code;
  const symbol = (number + Math.floor(number / colours.length)) % SYMBOL_ORDER.length;
  return { colour: colours[number % colours.length], symbol: SYMBOL_ORDER[symbol] };
};
