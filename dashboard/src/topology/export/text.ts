// A scene as DOT and as JSON. Names come from the mesh, so whatever is in them stays a name.

import type { Scene } from './scene';

/** A quoted string of the DOT language: nothing in it ends it. Control characters become spaces. */
export function dotString(text: string): string {
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
  return `"${line.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

const DOT_SHAPES: Record<string, string> = {
  circle: 'ellipse', ring: 'ellipse', triangle: 'triangle', square: 'box', diamond: 'diamond', pill: 'oval', dot: 'point',
};

/** The tree for Graphviz: `dot -Tsvg`, or `twopi -Tsvg` for rings. */
export function toDot(scene: Scene): string {
  const lines = [`digraph mesh {`, `  label=${dotString(scene.title)};`, '  node [style=filled];', `  root=${dotString(String(scene.gateway))};`];
  for (const node of scene.nodes) {
    const hidden = node.hidden > 0 ? ` (+${node.hidden})` : '';
    const shape = node.id === scene.gateway ? 'house' : (DOT_SHAPES[node.outline] ?? 'ellipse');
    const words = [`label=${dotString(node.label + hidden)}`, `shape=${shape}`, `fillcolor=${dotString(node.look.fill)}`];
    lines.push(`  ${node.id} [${words.join(', ')}];`);
  }
  for (const node of scene.nodes) {
    if (node.parent === null) continue;
    const style = node.link.dash.length === 0 ? 'solid' : node.link.key === 'weak' ? 'dashed' : 'dotted';
    lines.push(`  ${node.parent} -> ${node.id} [style=${style}, penwidth=${node.link.width}];`);
  }
  lines.push('}');
  return `${lines.join('\n')}\n`;
}

/** The tree for programs. */
export function toJson(scene: Scene): string {
  const nodes = scene.nodes.map((node) => ({
    id: node.id,
    name: node.label === String(node.id) ? null : node.label,
    parent: node.parent,
    hops: node.depth,
    state: node.state,
    class: node.look.label,
    link: node.parent === null ? null : node.link.key,
    folded: node.hidden,
    x: Math.round(node.at.x * 10) / 10,
    y: Math.round(node.at.y * 10) / 10,
  }));
  return `${JSON.stringify({ title: scene.title, at: scene.at, gateway: scene.gateway, nodes }, null, 2)}\n`;
}
