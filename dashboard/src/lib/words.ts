// Texts of the gateway that name nodes, cut so that the nodes can be links. What is cut is shown as text, never as markup.

/** A piece of a text: words, or a node that is named there. */
export type Piece = { text: string } | { node: number };

/** Cuts a text at `node 123`; other numbers are left alone. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(/\bnode (\d{1,10})\b/g)) {
    const id = Number(match[1]);
    if (id > 0xffff_ffff) continue;
    const start = match.index + 'node '.length;
    found.push({ text: text.slice(at, start) }, { node: id });
    at = match.index + match[0].length;
  }
  if (at < text.length) found.push({ text: text.slice(at) });
  return found;
}
