// Paints a picture onto a canvas, once per frame, and only what can be seen.
//
// It keeps nothing but widths of words. How much is drawn depends on the zoom: far off a node is a dot, nearer it has
// its outline and mark, and names are written where they have room, the important ones first.

import { type Camera, seen, type Size, toScreen } from './camera';
import type { Box, Point } from './layout';
import { LINK_LOOKS } from './links';
import type { Drawn, Picture } from './picture';

/** Colours of the theme, as CSS writes them. */
export interface Theme {
  page: string;
  text: string;
  muted: string;
  line: string;
  accent: string;
  font: string;
}

/** What stands out. */
export interface Emphasis {
  selected: number | null;
  hovered: number | null;
  /** From the selected node to the gateway. */
  path: ReadonlySet<number>;
  /** Nodes that were looked for; others are faint. `null` when nobody looks. */
  hits: ReadonlySet<number> | null;
  /** Whether the canvas has the keyboard. */
  focused: boolean;
}

/** Radius of a node at zoom 1. */
export const RADIUS = 9;
const RADIUS_MIN = 2.2;
/** So large that its mark can be read, where that brings no two nodes together (`GAP`). */
const RADIUS_READ = 6.5;
const RADIUS_ROOM = 12.5;
/** So few nodes that all names have a chance at any zoom. */
const FEW = 120;
const RADIUS_MAX = 16;
/** From this zoom on names are written that are not important; of few nodes always. */
const NAMES_ZOOM = 0.5;
/** From this zoom on links are dashed; smaller dashes are grey. */
const DASH_ZOOM = 0.35;
/** Most names in a frame. */
const NAMES_MAX = 300;
/** Longest name that is written, in characters. */
const NAME_MAX = 28;
/** Height of a name, and of the rows by which names are kept apart. */
const LINE = 12;
const ROW = 4;

/** Widths of names: a font measures slowly. */
const widths = new Map<string, number>();
const WIDTHS_MAX = 20_000;

/** How large a node is on the screen. */
export function radiusAt(zoom: number): number {
  return Math.min(RADIUS_MAX, Math.max(RADIUS_MIN, RADIUS * zoom, Math.min(RADIUS_READ, RADIUS_ROOM * zoom)));
}

/** Paints everything that is in sight; says how many nodes that were. */
export function paint(
  context: CanvasRenderingContext2D,
  picture: Picture,
  points: ReadonlyMap<number, Point>,
  camera: Camera,
  size: Size,
  ratio: number,
  theme: Theme,
  emphasis: Emphasis,
): number {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = theme.page;
  context.fillRect(0, 0, size.width, size.height);
  const view = seen(camera, size, 40);
  paintRings(context, picture, camera, theme);
  paintLinks(context, picture, points, camera, view, theme, emphasis);
  const visible: { node: Drawn; at: Point }[] = [];
  for (const node of picture.nodes) {
    const point = points.get(node.id);
    if (!point || point.x < view.left || point.x > view.right || point.y < view.top || point.y > view.bottom) continue;
    visible.push({ node, at: toScreen(camera, point) });
  }
  const radius = radiusAt(camera.zoom);
  for (const { node, at } of visible) paintNode(context, node, at, radius, picture.gateway, theme, emphasis);
  context.globalAlpha = 1;
  paintNames(context, visible, radius, picture.nodes.length <= FEW ? 1 : camera.zoom, theme, emphasis);
  return visible.length;
}

