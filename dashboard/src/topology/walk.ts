// Where an arrow key leads in the tree. Pure.

import type { Shape } from './layout';
import type { Tree } from './model';

export type Arrow = 'ArrowUp' | 'ArrowDown' | 'ArrowLeft' | 'ArrowRight';
type Way = 'up' | 'down' | 'back' | 'on';

/** In layers the gateway is at the left; in rings up leads to it. */
const WAYS: Record<Shape, Record<Arrow, Way>> = {
  layered: { ArrowLeft: 'up', ArrowRight: 'down', ArrowUp: 'back', ArrowDown: 'on' },
  radial: { ArrowUp: 'up', ArrowDown: 'down', ArrowLeft: 'back', ArrowRight: 'on' },
};

export function isArrow(key: string): key is Arrow {
  return key in WAYS.layered;
}

/**
 * The node that an arrow leads to; where there is none in that direction, the node itself. Sideways goes over all
 * nodes of a depth, siblings first. Without a node one begins at the gateway.
 */
export function step(tree: Tree, from: number | null, key: Arrow, shape: Shape): number {
  const place = from === null ? undefined : tree.places.get(from);
  if (!place) return apartStep(tree, from, WAYS[shape][key]);
  switch (WAYS[shape][key]) {
    case 'up':
      return place.parent ?? place.id;
    case 'down':
      return place.children[0] ?? place.id;
    case 'back':
      return beside(tree, place.id, -1);
    case 'on':
      return beside(tree, place.id, 1);
  }
}

function apartStep(tree: Tree, from: number | null, way: Way): number {
  const at = from === null ? -1 : tree.apart.indexOf(from);
  if (at < 0 || way === 'up') return tree.gateway;
  return tree.apart[way === 'back' ? at - 1 : at + 1] ?? (from as number);
}

function beside(tree: Tree, id: number, by: number): number {
  const ring = row(tree, tree.places.get(id)?.depth ?? 0);
  return ring[ring.indexOf(id) + by] ?? id;
}

/** All nodes of a depth as they stand beside each other. */
function row(tree: Tree, depth: number): number[] {
  let ring = [tree.gateway];
  for (let i = 0; i < depth; i += 1) ring = ring.flatMap((id) => [...(tree.places.get(id)?.children ?? [])]);
  return ring;
}
