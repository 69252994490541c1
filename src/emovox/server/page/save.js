// Results as files: the same JSON and CSV as `emovox predict` prints.

/**
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function save(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * @param {string[]} columns
 * @param {Object<string, unknown>[]} rows
 */
export function csv(columns, rows) {
  const lines = rows.map((row) => columns.map((column) => field(row[column])).join(","));
  return [columns.map(field).join(","), ...lines, ""].join("\r\n");
}

/** @param {unknown} value */
function field(value) {
  const text =
    value === null || value === undefined
      ? ""
      : typeof value === "number"
        ? String(Math.round(value * 1e6) / 1e6)
        : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
