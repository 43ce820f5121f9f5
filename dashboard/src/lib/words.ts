// Texts of the gateway that name nodes, cut so that the nodes can be links. What is cut is shown as text, never as markup.

/** A piece of a text: words, or a node that is named there. */
export type Piece = { text: string } | { node: number };

/** As the gateway names nodes: `node 12`, `the link of 12 and 13`. */
const NAMED = /(?<=\bnode |\blink of |\blink of \d{1,10} and )\d{1,10}\b/g;

/** Cuts a text where it names nodes; other numbers are left alone. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(NAMED)) {
    const id = Number(match[0]);
    if (id > 0xffff_ffff) continue;
    found.push({ text: text.slice(at, match.index) }, { node: id });
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push({ text: text.slice(at) });
  return found;
}
