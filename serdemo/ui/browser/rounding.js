/* Numbers rounded and written as Python does: by the exact value of the double, ties to even. */

/* Whether a number lies exactly between two of so many decimals. */
const isTie = (value, digits) => Math.abs(value * 2 ** (digits + 1)) % 2 === 1;

/* A number with so many decimals, as in Python's f"{value:.2f}". */
export const fixed = (value, digits = 0) => {
  if (!isTie(value, digits)) return value.toFixed(digits);
  const below = Math.floor(Math.abs(value) * 10 ** digits);
  const even = (below + (below % 2)) / 10 ** digits;
  return (Math.sign(value) * even).toFixed(digits);
};

export const round = (value, digits = 0) => Number(fixed(value, digits));

/* A number with so many significant digits. */
export const significant = (value, digits) => Number(value.toPrecision(digits));

/* A number as in Python's `repr(float)`: 1.0, 0.5, 1e-05, 1e+16. */
export const floatText = (value) => {
  const size = Math.abs(value);
  if (size && (size < 1e-4 || size >= 1e16)) {
    const [digits, exponent] = value.toExponential().split("e");
    return `${digits}e${exponent[0]}${exponent.slice(1).padStart(2, "0")}`;
  }
  const text = Object.is(value, -0) ? "-0" : String(value);
  return text.includes(".") ? text : `${text}.0`;
};
