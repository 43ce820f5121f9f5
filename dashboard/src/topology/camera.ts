// What part of the world is seen: an offset and a zoom. Pure arithmetic; the canvas drives it.

import type { Box, Point } from './layout';

/** Screen = world × zoom + offset. */
export interface Camera {
  x: number;
  y: number;
  zoom: number;
}

export interface Size {
  width: number;
  height: number;
}

export const ZOOM_MIN = 0.04;
export const ZOOM_MAX = 4;
/** How much one press of + or − is. */
export const ZOOM_STEP = 1.3;
/** Nothing is enlarged to fill a screen beyond this. */
const FIT_MAX = 1.5;
/** At least so much of the picture stays in sight, in pixels. */
const KEEP = 60;

export function toScreen(camera: Camera, point: Point): Point {
  return { x: point.x * camera.zoom + camera.x, y: point.y * camera.zoom + camera.y };
}

export function toWorld(camera: Camera, point: Point): Point {
  return { x: (point.x - camera.x) / camera.zoom, y: (point.y - camera.y) / camera.zoom };
}

/** The world that a screen shows, with a margin in screen pixels. */
export function seen(camera: Camera, size: Size, margin = 0): Box {
  const a = toWorld(camera, { x: -margin, y: -margin });
  const b = toWorld(camera, { x: size.width + margin, y: size.height + margin });
  return { left: a.x, top: a.y, right: b.x, bottom: b.y };
}

/** Zooms so that the world below a point of the screen stays there. */
export function zoomAt(camera: Camera, at: Point, factor: number): Camera {
  const zoom = Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, camera.zoom * factor));
  const world = toWorld(camera, at);
  return { zoom, x: at.x - world.x * zoom, y: at.y - world.y * zoom };
}

/** Room for names to the right of the last node, in screen pixels, where the screen is wide enough for that. */
const NAMES = 90;

/** Shows all of a box, with a margin in screen pixels. */
export function fit(box: Box, all: Size, margin = 36): Camera {
  const size = all.width > 600 ? { width: all.width - NAMES, height: all.height } : all;
  const width = Math.max(box.right - box.left, 1);
  const height = Math.max(box.bottom - box.top, 1);
  const room = { width: Math.max(size.width - 2 * margin, 20), height: Math.max(size.height - 2 * margin, 20) };
  const zoom = Math.min(FIT_MAX, Math.max(ZOOM_MIN, Math.min(room.width / width, room.height / height)));
  return centred({ x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2 }, size, zoom);
}

/** Puts a point of the world into the middle. */
export function centred(point: Point, size: Size, zoom: number): Camera {
  return { zoom, x: size.width / 2 - point.x * zoom, y: size.height / 2 - point.y * zoom };
}

/** Moves just so far that a point is in sight. */
export function revealed(camera: Camera, point: Point, size: Size, margin = 80): Camera {
  const at = toScreen(camera, point);
  const inside = (value: number, length: number) => {
    const edge = Math.min(margin, length / 2);
    return Math.min(Math.max(value, edge), length - edge) - value;
  };
  return { ...camera, x: camera.x + inside(at.x, size.width), y: camera.y + inside(at.y, size.height) };
}

/** Keeps some of the picture on the screen: nobody should lose it. */
export function held(camera: Camera, box: Box, size: Size): Camera {
  const a = toScreen(camera, { x: box.left, y: box.top });
  const b = toScreen(camera, { x: box.right, y: box.bottom });
  const x = camera.x + Math.max(0, KEEP - b.x) - Math.max(0, a.x - (size.width - KEEP));
  const y = camera.y + Math.max(0, KEEP - b.y) - Math.max(0, a.y - (size.height - KEEP));
  return { ...camera, x, y };
}
