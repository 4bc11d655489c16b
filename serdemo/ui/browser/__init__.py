"""Recognition in the browser: the core in JavaScript, and what a page serves for it."""
