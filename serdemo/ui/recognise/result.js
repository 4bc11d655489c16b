/* The answers as they come: the Stop button, the box "All of one person", and on a narrow page scrolling
   to an answer that was asked for. */
import { renderPage } from "./answers.js";

/* A function that shows pages of answers inside an element. `onStop` is called by the Stop button;
   whoever sends files listens for the window's event "sd-same-person". */
export const answersIn = (element, onStop) => {
  element.addEventListener("click", (event) => {
    if (event.target.closest("[data-act=stop]")) onStop();
  });
  let ticked = false; // the new answers are those of the box, which keeps the focus
  element.addEventListener("change", ({ target }) => {
    if (!target.matches("[data-same-person]")) return;
    target.disabled = ticked = true;
    dispatchEvent(new CustomEvent("sd-same-person", { detail: target.checked }));
  });
  return (page) => {
    renderPage(element, page);
    const box = ticked && element.querySelector("[data-same-person]");
    if (box) {
      ticked = false;
      box.focus({ preventScroll: true });
    }
    const used = navigator.userActivation && navigator.userActivation.hasBeenActive;
    const below = element.getBoundingClientRect().top > window.innerHeight * 0.6;
    if (!used || !below) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  };
};

export const mount = ({ element, trigger, watch, props }) => {
  const show = answersIn(element, () => trigger("stop"));
  const update = () => props.value && show(JSON.parse(props.value));
  update(); // an answer may have come before this script
  watch("value", update);
};
