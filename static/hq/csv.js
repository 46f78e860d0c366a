// Tables as text: what a spreadsheet saves (CSV) and what it puts on the clipboard (tabs). No DOM here.

/** A cell as CSV has it. */
export const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

const separator = (text) => (text.split(/\r?\n/, 1)[0].includes("\t") ? "\t" : ",");

/** Rows of cells. A cell in quotes may hold separators, line breaks and (doubled) quotes; one whose quote never ends is taken as it stands. */
export function rows(text) {
  const between = separator(text);
  const next = new RegExp(`(?:"((?:[^"]|"")*)"|([^${between}\\r\\n]*))(${between}|\\r?\\n|\\r|$)`, "y");
  const found = [[]];
  while (next.lastIndex < text.length) {
    const [, quoted, plain, end] = next.exec(text);
    found.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end === between && next.lastIndex === text.length) found.at(-1).push("");
    else if (end !== between && next.lastIndex < text.length) found.push([]);
  }
  return found;
}

/** What was pasted or read from a file, as CSV. */
export function asCsv(text) {
  return separator(text) === "," ? text : rows(text).map((row) => row.map(cell).join(",")).join("\n");
}
