/* What gradio's own markup lacks, for screen readers above all. */

const MENDS = [
  // The head of a toast, which folds it, would be a button around a button.
  [".toast-header[role=button]", (head) => {
    head.removeAttribute("role");
    head.removeAttribute("tabindex");
  }],
  ["[role=tabpanel][id]:not([aria-labelledby])", (panel) => {
    panel.setAttribute("aria-labelledby", `${panel.id}-button`);
  }],
];

const mendAll = () => {
  for (const [selector, mend] of MENDS) document.querySelectorAll(selector).forEach(mend);
};

/* Each second of a run gradio renews its view, and folds what was unfolded in it. */
const keepUnfolded = () => {
  const unfolded = new WeakSet();
  document.addEventListener("click", ({ target }) => {
    const details = target.closest("#finetune-run summary")?.parentElement;
    if (details?.open) unfolded.delete(details);
    else if (details) unfolded.add(details);
  });
  return (changes) => {
    for (const { target } of changes) if (!target.open && unfolded.has(target)) target.open = true;
  };
};

/* Mends what is there, and what comes later. */
export const mendMarkup = () => {
  const unfold = keepUnfolded();
  mendAll();
  new MutationObserver(mendAll).observe(document.body, { childList: true, subtree: true });
  new MutationObserver(unfold).observe(document.body, { attributeFilter: ["open"], subtree: true });
};
