// The time by which ages are told: the gateway's, because a browser's clock may be wrong by hours.
//
// It ticks each second while the page can be seen. Nothing else in the dashboard calls `Date.now`.

class Clock {
  /** Now, in ms since 1970, by the gateway's clock. Reading it makes an effect run again each second. */
  now = $state(Date.now());
  /** How far the gateway's clock is ahead of ours, in ms. */
  #ahead = 0;
  #timer: ReturnType<typeof setInterval> | null = null;

  /** Begins to tick. */
  start(): void {
    if (this.#timer) return;
    const tick = () => {
      if (!document.hidden) this.now = this.read();
    };
    this.#timer = setInterval(tick, 1_000);
    document.addEventListener('visibilitychange', tick);
  }

  /** Now, without making anything run again. */
  read(): number {
    return Date.now() + this.#ahead;
  }

  /** Takes the `Date` header of an answer. It has whole seconds and took a while, so small differences are none. */
  learn(date: string | null): void {
    const told = date ? Date.parse(date) : Number.NaN;
    if (!Number.isFinite(told)) return;
    const ahead = told + 500 - Date.now();
    this.#ahead = Math.abs(ahead) < 2_000 ? 0 : ahead;
  }
}

export const clock = new Clock();
