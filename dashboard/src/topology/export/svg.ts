// A scene as an SVG picture that needs nothing from outside. Names are escaped: markup in them is text.

import { type Box, around } from '../layout';
import { type LegendItem, type Outline, inkOn } from '../scales';
import type { Scene, SceneNode } from './scene';

const RADIUS = 9;
const MARGIN = 60;
/** Room to the right for names. */
const NAMES = 140;

/** Text of XML 1.0: what it cannot hold is left out. */
export function xmlText(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

const at = (value: number) => String(Math.round(value * 10) / 10);

function shape(outline: Outline, x: number, y: number, fill: string): string {
  const r = RADIUS;
  const look = `fill="${fill}" stroke="#1b1f24" stroke-width="1"`;
  const polygon = (points: [number, number][]) =>
    `<polygon points="${points.map(([dx, dy]) => `${at(x + dx)},${at(y + dy)}`).join(' ')}" ${look}/>`;
  switch (outline) {
    case 'triangle':
      return polygon([[0, -r - 2], [r + 1, r - 1], [-r - 1, r - 1]]);
    case 'square':
      return polygon([[-r, -r], [r, -r], [r, r], [-r, r]]);
    case 'diamond':
      return polygon([[0, -r - 2], [r + 2, 0], [0, r + 2], [-r - 2, 0]]);
    case 'pill':
      return `<rect x="${at(x - r - 3)}" y="${at(y - 6)}" width="${2 * r + 6}" height="12" rx="6" ${look}/>`;
    case 'ring':
      return `<circle cx="${at(x)}" cy="${at(y)}" r="${r - 1}" fill="#ffffff" stroke="${fill}" stroke-width="3" stroke-dasharray="4 2"/>`;
    case 'dot':
      return `<circle cx="${at(x)}" cy="${at(y)}" r="5" ${look}/>`;
    case 'circle':
      return `<circle cx="${at(x)}" cy="${at(y)}" r="${r}" ${look}/>`;
  }
}

function drawn(node: SceneNode, gateway: boolean): string {
  const { x, y } = node.at;
  const hidden = node.hidden > 0 ? ` (+${node.hidden})` : '';
  const mark = gateway ? 'G' : node.look.mark;
  const ink = node.outline === 'ring' ? '#000000' : inkOn(node.look.fill);
  const inside = mark ? `<text x="${at(x)}" y="${at(y + 3)}" text-anchor="middle" font-size="8" fill="${ink}">${xmlText(mark)}</text>` : '';
  const title = `<title>${xmlText(`${node.label}: ${node.state}, ${node.look.label}`)}</title>`;
  const name = `<text x="${at(x + RADIUS + 6)}" y="${at(y + 4)}" fill="#1b1f24">${xmlText(node.label + hidden)}</text>`;
  return `<g>${title}${gateway ? shape('square', x, y, node.look.fill) : shape(node.outline, x, y, node.look.fill)}${inside}${name}</g>`;
}

function line(node: SceneNode, parent: SceneNode | undefined): string {
  if (!parent) return '';
  const dash = node.link.dash.length > 0 ? ` stroke-dasharray="${node.link.dash.join(' ')}"` : '';
  return `<line x1="${at(parent.at.x)}" y1="${at(parent.at.y)}" x2="${at(node.at.x)}" y2="${at(node.at.y)}" stroke="#6b7280" stroke-width="${node.link.width}"${dash}/>`;
}

function legend(items: readonly LegendItem[], box: Box): string {
  return items
    .map((item, i) => {
      const y = box.bottom + 50 + i * 22;
      const words = `${item.mark ? `${item.mark}  ` : ''}${item.label} (${item.count})`;
      return `${shape(item.outline, box.left, y, item.fill)}<text x="${at(box.left + 20)}" y="${at(y + 4)}" fill="#1b1f24">${xmlText(words)}</text>`;
    })
    .join('\n');
}

/** The picture, on white. */
export function toSvg(scene: Scene): string {
  const box = around(scene.nodes.map((node) => node.at));
  const byId = new Map(scene.nodes.map((node) => [node.id, node]));
  const left = box.left - MARGIN;
  const top = box.top - MARGIN;
  const width = box.right - box.left + 2 * MARGIN + NAMES;
  const height = box.bottom - box.top + 2 * MARGIN + 30 + scene.legend.length * 22;
  const view = [left, top, width, height].map(at).join(' ');
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${view}" width="${at(width)}" height="${at(height)}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${xmlText(scene.title)}</title>`,
    `<rect x="${at(left)}" y="${at(top)}" width="${at(width)}" height="${at(height)}" fill="#ffffff"/>`,
    `<text x="${at(box.left)}" y="${at(top + 24)}" font-size="14" fill="#1b1f24">${xmlText(`${scene.title}, ${scene.at}`)}</text>`,
    scene.nodes.map((node) => line(node, node.parent === null ? undefined : byId.get(node.parent))).filter(Boolean).join('\n'),
    scene.nodes.map((node) => drawn(node, node.id === scene.gateway)).join('\n'),
    legend(scene.legend, box),
    '</svg>',
    '',
  ].join('\n');
}