function paintRings(context: CanvasRenderingContext2D, picture: Picture, camera: Camera, theme: Theme): void {
  context.strokeStyle = theme.line;
  context.lineWidth = 1;
  for (const radius of picture.rings) {
    context.beginPath();
    context.arc(camera.x, camera.y, radius * camera.zoom, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** All links of a kind are one stroke: that is many times faster than one stroke each. */
function paintLinks(
  context: CanvasRenderingContext2D,
  picture: Picture,
  points: ReadonlyMap<number, Point>,
  camera: Camera,
  view: Box,
  theme: Theme,
  emphasis: Emphasis,
): void {
  const kinds = new Map(LINK_LOOKS.map((look) => [look.key, { look, path: new Path2D(), any: false }]));
  const way = new Path2D();
  for (const node of picture.nodes) {
    const to = points.get(node.id);
    const from = node.parent === null ? undefined : points.get(node.parent);
    if (!from || !to || outside(from, to, view)) continue;
    const kind = kinds.get(node.link.key);
    const onPath = emphasis.path.has(node.id) && node.parent !== null && emphasis.path.has(node.parent);
    if (onPath) curve(way, picture.shape, toScreen(camera, from), toScreen(camera, to), camera);
    if (!kind) continue;
    kind.any = true;
    curve(kind.path, picture.shape, toScreen(camera, from), toScreen(camera, to), camera);
  }
  const thin = Math.min(1, Math.max(0.5, camera.zoom));
  context.strokeStyle = theme.accent;
  context.lineWidth = 7 * thin;
  context.globalAlpha = 0.45;
  context.stroke(way);
  context.globalAlpha = emphasis.hits ? 0.4 : 0.85;
  context.strokeStyle = theme.muted;
  for (const { look, path, any } of kinds.values()) {
    if (!any) continue;
    context.lineWidth = look.width * thin;
    context.setLineDash(camera.zoom >= DASH_ZOOM ? [...look.dash] : []);
    context.stroke(path);
  }
  context.setLineDash([]);
  context.globalAlpha = 1;
}

function outside(a: Point, b: Point, view: Box): boolean {
  return (
    Math.max(a.x, b.x) < view.left || Math.min(a.x, b.x) > view.right ||
    Math.max(a.y, b.y) < view.top || Math.min(a.y, b.y) > view.bottom
  );
}

function curve(path: Path2D, shape: Picture['shape'], from: Point, to: Point, camera: Camera): void {
  path.moveTo(from.x, from.y);
  if (shape === 'layered') {
    const middle = (from.x + to.x) / 2;
    path.bezierCurveTo(middle, from.y, middle, to.y, to.x, to.y);
    return;
  }
  // In rings a link leaves its parent outwards, and comes to its child from within.
  const [near, far] = [Math.hypot(from.x - camera.x, from.y - camera.y), Math.hypot(to.x - camera.x, to.y - camera.y)];
  const half = (near + far) / 2;
  if (near < 1 || far < 1) path.lineTo(to.x, to.y);
  else {
    const a = { x: camera.x + ((from.x - camera.x) * half) / near, y: camera.y + ((from.y - camera.y) * half) / near };
    const b = { x: camera.x + ((to.x - camera.x) * half) / far, y: camera.y + ((to.y - camera.y) * half) / far };
    path.bezierCurveTo(a.x, a.y, b.x, b.y, to.x, to.y);
  }
}

function trace(context: CanvasRenderingContext2D, outline: Drawn['outline'], { x, y }: Point, r: number): void {
  context.beginPath();
  switch (outline) {
    case 'triangle':
      context.moveTo(x, y - r * 1.25);
      context.lineTo(x + r * 1.15, y + r * 0.9);
      context.lineTo(x - r * 1.15, y + r * 0.9);
      context.closePath();
      return;
    case 'square':
      context.rect(x - r * 0.95, y - r * 0.95, r * 1.9, r * 1.9);
      return;
    case 'diamond':
      context.moveTo(x, y - r * 1.3);
      context.lineTo(x + r * 1.3, y);
      context.lineTo(x, y + r * 1.3);
      context.lineTo(x - r * 1.3, y);
      context.closePath();
      return;
    case 'pill':
      context.ellipse(x, y, r * 1.3, r * 0.8, 0, 0, 2 * Math.PI);
      return;
    default:
      context.arc(x, y, outline === 'dot' ? r * 0.6 : r, 0, 2 * Math.PI);
  }
}

function paintNode(
  context: CanvasRenderingContext2D,
  node: Drawn,
  at: Point,
  radius: number,
  gateway: number,
  theme: Theme,
  emphasis: Emphasis,
): void {
  const isGateway = node.id === gateway;
  const r = isGateway ? radius * 1.35 : radius;
  context.globalAlpha = emphasis.hits && !emphasis.hits.has(node.id) && !isGateway ? 0.22 : 1;
  if (node.id === emphasis.selected || node.id === emphasis.hovered) {
    context.beginPath();
    context.arc(at.x, at.y, r + 5, 0, 2 * Math.PI);
    context.strokeStyle = theme.accent;
    context.lineWidth = node.id === emphasis.selected ? (emphasis.focused ? 4 : 3) : 1.5;
    context.stroke();
  }
  trace(context, isGateway ? 'square' : node.outline, at, r);
  context.fillStyle = node.look.fill;
  context.fill();
  if (radius >= 4) {
    context.strokeStyle = node.outline === 'ring' ? theme.page : theme.text;
    context.lineWidth = node.outline === 'ring' ? 2 : 1;
    context.setLineDash(node.outline === 'ring' ? [3, 2] : []);
    context.stroke();
    context.setLineDash([]);
  }
  if (node.hidden > 0) {
    context.beginPath();
    context.arc(at.x, at.y, r + 2.5, -Math.PI / 3, Math.PI / 3);
    context.strokeStyle = theme.text;
    context.lineWidth = 2.5;
    context.stroke();
  }
  const mark = isGateway ? 'G' : node.look.mark;
  if (radius < 6.5 || !mark) return;
  context.fillStyle = node.ink;
  context.font = `600 ${Math.round(radius * (mark.length > 2 ? 0.85 : 1.05))}px ${theme.font}`;
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.fillText(mark, at.x, at.y + 0.5);
}

/** Squares of the screen that have a name already. */
class Taken {
  readonly #rows = new Map<number, [number, number][]>();

  /** Takes a place, unless some of it is taken. */
  take(left: number, top: number, width: number, force: boolean): boolean {
    const rows: number[] = [];
    for (let row = Math.floor(top / ROW); row <= Math.floor((top + LINE - 1) / ROW); row += 1) rows.push(row);
    const right = left + width;
    if (!force && rows.some((row) => this.#rows.get(row)?.some(([from, to]) => left < to && right > from))) return false;
    for (const row of rows) {
      const spans = this.#rows.get(row);
      if (spans) spans.push([left, right]);
      else this.#rows.set(row, [[left, right]]);
    }
    return true;
  }
}

function rank(node: Drawn, emphasis: Emphasis): number {
  if (node.id === emphasis.selected || node.id === emphasis.hovered) return 3;
  if (emphasis.hits?.has(node.id) || emphasis.path.has(node.id)) return 2;
  return node.odd || node.hidden > 0 ? 1 : 0;
}

function paintNames(
  context: CanvasRenderingContext2D,
  visible: readonly { node: Drawn; at: Point }[],
  radius: number,
  zoom: number,
  theme: Theme,
  emphasis: Emphasis,
): void {
  const ranked = visible.map((each) => ({ ...each, rank: rank(each.node, emphasis) }));
  const wanted = ranked.filter((each) => each.rank > 1 || zoom >= NAMES_ZOOM || (each.rank === 1 && zoom >= NAMES_ZOOM / 3));
  wanted.sort((a, b) => b.rank - a.rank);
  const taken = new Taken();
  if (radius >= 4) for (const { at } of visible) taken.take(at.x - radius, at.y - radius / 2, 2 * radius, true);
  context.textAlign = 'left';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  let written = 0;
  for (const { node, at, rank: own } of wanted) {
    if (written >= NAMES_MAX) break;
    const words = shortened(node);
    const bold = own >= 2;
    context.font = `${bold ? '600 ' : ''}12px ${theme.font}`;
    const width = widthOf(context, words, bold);
    const left = at.x + radius * 1.35 + 5;
    // In layers the line to a child leaves to the right: the name stands above it.
    const y = node.parting ? at.y - radius * 0.5 - 3 : at.y;
    if (!taken.take(left - 2, y - LINE / 2, width + 4, own === 3)) continue;
    written += 1;
    context.strokeStyle = theme.page;
    context.lineWidth = 3;
    context.strokeText(words, left, y);
    context.fillStyle = own === 0 ? theme.muted : theme.text;
    context.fillText(words, left, y);
  }
}

function shortened(node: Drawn): string {
  const letters = [...node.label];
  const name = letters.length > NAME_MAX ? `${letters.slice(0, NAME_MAX - 1).join('')}…` : node.label;
  return node.hidden > 0 ? `${name}  +${node.hidden}` : name;
}

function widthOf(context: CanvasRenderingContext2D, words: string, bold: boolean): number {
  const key = bold ? `b${words}` : `n${words}`;
  const known = widths.get(key);
  if (known !== undefined) return known;
  if (widths.size >= WIDTHS_MAX) widths.clear();
  const width = context.measureText(words).width;
  widths.set(key, width);
  return width;
}
