// Where nodes are drawn: a tidy tree from left to right, or rings around the gateway. By d3-hierarchy.
//
// Pure: the same tree gives the same places, and no two nodes come nearer than `GAP`. Units are pixels at zoom 1.

import { type HierarchyPointNode, hierarchy, tree as tidy } from 'd3-hierarchy';
import type { Place, Tree } from './model';

export type Shape = 'layered' | 'radial';

export interface Point {
  x: number;
  y: number;
}

export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export interface Layout {
  shape: Shape;
  /** By id; nodes that are apart included. */
  points: ReadonlyMap<number, Point>;
  box: Box;
  /** Radii of the rings, nearest first; empty in layers. */
  rings: readonly number[];
}

/** Nearest that the middles of two nodes come to each other. */
export const GAP = 26;
/** From one layer to the next, at least: room for a name between them. */
export const LAYER = 150;
/** The same at most, and its steps: a tree of many nodes is spread as wide as screens are, and seldom anew. */
const LAYER_MAX = 480;
const LAYER_STEP = 66;
const WIDE = 1.5;
/** From one ring to the next, at least. */
export const RING = 64;
/** Distance of nodes that are apart, from each other and from the tree. */
const APART = 64;

interface Nested {
  place: Place;
  children: Nested[];
}

function nested(tree: Tree): Nested {
  const all = new Map<number, Nested>();
  for (const place of tree.places.values()) all.set(place.id, { place, children: [] });
  for (const each of all.values()) {
    const parent = each.place.parent === null ? undefined : all.get(each.place.parent);
    parent?.children.push(each);
  }
  for (const each of all.values()) each.children.sort((a, b) => a.place.id - b.place.id);
  // Every tree has its gateway.
  return all.get(tree.gateway) as Nested;
}

/** Lays a tree out. */
export function layOut(tree: Tree, shape: Shape): Layout {
  const points = new Map<number, Point>();
  const rings = shape === 'layered' ? layered(tree, points) : radial(tree, points);
  shelve(tree.apart, points);
  return { shape, points, box: around(points.values()), rings };
}

function layered(tree: Tree, points: Map<number, Point>): number[] {
  const lay = tidy<Nested>()
    .nodeSize([GAP, LAYER])
    .separation((a, b) => (a.parent === b.parent ? 1 : 1.4));
  const nodes = lay(hierarchy(nested(tree))).descendants();
  const spread = layerFor(nodes, tree.height);
  for (const node of nodes) points.set(node.data.place.id, { x: node.depth * spread, y: node.x });
  return [];
}

function layerFor(nodes: HierarchyPointNode<Nested>[], height: number): number {
  let [least, most] = [0, 0];
  for (const node of nodes) [least, most] = [Math.min(least, node.x), Math.max(most, node.x)];
  const wish = ((most - least) * WIDE) / Math.max(height, 1);
  const steps = Math.max(0, Math.floor((wish - LAYER) / LAYER_STEP));
  return Math.min(LAYER_MAX, LAYER + steps * LAYER_STEP);
}

function radial(tree: Tree, points: Map<number, Point>): number[] {
  const lay = tidy<Nested>()
    .nodeSize([1, 1])
    .separation((a, b) => (a.parent === b.parent ? 1 : 1.4));
  const nodes = lay(hierarchy(nested(tree))).descendants();
  const least = nodes.reduce((less, node) => Math.min(less, node.x), 0);
  const most = nodes.reduce((more, node) => Math.max(more, node.x), 0);
  // The last node and the first are neighbours too.
  const turn = (2 * Math.PI) / Math.max(most - least + 1.4, 1);
  const byDepth: HierarchyPointNode<Nested>[][] = [];
  for (const node of nodes) (byDepth[node.depth] ??= []).push(node);
  const radii: number[] = [0];
  for (const [depth, ring] of byDepth.entries()) {
    if (depth === 0) continue;
    radii[depth] = Math.max((radii[depth - 1] ?? 0) + RING, radiusFor(ring, turn));
  }
  for (const node of nodes) {
    const angle = (node.x - least) * turn - Math.PI / 2;
    const radius = radii[node.depth] ?? 0;
    points.set(node.data.place.id, { x: radius * Math.cos(angle), y: radius * Math.sin(angle) });
  }
  return radii.slice(1);
}

/** The radius at which neighbours of a ring are `GAP` apart. */
function radiusFor(ring: HierarchyPointNode<Nested>[], turn: number): number {
  const angles = ring.map((node) => node.x * turn).sort((a, b) => a - b);
  let closest = 2 * Math.PI - ((angles.at(-1) ?? 0) - (angles[0] ?? 0));
  for (let i = 1; i < angles.length; i += 1) {
    closest = Math.min(closest, (angles[i] as number) - (angles[i - 1] as number));
  }
  // A chord and no arc: nodes are seen straight.
  return angles.length < 2 ? 0 : GAP / (2 * Math.sin(Math.min(closest, Math.PI) / 2));
}

/** Nodes that are apart stand in rows below everything else. */
function shelve(apart: readonly number[], points: Map<number, Point>): void {
  if (apart.length === 0) return;
  const box = around(points.values());
  const columns = Math.max(1, Math.min(apart.length, Math.max(8, Math.floor((box.right - box.left) / APART))));
  apart.forEach((id, i) => {
    points.set(id, { x: box.left + (i % columns) * APART, y: box.bottom + (Math.floor(i / columns) + 1.5) * APART });
  });
}

/** The smallest box around points. */
export function around(points: Iterable<Point>): Box {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const { x, y } of points) {
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  return Number.isFinite(box.left) ? box : { left: 0, top: 0, right: 0, bottom: 0 };
}

/** Places between two layouts, `share` 0 to 1 of the way, so that nothing jumps. Who is new is where it will be. */
export function between(from: ReadonlyMap<number, Point>, to: ReadonlyMap<number, Point>, share: number): Map<number, Point> {
  const eased = share < 0.5 ? 2 * share * share : 1 - (2 - 2 * share) ** 2 / 2;
  const points = new Map<number, Point>();
  for (const [id, end] of to) {
    const start = from.get(id) ?? end;
    points.set(id, { x: start.x + (end.x - start.x) * eased, y: start.y + (end.y - start.y) * eased });
  }
  return points;
}
