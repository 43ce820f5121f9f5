// Which nodes are near a point or inside a box: squares of a grid instead of a look at every node.
//
// Built once per layout; asked per movement of the pointer and per frame.

import type { Box, Point } from './layout';

const SQUARE = 128;

export class Grid {
  readonly #squares = new Map<string, number[]>();
  readonly #points: ReadonlyMap<number, Point>;

  constructor(points: ReadonlyMap<number, Point>) {
    this.#points = points;
    for (const [id, point] of points) {
      const key = `${Math.floor(point.x / SQUARE)},${Math.floor(point.y / SQUARE)}`;
      const square = this.#squares.get(key);
      if (square) square.push(id);
      else this.#squares.set(key, [id]);
    }
  }

  /** Nodes in a box. When the box has more squares than there are, every square is looked at instead. */
  within(box: Box): number[] {
    const found: number[] = [];
    const take = (ids: readonly number[] | undefined) => {
      for (const id of ids ?? []) {
        const { x, y } = this.#points.get(id) as Point;
        if (x >= box.left && x <= box.right && y >= box.top && y <= box.bottom) found.push(id);
      }
    };
    const [x0, x1] = [Math.floor(box.left / SQUARE), Math.floor(box.right / SQUARE)];
    const [y0, y1] = [Math.floor(box.top / SQUARE), Math.floor(box.bottom / SQUARE)];
    if ((x1 - x0 + 1) * (y1 - y0 + 1) > this.#squares.size) {
      for (const ids of this.#squares.values()) take(ids);
      return found;
    }
    for (let x = x0; x <= x1; x += 1) for (let y = y0; y <= y1; y += 1) take(this.#squares.get(`${x},${y}`));
    return found;
  }

  /** The node nearest to a point, no farther than `reach`; of two equally near ones that with the smaller id. */
  nearest(at: Point, reach: number): number | null {
    const box = { left: at.x - reach, top: at.y - reach, right: at.x + reach, bottom: at.y + reach };
    let best: { id: number; far: number } | null = null;
    for (const id of this.within(box)) {
      const { x, y } = this.#points.get(id) as Point;
      const far = Math.hypot(x - at.x, y - at.y);
      if (far > reach) continue;
      if (!best || far < best.far || (far === best.far && id < best.id)) best = { id, far };
    }
    return best?.id ?? null;
  }
}
