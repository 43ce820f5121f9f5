// The tree as pages need it: parents, children, depth and size, from what the gateway says of links or of nodes.
//
// It refuses nothing: links may name strangers, go in circles or bring a node twice, and a tree comes of it all the
// same. What cannot be reached from the gateway is no part of the tree and is listed apart. The page builds one per
// change and hands it to layouts, the painter, the table and exports.

/** A connection; `from` is the end nearer to the gateway. */
export interface Link {
  from: number;
  to: number;
}

/** A node's place in the tree. */
export interface Place {
  id: number;
  /** `null` for the gateway alone. */
  parent: number | null;
  /** In ascending order of their ids, so that the picture stays as it is when nothing changed. */
  children: readonly number[];
  /** Hops from the gateway. */
  depth: number;
  /** How many nodes hang below it, not counting itself. */
  below: number;
}

export interface Tree {
  gateway: number;
  /** By id, parents before their children. */
  places: ReadonlyMap<number, Place>;
  /** Nodes that are known and have no way to the gateway, in ascending order. */
  apart: readonly number[];
  /** The greatest depth. */
  height: number;
}

/** Most nodes that are drawn; what is more is left out, and the page says how many. */
export const NODES_MAX = 5_000;

/** Links by what nodes say of their parents. Who has none is in none. */
export function linksOf(nodes: Iterable<{ id: number; parent?: number | null }>): Link[] {
  const links: Link[] = [];
  for (const node of nodes) {
    if (node.parent !== null && node.parent !== undefined) links.push({ from: node.parent, to: node.id });
  }
  return links;
}

/**
 * Builds the tree. `known` are nodes that exist whether or not a link names them.
 * The first link to a node counts; later ones to it would make it hang in two places.
 */
export function buildTree(gateway: number, links: Iterable<Link>, known: Iterable<number> = []): Tree {
  const parents = new Map<number, number>();
  const named = new Set<number>(known);
  for (const { from, to } of links) {
    named.add(from);
    named.add(to);
    if (to !== gateway && from !== to && !parents.has(to)) parents.set(to, from);
  }
  named.delete(gateway);
  const children = new Map<number, number[]>();
  for (const [to, from] of parents) {
    const list = children.get(from);
    if (list) list.push(to);
    else children.set(from, [to]);
  }
  const places = reach(gateway, children);
  for (const place of [...places.values()].reverse()) {
    const parent = place.parent === null ? undefined : places.get(place.parent);
    if (parent) parent.below += place.below + 1;
  }
  const height = [...places.values()].reduce((most, place) => Math.max(most, place.depth), 0);
  const apart = [...named].filter((id) => !places.has(id)).sort((a, b) => a - b);
  return { gateway, places, apart, height };
}

/** Breadth first from the gateway, so a circle that it is no part of is never entered. */
function reach(gateway: number, children: ReadonlyMap<number, number[]>): Map<number, Place> {
  const places = new Map<number, Place>();
  let ring: Place[] = [{ id: gateway, parent: null, children: [], depth: 0, below: 0 }];
  while (ring.length > 0 && places.size < NODES_MAX) {
    const next: Place[] = [];
    for (const place of ring) {
      if (places.size >= NODES_MAX) break;
      const own = (children.get(place.id) ?? []).sort((a, b) => a - b);
      places.set(place.id, place);
      place.children = own;
      for (const id of own) next.push({ id, parent: place.id, children: [], depth: place.depth + 1, below: 0 });
    }
    ring = next;
  }
  if (ring.length > 0) {
    for (const place of places.values()) place.children = place.children.filter((id) => places.has(id));
  }
  return places;
}

/** From a node up to the gateway, both included; empty where there is no way. */
export function pathToGateway(tree: Tree, id: number): number[] {
  const path: number[] = [];
  let place = tree.places.get(id);
  while (place) {
    path.push(place.id);
    place = place.parent === null ? undefined : tree.places.get(place.parent);
  }
  return path;
}

/** A node and all that hang below it, parents before children. */
export function subtree(tree: Tree, id: number): number[] {
  const found: number[] = [];
  const open = [id];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const place = tree.places.get(next);
    if (!place) continue;
    found.push(next);
    for (let i = place.children.length - 1; i >= 0; i -= 1) open.push(place.children[i] as number);
  }
  return found;
}

/** A tree without what hangs below folded nodes; they stay, and keep the number of what they hide in `below`. */
export function fold(tree: Tree, folded: ReadonlySet<number>): Tree {
  if (folded.size === 0) return tree;
  const places = new Map<number, Place>();
  for (const place of tree.places.values()) {
    const parent = place.parent === null ? undefined : places.get(place.parent);
    const hidden = place.parent !== null && (!parent || folded.has(parent.id));
    if (hidden) continue;
    places.set(place.id, folded.has(place.id) ? { ...place, children: [] } : place);
  }
  const height = [...places.values()].reduce((most, place) => Math.max(most, place.depth), 0);
  return { ...tree, places, height };
}

/** The folded nodes without those that hide a node: so that it can be shown. */
export function unfoldTo(tree: Tree, folded: ReadonlySet<number>, id: number): Set<number> {
  const open = new Set(pathToGateway(tree, id).slice(1));
  return new Set([...folded].filter((each) => !open.has(each)));
}

/** What differs between two trees. */
export interface Delta {
  joined: number[];
  left: number[];
  moved: { id: number; from: number | null; to: number | null }[];
}

/** What has become of `before`: who came, who went, who hangs elsewhere. In ascending order of ids. */
export function delta(before: Tree, after: Tree): Delta {
  const joined: number[] = [];
  const left: number[] = [];
  const moved: Delta['moved'] = [];
  for (const place of after.places.values()) {
    const was = before.places.get(place.id);
    if (!was) joined.push(place.id);
    else if (was.parent !== place.parent) moved.push({ id: place.id, from: was.parent, to: place.parent });
  }
  for (const id of before.places.keys()) if (!after.places.has(id)) left.push(id);
  const ascending = (a: number, b: number) => a - b;
  return { joined: joined.sort(ascending), left: left.sort(ascending), moved: moved.sort((a, b) => a.id - b.id) };
}

/** Whether two trees are the same: then nothing has to be laid out again. */
export function sameTree(a: Tree, b: Tree): boolean {
  if (a === b) return true;
  if (a.gateway !== b.gateway || a.places.size !== b.places.size || a.apart.length !== b.apart.length) return false;
  for (const place of a.places.values()) {
    const other = b.places.get(place.id);
    if (!other || other.parent !== place.parent || other.children.length !== place.children.length) return false;
  }
  return a.apart.every((id, i) => id === b.apart[i]);
}
