/* The answers: the Stop button, the box "All of one person", and on a narrow page scrolling to an answer
   that was asked for. */
export const mount = ({ element, trigger, watch }) => {
  element.addEventListener("click", (event) => {
    if (event.target.closest("[data-act=stop]")) trigger("stop");
  });
  let ticked = false; // the new answers are those of the box, which keeps the focus
  element.addEventListener("change", ({ target }) => {
    if (!target.matches("[data-same-person]")) return;
    target.disabled = ticked = true;
    dispatchEvent(new CustomEvent("sd-same-person", { detail: target.checked }));
  });
  watch("value", () => {
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
  });
};
