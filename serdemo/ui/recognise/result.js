/* The answers: Stop, and on a narrow page bring an answer that was asked for into sight. */
element.addEventListener("click", (event) => {
  if (event.target.closest("[data-act=stop]")) trigger("stop");
});
watch("value", () => {
  const asked = navigator.userActivation && navigator.userActivation.hasBeenActive;
  const hidden = element.getBoundingClientRect().top > window.innerHeight * 0.6;
  if (!asked || !hidden) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
});
