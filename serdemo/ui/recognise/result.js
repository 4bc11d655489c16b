/* The answers: the Stop button, and on a narrow page scrolling to an answer that was asked for. */
export const mount = ({ element, trigger, watch }) => {
  element.addEventListener("click", (event) => {
    if (event.target.closest("[data-act=stop]")) trigger("stop");
  });
  watch("value", () => {
    const used = navigator.userActivation && navigator.userActivation.hasBeenActive;
    const below = element.getBoundingClientRect().top > window.innerHeight * 0.6;
    if (!used || !below) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
  });
};
