/** An error that says what is wrong, with a stable code, and what to do about it. */
export class EmovoxError extends Error {
  /**
   * @param {string} message what is wrong
   * @param {{code?: string, remedy?: string, status?: number}} [details]
   */
  constructor(message, { code = "error", remedy = "", status = 0 } = {}) {
    super(message);
    this.name = "EmovoxError";
    this.code = code;
    this.remedy = remedy;
    this.status = status;
  }

  /**
   * Take any thrown thing.
   * @param {unknown} error
   * @returns {EmovoxError}
   */
  static from(error) {
    if (error instanceof EmovoxError) return error;
    if (error instanceof DOMException && error.name === "AbortError")
      return new EmovoxError("was stopped", { code: "aborted" });
    return new EmovoxError(error instanceof Error ? error.message : String(error), { code: "unexpected" });
  }
}

/**
 * Read problem details (RFC 9457).
 * @param {{detail?: string, title?: string, code?: string, remedy?: string, status?: number}} problem
 */
export function described(problem) {
  return new EmovoxError(problem.detail ?? problem.title ?? "The server reports an error.", problem);
}

export function unreachable() {
  const remedy = "Check that emovox serve is running, then try again.";
  return new EmovoxError("The server cannot be reached.", { code: "unreachable", remedy });
}
