// What is to be drawn: every node with its look and words, made once per change and painted many times. Pure.

import type { Node } from '../lib/types';
import type { Scene } from './export/scene';
import type { Layout, Point } from './layout';
import { type LinkLook, linkLook } from './links';
import type { Tree } from './model';
import { type Class, type LegendItem, type Outline, inkOn, outlineOf, type Scale, type Seen } from './scales';

export interface Drawn {
  id: number;
  parent: number | null;
  depth: number | null;
  label: string;
  state: string;
  outline: Outline;
  look: Class;
  ink: string;
  link: LinkLook;
  /** How many nodes are folded into it. */
  hidden: number;
  /** Whether somebody should look: its name is written before others. */
  odd: boolean;
  /** Whether a link leaves it to the right, where its name would be. */
  parting: boolean;
}

export interface Picture {
  gateway: number;
  shape: Layout['shape'];
  nodes: readonly Drawn[];
  points: ReadonlyMap<number, Point>;
  rings: readonly number[];
}

/** What the picture is made of. */
export interface Source {
  /** As it is shown: with folded nodes closed. */
  tree: Tree;
  layout: Layout;
  scale: Scale;
  folded: ReadonlySet<number>;
  seen(id: number): Seen;
  label(id: number): string;
  /** In words; of the past nobody knows. */
  state(node: Node | undefined): string;
  /** Whether the picture is of now: only then are states and links known. */
  now: boolean;
}

export function pictureOf(source: Source): Picture {
  const { tree, layout } = source;
  const nodes: Drawn[] = [];
  for (const place of tree.places.values()) nodes.push(drawn(source, place.id, place.parent, place.depth));
  for (const id of tree.apart) nodes.push(drawn(source, id, null, null));
  return { gateway: tree.gateway, shape: layout.shape, nodes, points: layout.points, rings: layout.rings };
}

function drawn(source: Source, id: number, parent: number | null, depth: number | null): Drawn {
  const seen = { ...source.seen(id), depth };
  const look = source.scale.of(seen);
  const isGateway = id === source.tree.gateway;
  const state = source.now ? seen.node?.state : undefined;
  return {
    id,
    parent,
    depth,
    label: source.label(id),
    state: isGateway ? 'gateway' : source.state(seen.node),
    outline: state ? outlineOf(state) : 'circle',
    look,
    ink: inkOn(look.fill),
    link: linkLook(source.now ? seen.node : undefined),
    hidden: source.folded.has(id) ? (source.tree.places.get(id)?.below ?? 0) : 0,
    parting: source.layout.shape === 'layered' && (source.tree.places.get(id)?.children.length ?? 0) > 0,
    odd: isGateway || (state !== undefined && state !== 'online' && state !== 'learning'),
  };
}

/** The same for a file. */
export function sceneOf(picture: Picture, title: string, at: string, legend: readonly LegendItem[]): Scene {
  const nodes = picture.nodes.map((node) => ({ ...node, at: picture.points.get(node.id) ?? { x: 0, y: 0 } }));
  return { title, at, gateway: picture.gateway, nodes, legend };
}
