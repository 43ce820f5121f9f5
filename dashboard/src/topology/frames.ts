// How fast the canvas is painted: for a test in a browser, `window.__meshwardTopology.frames()`. It only counts.

/** What was painted since the last look. */
export interface Frames {
  /** Frames that were painted. */
  painted: number;
  /** Frames a second while something moved: gaps of more than a quarter of a second are pauses. */
  per_second: number;
  /** How long painting took, in ms. */
  paint_ms_mean: number;
  paint_ms_max: number;
  /** Nodes in the picture, and of these in sight in the last frame. */
  nodes: number;
  visible: number;
}

const PAUSE_MS = 250;

export class FrameCounter {
  #painted = 0;
  #paint = 0;
  #max = 0;
  #moving = 0;
  #steps = 0;
  #last: number | null = null;
  #nodes = 0;
  #visible = 0;

  /** A frame began at `from` and was painted by `to`, both in ms of one clock. */
  add(from: number, to: number, nodes: number, visible: number): void {
    const took = to - from;
    this.#painted += 1;
    this.#paint += took;
    this.#max = Math.max(this.#max, took);
    if (this.#last !== null && from - this.#last < PAUSE_MS) {
      this.#moving += from - this.#last;
      this.#steps += 1;
    }
    this.#last = from;
    this.#nodes = nodes;
    this.#visible = visible;
  }

  /** What was counted; counting begins anew. */
  take(): Frames {
    const frames = {
      painted: this.#painted,
      per_second: this.#moving > 0 ? (this.#steps * 1_000) / this.#moving : 0,
      paint_ms_mean: this.#painted > 0 ? this.#paint / this.#painted : 0,
      paint_ms_max: this.#max,
      nodes: this.#nodes,
      visible: this.#visible,
    };
    this.#painted = this.#paint = this.#max = this.#moving = this.#steps = 0;
    this.#last = null;
    return frames;
  }
}

declare global {
  interface Window {
    __meshwardTopology?: { frames(): Frames };
  }
}
