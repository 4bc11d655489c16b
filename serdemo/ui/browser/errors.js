/* Errors whose message is a sentence for the user. */

/* What cannot be done, and what to do about it. */
export class SerdemoError extends Error {}

export const CANCELLED = "This was cancelled.";

/* A call that the page should not have made. */
export class UsageError extends SerdemoError {}
