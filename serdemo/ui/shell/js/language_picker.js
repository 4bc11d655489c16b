/* The choice of language in the page's header: remembered in this browser, and applied by loading the page anew,
   as gradio reads it once. */
const KEY = "serdemo-language"; // first.js reads it

export const mount = ({ element }) => {
  const select = element.querySelector(".sd-language select");
  [select.value] = document.documentElement.lang.split("-");
  select.addEventListener("change", () => {
    try {
      localStorage.setItem(KEY, select.value);
    } catch {} // then the browser's own language stays
    location.reload();
  });
};
