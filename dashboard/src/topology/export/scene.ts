// What a picture shows, for everything that writes it down: nodes with places, looks and words.

import type { Point } from '../layout';
import type { LinkLook } from '../links';
import type { Class, LegendItem, Outline } from '../scales';

export interface SceneNode {
  id: number;
  parent: number | null;
  depth: number | null;
  at: Point;
  label: string;
  state: string;
  outline: Outline;
  look: Class;
  /** How many nodes are folded into it. */
  hidden: number;
  link: LinkLook;
}

export interface Scene {
  title: string;
  /** When it is so, RFC 3339. */
  at: string;
  gateway: number;
  nodes: readonly SceneNode[];
  legend: readonly LegendItem[];
}
