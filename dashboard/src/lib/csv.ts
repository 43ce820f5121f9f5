// Tables as CSV (RFC 4180), for spreadsheets.
//
// Names come from the mesh: a text that a spreadsheet would take for a formula gets an apostrophe before it, so that
// nobody's node can make somebody's computer do something. Numbers stay numbers, negative ones too.

/** What kind of file it is. */
export const CSV = 'text/csv;charset=utf-8';

export type Cell = string | number | null | undefined;

/** One cell. */
export function cell(value: Cell): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : '';
  // Blanks before the sign do not keep a spreadsheet from it.
  const text = /^\s*[=+\-@\t\r]/.test(value) || /^[\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A table with its heads. */
export function csv(heads: string[], rows: Cell[][]): string {
  return [heads, ...rows].map((row) => `${row.map(cell).join(',')}\r\n`).join('');
}
