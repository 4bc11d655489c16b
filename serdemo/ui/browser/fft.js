/* The fast Fourier transform of complex numbers, in place. */

/* Transforms `re` and `im`, whose length is a power of 2; the inverse is not divided by the length. */
export const fft = (re, im, inverse = false) => {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i += 1) { // to bit-reversed order
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [re[i], re[j]] = [re[j], re[i]];
      [im[i], im[j]] = [im[j], im[i]];
    }
  }
  const angle = ((inverse ? 2 : -2) * Math.PI) / n;
  const cos = Float64Array.from({ length: n / 2 }, (_, i) => Math.cos(angle * i));
  const sin = Float64Array.from({ length: n / 2 }, (_, i) => Math.sin(angle * i));
  for (let half = 1; half < n; half *= 2) {
    const stride = n / (2 * half);
    for (let start = 0; start < n; start += 2 * half) {
      for (let k = 0; k < half; k += 1) {
        const a = start + k;
        const b = a + half;
        const c = cos[k * stride];
        const s = sin[k * stride];
        const x = re[b] * c - im[b] * s;
        const y = re[b] * s + im[b] * c;
        re[b] = re[a] - x;
        im[b] = im[a] - y;
        re[a] += x;
        im[a] += y;
      }
    }
  }
};

/* Adds the cross-spectrum, conj(A) B, of two real signals of a length n, a power of 2, to `re` and `im`. */
export const addCrossSpectrum = (a, b, re, im) => {
  fft(a, b); // both at once, as the parts of one complex signal
  const n = a.length;
  for (let k = 0; k < n; k += 1) {
    const m = (n - k) % n;
    const aRe = (a[k] + a[m]) / 2;
    const aIm = (b[k] - b[m]) / 2;
    const bRe = (b[k] + b[m]) / 2;
    const bIm = (a[m] - a[k]) / 2;
    re[k] += aRe * bRe + aIm * bIm;
    im[k] += aRe * bIm - aIm * bRe;
  }
};
